#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/unit/wire/exact_bytes.hpp"
#include "wire/messages.hpp"

namespace weir::wire {
namespace {

using namespace std::string_literals;
using testing::HasSubstr;

std::string half(unsigned v) { return {static_cast<char>(v >> 8), static_cast<char>(v)}; }
std::string word(std::uint32_t v) { return half(v >> 16) + half(v & 0xffff); }
std::string value(const std::string& v) { return word(static_cast<std::uint32_t>(v.size())) + v; }
const std::string kNull = word(0xffffffff);

// The body is taken; no proper prefix of it is, nor the body with a byte more; the error names the message.
template <class Read>
void expect_exactly_this_body(const std::string& body, const std::string& name, Read read) {
  const auto expect_refused = [&](const ExactBytes& bytes) {
    const auto r = read(bytes.view());
    ASSERT_FALSE(r.ok()) << bytes.view().size() << " of " << body.size() << " bytes";
    EXPECT_EQ(r.error().code, sqlstate::kProtocolViolation);
    EXPECT_THAT(r.error().message, HasSubstr(name));
  };
  const ExactBytes whole(body);
  EXPECT_TRUE(read(whole.view()).ok());
  for_each_cut(body, [&](std::size_t, const ExactBytes& cut) { expect_refused(cut); });
  expect_refused(ExactBytes(body + "x"));
  expect_refused(ExactBytes(body + "\0"s));
}

TEST(ReadQuery, GivesTheTextWithoutItsTerminator) {
  const ExactBytes body("SELECT 1\0"s);
  EXPECT_EQ(*read_query(body.view()), "SELECT 1");
  const ExactBytes empty("\0"s);
  EXPECT_EQ(*read_query(empty.view()), "");
  expect_exactly_this_body("SELECT 1\0"s, "Query", read_query);
}

TEST(ReadQuery, RefusesTextBehindTheTerminator) {
  const ExactBytes body("SELECT 1\0; DROP TABLE users\0"s);
  EXPECT_FALSE(read_query(body.view()).ok());
}

TEST(ReadParse, GivesNamesTextAndTypes) {
  const ExactBytes body("s1\0SELECT $1\0"s + half(2) + word(23) + word(0xfffffffe));
  const auto r = read_parse(body.view());
  ASSERT_TRUE(r.ok());
  EXPECT_EQ(r->statement, "s1");
  EXPECT_EQ(r->query, "SELECT $1");
  ASSERT_EQ(r->types, 2);
  EXPECT_EQ(r->type(0), 23u);
  EXPECT_EQ(r->type(1), 0xfffffffeu);
}

TEST(ReadParse, TakesExactlyOneBody) {
  expect_exactly_this_body("s1\0SELECT $1\0"s + half(2) + word(23) + word(25), "Parse", read_parse);
  expect_exactly_this_body("\0\0"s + half(0), "Parse", read_parse);
}

std::string bind_body() {
  return "p\0s1\0"s + half(3) + half(0) + half(1) + half(0) + half(3) + value("12") + kNull + value("") + half(1) +
         half(1);
}

TEST(ReadBind, GivesNamesFormatsAndParameters) {
  const ExactBytes body(bind_body());
  const auto r = read_bind(body.view());
  ASSERT_TRUE(r.ok());
  EXPECT_EQ(r->portal, "p");
  EXPECT_EQ(r->statement, "s1");
  EXPECT_EQ(r->after_names.size(), bind_body().size() - 5);
  ASSERT_EQ(r->parameters, 3);
  EXPECT_FALSE(r->binary(0));
  EXPECT_TRUE(r->binary(1));
  EXPECT_FALSE(r->binary(2));
  std::vector<std::string> seen;
  for_each_parameter(*r, [&](std::size_t i, const BindParameter& p) {
    EXPECT_EQ(i, seen.size());
    seen.emplace_back(p.is_null ? "NULL" : "'" + std::string(as_text(p.value)) + "'");
  });
  EXPECT_EQ(seen, (std::vector<std::string>{"'12'", "NULL", "''"}));
}

TEST(ReadBind, TakesExactlyOneBody) {
  expect_exactly_this_body(bind_body(), "Bind", read_bind);
  expect_exactly_this_body("\0\0"s + half(0) + half(0) + half(0), "Bind", read_bind);
}

TEST(ReadBind, AppliesOneFormatToAllAndNoneAsText) {
  const ExactBytes one("\0\0"s + half(1) + half(1) + half(2) + value("a") + value("b") + half(0));
  const auto all_binary = read_bind(one.view());
  ASSERT_TRUE(all_binary.ok());
  EXPECT_TRUE(all_binary->binary(0) && all_binary->binary(1));
  const ExactBytes none("\0\0"s + half(0) + half(2) + value("a") + value("b") + half(0));
  const auto all_text = read_bind(none.view());
  ASSERT_TRUE(all_text.ok());
  EXPECT_FALSE(all_text->binary(0) || all_text->binary(1));
}

TEST(ReadBind, RefusesAFormatCountThatFitsNoRule) {
  const ExactBytes body("\0\0"s + half(2) + half(0) + half(0) + half(3) + kNull + kNull + kNull + half(0));
  const auto r = read_bind(body.view());
  ASSERT_FALSE(r.ok());
  EXPECT_EQ(r.error().message, "bind message has 2 parameter formats but 3 parameters");
  EXPECT_EQ(r.error().code, sqlstate::kProtocolViolation);
}

TEST(ReadBind, RefusesLengthsThatPointBehindTheBody) {
  for (const std::uint32_t length : {3u, 0x7fffffffu, 0x80000000u, 0xfffffffeu}) {
    const ExactBytes body("\0\0"s + half(0) + half(1) + word(length) + half(0));
    EXPECT_FALSE(read_bind(body.view()).ok()) << length;
  }
  const ExactBytes many("\0\0"s + half(0) + half(65535) + kNull + half(0));
  EXPECT_FALSE(read_bind(many.view()).ok());
}

TEST(ReadNamed, GivesKindAndName) {
  const auto read = [](ByteView b) { return read_named(b, "Describe"); };
  const ExactBytes body("Sname\0"s);
  const auto r = read(body.view());
  ASSERT_TRUE(r.ok());
  EXPECT_EQ(r->kind, 'S');
  EXPECT_EQ(r->name, "name");
  expect_exactly_this_body("Sname\0"s, "Describe", read);
  expect_exactly_this_body("P\0"s, "Describe", read);
}

TEST(ReadNamed, RefusesAnotherKind) {
  const ExactBytes body("X\0"s);
  const auto r = read_named(body.view(), "Close");
  ASSERT_FALSE(r.ok());
  EXPECT_EQ(r.error().message, "invalid CLOSE message subtype 88");
}

TEST(ReadExecute, GivesPortalAndRowLimit) {
  const ExactBytes body("p\0"s + word(0x80000001));
  const auto r = read_execute(body.view());
  ASSERT_TRUE(r.ok());
  EXPECT_EQ(r->portal, "p");
  EXPECT_EQ(r->max_rows, 0x80000001u);
  expect_exactly_this_body("p\0"s + word(5), "Execute", read_execute);
}

TEST(ReadBind, GivesTheResultFormats) {
  const ExactBytes body("\0\0\0\0\0\0\0\2\0\0\0\1"s);
  const auto bind = read_bind(body.view());
  ASSERT_TRUE(bind);
  ASSERT_EQ(bind->result_formats, 2);
  EXPECT_EQ(load16(bind->result_format_bytes.data() + 2), 1);
}

TEST(ReadRowDescription, GivesEveryField) {
  const std::string body = "\0\2a\0\0\0\x40\1\0\2\0\0\0\x17\0\4\xff\xff\xff\xff\0\1b c\0\0\0\0\0\0\0\0\0\4\x13\xff\xff\0\0\0\x0c\0\0"s;
  const ExactBytes bytes(body);
  const auto fields = read_row_description(bytes.view());
  ASSERT_TRUE(fields);
  ASSERT_EQ(fields->size(), 2u);
  EXPECT_EQ((*fields)[0], (FieldDescription{"a", 0x4001, 2, 23, 4, -1, 1}));
  EXPECT_EQ((*fields)[1], (FieldDescription{"b c", 0, 0, 1043, -1, 12, 0}));
  ByteBuffer out;
  write_row_description(out, *fields);
  EXPECT_EQ(as_text(out.view()).substr(kHeader), body);
}

TEST(ReadRowDescription, TakesExactlyOneBody) {
  expect_exactly_this_body("\0\1a\0\0\0\x40\1\0\2\0\0\0\x17\0\4\xff\xff\xff\xff\0\1"s, "RowDescription", read_row_description);
}

TEST(ReadParameterDescription, GivesTheTypesAndTakesExactlyOneBody) {
  const std::string body = "\0\2\0\0\0\x17\0\0\4\x13"s;
  const ExactBytes bytes(body);
  const auto types = read_parameter_description(bytes.view());
  ASSERT_TRUE(types);
  EXPECT_EQ(*types, (std::vector<std::uint32_t>{23, 1043}));
  expect_exactly_this_body(body, "ParameterDescription", read_parameter_description);
}

TEST(ReadSaslInitial, GivesMechanismAndDataWhichMayBeAbsent) {
  const ExactBytes body("SCRAM-SHA-256\0"s + value("n,,n=,r=x"));
  const auto r = read_sasl_initial(body.view());
  ASSERT_TRUE(r.ok());
  EXPECT_EQ(r->mechanism, "SCRAM-SHA-256");
  EXPECT_EQ(r->data, "n,,n=,r=x");
  const ExactBytes absent("X\0"s + kNull);
  EXPECT_EQ(read_sasl_initial(absent.view())->data, "");
  expect_exactly_this_body("SCRAM-SHA-256\0"s + value("n,,n=,r=x"), "SASLInitialResponse", read_sasl_initial);
}

TEST(ReadReadyForQuery, KnowsTheThreeStatesAndNothingElse) {
  for (const char status : {'I', 'T', 'E'})
    EXPECT_EQ(read_ready_for_query(as_bytes(std::string_view(&status, 1))), status);
  for (const std::string& body : {""s, "X"s, "II"s, "\0"s}) {
    const ExactBytes exact(body);
    EXPECT_EQ(read_ready_for_query(exact.view()), '\0');
  }
}

TEST(ReadError, GivesTheFieldsAndIgnoresUnknownOnes) {
  const ExactBytes body("SFEHLER\0VERROR\0C42P01\0Mno table\0Ddetail\0Hhint\0Xfuture\0L12\0\0"s);
  const auto r = read_error(body.view());
  ASSERT_TRUE(r.ok());
  EXPECT_EQ(r->severity, "ERROR");
  EXPECT_EQ(r->code, "42P01");
  EXPECT_EQ(r->message, "no table");
  EXPECT_EQ(r->detail, "detail");
  EXPECT_EQ(r->hint, "hint");
}

TEST(ReadError, TakesTheLocalizedSeverityWhereTheOtherIsAbsent) {
  const ExactBytes body("SFATAL\0C57P01\0Mbye\0\0"s);
  EXPECT_EQ(read_error(body.view())->severity, "FATAL");
}

TEST(ReadError, TakesExactlyOneBody) {
  expect_exactly_this_body("SERROR\0C42P01\0Mm\0\0"s, "ErrorResponse", read_error);
}

TEST(ReadBackendKeyData, TakesSecretsOfFourTo256Bytes) {
  for (const std::size_t size : {4u, 5u, 32u, 256u}) {
    const std::string secret(size, 's');
    const ExactBytes body("\0\0\0\7"s + secret);
    const auto key = read_backend_key_data(body.view());
    ASSERT_TRUE(key.ok()) << size;
    EXPECT_EQ(*key, (CancelKey{7, secret}));
  }
  for (const std::size_t size : {0u, 3u, 257u}) {
    const ExactBytes body("\0\0\0\7"s + std::string(size, 's'));
    EXPECT_FALSE(read_backend_key_data(body.view()).ok()) << size;
  }
  EXPECT_FALSE(read_backend_key_data(ExactBytes("\0\0\7"s).view()).ok());
}

TEST(ReadParameterStatus, GivesNameAndValue) {
  const ExactBytes body("TimeZone\0UTC\0"s);
  const auto r = read_parameter_status(body.view());
  ASSERT_TRUE(r.ok());
  EXPECT_EQ(r->name, "TimeZone");
  EXPECT_EQ(r->value, "UTC");
  expect_exactly_this_body("TimeZone\0UTC\0"s, "ParameterStatus", read_parameter_status);
}

TEST(ReadCommandComplete, GivesTheTag) {
  const ExactBytes body("INSERT 0 1\0"s);
  EXPECT_EQ(*read_command_complete(body.view()), "INSERT 0 1");
  expect_exactly_this_body("INSERT 0 1\0"s, "CommandComplete", read_command_complete);
}

}  // namespace
}  // namespace weir::wire
