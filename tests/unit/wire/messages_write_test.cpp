#include <gtest/gtest.h>

#include "tests/unit/wire/exact_bytes.hpp"
#include "wire/messages.hpp"

namespace weir::wire {
namespace {

using namespace std::string_literals;

std::string text(const ByteBuffer& b) { return std::string(as_text(b.view())); }

// The only message in `out`; everything is checked against the bytes of the manual by the callers.
Message only_message(const ExactBytes& out) {
  const Frame f = next_message(out.view());
  EXPECT_EQ(f.status, FrameStatus::message);
  EXPECT_EQ(f.needed, out.view().size());
  return f.message;
}

TEST(WriteMessage, PutsHeaderAndBody) {
  ByteBuffer out;
  write_message(out, 'd', "abc");
  write_message(out, 'c', ByteView{});
  EXPECT_EQ(text(out), "d\0\0\0\7abcc\0\0\0\4"s);
}

TEST(WriteBind, PutsValuesWithTheirFormats) {
  ByteBuffer out;
  const BindValue values[] = {{true, false, {}}, {false, true, as_bytes("ab")}};
  const std::uint16_t formats[] = {0, 1};
  write_bind(out, "p", "s", values, formats);
  EXPECT_EQ(text(out), "B\0\0\0 p\0s\0\0\2\0\0\0\1\0\2\xff\xff\xff\xff\0\0\0\2ab\0\2\0\0\0\1"s);
  const ExactBytes sent(text(out));
  const auto bind = read_bind(only_message(sent).body);
  ASSERT_TRUE(bind);
  EXPECT_FALSE(bind->binary(0));
  EXPECT_TRUE(bind->binary(1));
}

TEST(WriteExecute, PutsPortalAndRowLimit) {
  ByteBuffer out;
  write_execute(out, "p", 7);
  EXPECT_EQ(text(out), "E\0\0\0\x0ap\0\0\0\0\7"s);
}

TEST(WriteFrontend, PutsTheBytesOfTheManual) {
  ByteBuffer out;
  write_query(out, "SELECT 1");
  EXPECT_EQ(text(out), "Q\0\0\0\x0dSELECT 1\0"s);
  out.clear();
  const std::vector<std::uint32_t> types = {23, 0x80000000};
  write_parse(out, "s", "SELECT $1", types);
  EXPECT_EQ(text(out), "P\0\0\0\x1as\0SELECT $1\0\0\2\0\0\0\x17\x80\0\0\0"s);
  out.clear();
  write_named(out, 'D', 'S', "s");
  write_named(out, 'C', 'P', "");
  write_sync(out);
  write_terminate(out);
  EXPECT_EQ(text(out), "D\0\0\0\7Ss\0C\0\0\0\6P\0S\0\0\0\4X\0\0\0\4"s);
  out.clear();
  write_cancel_request(out, {0x01020304, "\xff\xfe\xfd\xfc"});
  EXPECT_EQ(text(out), "\0\0\0\x10\x04\xd2\x16\x2e\1\2\3\4\xff\xfe\xfd\xfc"s);
  out.clear();
  write_cancel_request(out, {1, std::string(32, 's')});
  EXPECT_EQ(text(out), "\0\0\0\x2c\x04\xd2\x16\x2e\0\0\0\1"s + std::string(32, 's'));
}

TEST(WriteBindRenamed, ChangesTheStatementNameAndNothingElse) {
  const std::string rest = "\0\1\0\1\0\1\0\0\0\4\0\0\0\x2a\0\0"s;
  const ExactBytes body("portal\0client_name\0"s + rest);
  const auto bind = read_bind(body.view());
  ASSERT_TRUE(bind.ok());
  ByteBuffer out;
  write_bind_renamed(out, *bind, "w7");
  const ExactBytes written(out.view());
  const Message m = only_message(written);
  EXPECT_EQ(m.type, 'B');
  EXPECT_EQ(as_text(m.body), "portal\0w7\0"s + rest);
}

TEST(WriteAuthentication, PutsTheBytesOfTheManual) {
  ByteBuffer out;
  write_authentication_ok(out);
  EXPECT_EQ(text(out), "R\0\0\0\x08\0\0\0\0"s);
  out.clear();
  const std::vector<std::string_view> mechanisms = {"SCRAM-SHA-256-PLUS", "SCRAM-SHA-256"};
  write_authentication_sasl(out, mechanisms);
  EXPECT_EQ(text(out), "R\0\0\0\x2a\0\0\0\x0aSCRAM-SHA-256-PLUS\0SCRAM-SHA-256\0\0"s);
  out.clear();
  write_authentication_sasl_continue(out, "r=x");
  write_authentication_sasl_final(out, "v=y");
  EXPECT_EQ(text(out), "R\0\0\0\x0b\0\0\0\x0br=xR\0\0\0\x0b\0\0\0\x0cv=y"s);
}

TEST(WriteBackend, PutsTheBytesOfTheManual) {
  ByteBuffer out;
  write_backend_key_data(out, {1, "\x80\0\0\2"s});
  EXPECT_EQ(text(out), "K\0\0\0\x0c\0\0\0\1\x80\0\0\2"s);
  out.clear();
  write_backend_key_data(out, {1, std::string(32, 's')});
  EXPECT_EQ(text(out), "K\0\0\0\x28\0\0\0\1"s + std::string(32, 's'));
  out.clear();
  write_parameter_status(out, "TimeZone", "UTC");
  EXPECT_EQ(text(out), "S\0\0\0\x11TimeZone\0UTC\0"s);
  out.clear();
  write_ready_for_query(out, 'T');
  write_command_complete(out, "SELECT 1");
  write_empty_query_response(out);
  EXPECT_EQ(text(out), "Z\0\0\0\5TC\0\0\0\x0dSELECT 1\0I\0\0\0\4"s);
}

TEST(WriteNegotiateProtocolVersion, SaysTheWholeVersionAsPostgresqlDoes) {
  ByteBuffer out;
  const std::vector<std::string> options = {"_pq_.a", "_pq_.b"};
  write_negotiate_protocol_version(out, 0, options);
  EXPECT_EQ(text(out), "v\0\0\0\x1a\0\3\0\0\0\0\0\2_pq_.a\0_pq_.b\0"s);
}

TEST(WriteError, ComesBackFromReadErrorAndFromNoProperPrefix) {
  Error error(sqlstate::kTooManyConnections, "pool \"app\" is full: 20 of 20 in use", "Raise [pool] size.");
  error.detail = "waited 30 s";
  ByteBuffer out;
  write_error(out, Severity::fatal, error);
  const ExactBytes written(out.view());
  const Message m = only_message(written);
  EXPECT_EQ(m.type, 'E');
  const auto r = read_error(m.body);
  ASSERT_TRUE(r.ok());
  EXPECT_EQ(r->severity, "FATAL");
  EXPECT_EQ(r->code, "53300");
  EXPECT_EQ(r->message, error.message);
  EXPECT_EQ(r->detail, error.detail);
  EXPECT_EQ(r->hint, error.hint);
  for_each_cut(as_text(m.body),
               [](std::size_t n, const ExactBytes& cut) { EXPECT_FALSE(read_error(cut.view()).ok()) << n; });
}

TEST(WriteError, LeavesEmptyFieldsOutAndSaysTheSeverityTwice) {
  ByteBuffer out;
  write_error(out, Severity::error, Error(sqlstate::kInternal, "m"));
  EXPECT_EQ(text(out),
            "E\0\0\0\x1dSERROR\0VERROR\0CXX000\0Mm\0\0"s.replace(4, 1, 1, static_cast<char>(out.size() - 1)));
  EXPECT_EQ(out.size(), 5u + 7 + 7 + 7 + 3 + 1);
}

TEST(WriteNotice, HasItsOwnTypeAndSeverities) {
  ByteBuffer out;
  write_notice(out, Severity::warning, Error(sqlstate::kInternal, "careful"));
  write_notice(out, Severity::notice, Error(sqlstate::kInternal, "by the way"));
  const Frame first = next_message(out.view());
  ASSERT_EQ(first.status, FrameStatus::message);
  EXPECT_EQ(first.message.type, 'N');
  EXPECT_EQ(read_error(first.message.body)->severity, "WARNING");
  const Frame second = next_message(out.view().subspan(first.needed));
  ASSERT_EQ(second.status, FrameStatus::message);
  EXPECT_EQ(read_error(second.message.body)->severity, "NOTICE");
}

TEST(WriteError, CutsAFieldAtANulSoThatItCannotForgeAnother) {
  ByteBuffer out;
  write_error(out, Severity::error, Error(sqlstate::kInternal, "bad\0C00000\0"s));
  const auto r = read_error(next_message(out.view()).message.body);
  ASSERT_TRUE(r.ok());
  EXPECT_EQ(r->message, "bad");
  EXPECT_EQ(r->code, "XX000");
}

TEST(WriteRows, PutTheBytesOfTheManual) {
  ByteBuffer out;
  const std::vector<ColumnDescription> columns = {{"name"}, {"n", 20, 8}};
  write_row_description(out, columns);
  EXPECT_EQ(text(out),
            "T\0\0\0\x31\0\2"
            "name\0\0\0\0\0\0\0\0\0\0\x19\xff\xff\xff\xff\xff\xff\0\0"
            "n\0\0\0\0\0\0\0\0\0\0\x14\0\x08\xff\xff\xff\xff\0\0"s);
  out.clear();
  const std::vector<std::optional<std::string>> values = {"ab", std::nullopt, ""};
  write_data_row(out, values);
  EXPECT_EQ(text(out), "D\0\0\0\x14\0\3\0\0\0\2ab\xff\xff\xff\xff\0\0\0\0"s);
}

TEST(Writers, AppendBehindWhatIsThereAlsoWhenTheBufferMoves) {
  ByteBuffer out;
  write_message(out, 'd', "12345");
  out.consume(6);  // a message is patched relative to the unread part
  for (int i = 0; i < 100; ++i) write_parameter_status(out, "name", std::string(50, 'v'));
  EXPECT_EQ(text(out).substr(0, 4), "2345");
  ByteView rest = out.view().subspan(4);
  for (int i = 0; i < 100; ++i) {
    const Frame f = next_message(rest);
    ASSERT_EQ(f.status, FrameStatus::message) << i;
    EXPECT_EQ(f.message.type, 'S');
    rest = rest.subspan(f.needed);
  }
  EXPECT_TRUE(rest.empty());
}

}  // namespace
}  // namespace weir::wire
