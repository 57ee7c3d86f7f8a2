// Message bodies: readers with bounds on every length (views into the message), and writers that append to a
// ByteBuffer. Names of messages and fields are the PostgreSQL manual's.
// https://www.postgresql.org/docs/15/protocol-message-formats.html
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/bytes.hpp"
#include "base/error.hpp"
#include "base/result.hpp"
#include "wire/frame.hpp"
#include "wire/startup.hpp"

namespace weir::wire {

// ---- readers: frontend messages. All fail with 08P01 (naming the message) on a malformed body. ----

// Query: the text without its terminator.
[[nodiscard]] Result<std::string_view> read_query(ByteView body);

struct ParseView {
  std::string_view statement;
  std::string_view query;
  std::uint16_t types = 0;
  ByteView type_bytes;  // 4 bytes each
  [[nodiscard]] std::uint32_t type(std::size_t i) const { return load32(type_bytes.data() + 4 * i); }
};
[[nodiscard]] Result<ParseView> read_parse(ByteView body);

// Bind: names, then a cursor over the parameters.
struct BindView {
  std::string_view portal;
  std::string_view statement;
  ByteView after_names;  // everything behind the two names, for rewriting
  std::uint16_t formats = 0;
  ByteView format_bytes;  // 2 bytes each
  std::uint16_t parameters = 0;
  ByteView parameter_bytes;  // length word and value, each
  std::uint16_t result_formats = 0;
  ByteView result_format_bytes;  // 2 bytes each
  // Format code of parameter i (0-based), by Bind's rules (none: text; one: for all).
  [[nodiscard]] bool binary(std::size_t i) const;
};
[[nodiscard]] Result<BindView> read_bind(ByteView body);

struct BindParameter {
  bool is_null = false;
  ByteView value;
};
// Calls f(index, BindParameter) for each; read_bind() has checked the bounds.
template <class F>
void for_each_parameter(const BindView& bind, F&& f) {
  const std::uint8_t* p = bind.parameter_bytes.data();
  for (std::size_t i = 0; i < bind.parameters; ++i) {
    const std::uint32_t length = load32(p);
    p += 4;
    if (length == 0xffffffff) {
      f(i, BindParameter{true, {}});
    } else {
      f(i, BindParameter{false, {p, length}});
      p += length;
    }
  }
}

// Describe and Close.
struct NamedView {
  char kind = 'S';  // 'S' statement, 'P' portal
  std::string_view name;
};
[[nodiscard]] Result<NamedView> read_named(ByteView body, std::string_view message);

struct ExecuteView {
  std::string_view portal;
  std::uint32_t max_rows = 0;
};
[[nodiscard]] Result<ExecuteView> read_execute(ByteView body);

struct SaslInitial {
  std::string_view mechanism;
  std::string_view data;  // absent: empty
};
[[nodiscard]] Result<SaslInitial> read_sasl_initial(ByteView body);

// ---- readers: backend messages ----

// 'I', 'T' or 'E'; 0 if malformed.
[[nodiscard]] inline char read_ready_for_query(ByteView body) noexcept {
  return body.size() == 1 && (body[0] == 'I' || body[0] == 'T' || body[0] == 'E') ? static_cast<char>(body[0]) : '\0';
}

// ErrorResponse and NoticeResponse fields by their code letter.
struct ErrorView {
  std::string_view severity;  // 'V', or 'S' if absent
  std::string_view code;      // 'C'
  std::string_view message;   // 'M'
  std::string_view detail;    // 'D'
  std::string_view hint;      // 'H'
};
[[nodiscard]] Result<ErrorView> read_error(ByteView body);

struct ParameterStatusView {
  std::string_view name;
  std::string_view value;
};
[[nodiscard]] Result<ParameterStatusView> read_parameter_status(ByteView body);
// BackendKeyData, of any version: a secret of 4 to 256 bytes.
[[nodiscard]] Result<CancelKey> read_backend_key_data(ByteView body);
// CommandComplete: the tag ("INSERT 0 1").
[[nodiscard]] Result<std::string_view> read_command_complete(ByteView body);

// A field of RowDescription.
struct FieldDescription {
  std::string name;
  std::uint32_t table = 0;      // OID; 0: no column of a table
  std::uint16_t attribute = 0;  // its number in the table
  std::uint32_t type = 0;
  std::int16_t length = 0;
  std::int32_t modifier = -1;
  std::uint16_t format = 0;     // 0: text, 1: binary
  friend bool operator==(const FieldDescription&, const FieldDescription&) = default;
};
[[nodiscard]] Result<std::vector<FieldDescription>> read_row_description(ByteView body);
// ParameterDescription: the parameters' types.
[[nodiscard]] Result<std::vector<std::uint32_t>> read_parameter_description(ByteView body);

// ---- writers: each appends whole messages; views must not point into `out` ----
// SQL text and names must not contain a NUL (what was read from a message never does); error fields and parameter
// values are cut there.

// Any message: header, then body parts.
void write_message(ByteBuffer& out, char type, ByteView body);
void write_message(ByteBuffer& out, char type, std::string_view body);

// frontend
void write_query(ByteBuffer& out, std::string_view sql);
void write_query(ByteBuffer& out, std::span<const std::string_view> parts);  // one text, in its parts
void write_parse(ByteBuffer& out, std::string_view statement, std::string_view query,
                 std::span<const std::uint32_t> types);
void write_bind_renamed(ByteBuffer& out, const BindView& bind,
                        std::string_view statement);  // the same, another statement name
struct BindValue {
  bool is_null = false;
  bool binary = false;
  ByteView value;
};
// `result_formats`: none is text for all columns, one is for all of them.
void write_bind(ByteBuffer& out, std::string_view portal, std::string_view statement, std::span<const BindValue> values,
                std::span<const std::uint16_t> result_formats);
void write_execute(ByteBuffer& out, std::string_view portal, std::uint32_t max_rows);  // 0: all rows
void write_named(ByteBuffer& out, char message_type, char kind, std::string_view name);  // Describe 'D', Close 'C'
void write_sync(ByteBuffer& out);
void write_terminate(ByteBuffer& out);
void write_cancel_request(ByteBuffer& out, const CancelKey& key);

// backend
void write_authentication_ok(ByteBuffer& out);
void write_authentication_cleartext_password(ByteBuffer& out);
void write_authentication_md5_password(ByteBuffer& out, std::string_view salt);
void write_authentication_sasl(ByteBuffer& out, std::span<const std::string_view> mechanisms);
void write_authentication_sasl_continue(ByteBuffer& out, std::string_view data);
void write_authentication_sasl_final(ByteBuffer& out, std::string_view data);
void write_backend_key_data(ByteBuffer& out, const CancelKey& key);
void write_parameter_status(ByteBuffer& out, std::string_view name, std::string_view value);
// Says protocol 3.<newest_minor>. PostgreSQL sends the whole version number here, not the minor alone, and libpq reads
// it so.
void write_negotiate_protocol_version(ByteBuffer& out, std::uint32_t newest_minor,
                                      std::span<const std::string> options);
void write_ready_for_query(ByteBuffer& out, char status);
void write_command_complete(ByteBuffer& out, std::string_view tag);
void write_empty_query_response(ByteBuffer& out);
void write_row_description(ByteBuffer& out, std::span<const FieldDescription> fields);
void write_parameter_description(ByteBuffer& out, std::span<const std::uint32_t> types);
enum class Severity : std::uint8_t { error, fatal, warning, notice };
// Severity both as S and V; code, message, detail and hint when not empty.
void write_error(ByteBuffer& out, Severity severity, const Error& error);    // ErrorResponse
void write_notice(ByteBuffer& out, Severity severity, const Error& notice);  // NoticeResponse

// Result sets made by the proxy itself (admin console): text columns.
struct ColumnDescription {
  std::string_view name;
  std::uint32_t type = 25;
  std::int16_t length = -1;
};
void write_row_description(ByteBuffer& out, std::span<const ColumnDescription> columns);
void write_data_row(ByteBuffer& out, std::span<const std::optional<std::string>> values);

}  // namespace weir::wire
