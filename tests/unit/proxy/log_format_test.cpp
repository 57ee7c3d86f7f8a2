#include "proxy/log_format.hpp"

#include <gtest/gtest.h>

namespace weir::proxy {
namespace {

std::string json(std::string_view bytes) {
  std::string out;
  append_json_string(out, bytes);
  return out;
}

std::string text(std::string_view message, std::initializer_list<log::Field> fields = {}) { return text_line(message, fields); }

TEST(LogFormat, JsonEscapesQuotesBackslashesAndControlCharacters) {
  EXPECT_EQ(json(R"(a"b\c)"), R"("a\"b\\c")");
  EXPECT_EQ(json("a\nb\tc\rd"), R"("a\nb\tc\rd")");
  EXPECT_EQ(json(std::string_view("\0\x1b\x7f", 3)), R"("\u0000\u001b\u007f")");
}

TEST(LogFormat, JsonKeepsUtf8AndReplacesWhatIsNone) {
  EXPECT_EQ(json("h\xc3\xa9 \xe2\x82\xac \xf0\x9f\x98\x80"), "\"h\xc3\xa9 \xe2\x82\xac \xf0\x9f\x98\x80\"");
  EXPECT_EQ(json("\xff"), R"("\ufffd")");
  EXPECT_EQ(json("\xc0\x80"), R"("\ufffd\ufffd")");          // overlong
  EXPECT_EQ(json("\xed\xa0\x80"), R"("\ufffd\ufffd\ufffd")");   // a surrogate
  EXPECT_EQ(json("\xf4\x90\x80\x80"), R"("\ufffd\ufffd\ufffd\ufffd")");
  EXPECT_EQ(json("a\xe2\x82"), R"("a\ufffd\ufffd")");          // cut short
  EXPECT_EQ(json("\xe2\x82\""), R"("\ufffd\ufffd\"")");        // the quote is not swallowed
}

TEST(LogFormat, EveryByteGivesALineWithoutControlCharacters) {
  for (int c = 0; c < 256; ++c) {
    const std::string one(1, static_cast<char>(c));
    for (const std::string& out : {json(one), text(one, {{"x", one}})})
      for (const char o : out) EXPECT_TRUE(static_cast<unsigned char>(o) >= 0x20 && o != 0x7F) << c;
  }
}

TEST(LogFormat, FieldsAreMembersOrNameAndValue) {
  const log::Field fields[] = {{"user", "bob"}, {"application", "my \"app\""}, {"empty", ""}};
  EXPECT_EQ(json_members("hello", fields), R"("message":"hello","user":"bob","application":"my \"app\"","empty":"")");
  EXPECT_EQ(text_line("hello", fields), R"(hello user=bob application="my \"app\"" empty="")");
}

TEST(LogFormat, AValueCannotForgeALine) {
  EXPECT_EQ(text("m", {{"user", "x\n2026 error forged"}}), R"(m user="x\n2026 error forged")");
  EXPECT_EQ(text("m", {{"user", "x\x1b[2J"}}), R"(m user=x\x1b[2J)");
}

}  // namespace
}  // namespace weir::proxy
