#include <array>

#include "wire/messages.hpp"

namespace weir::wire {
namespace {

void store32(std::uint8_t* p, std::uint32_t v) {
  p[0] = static_cast<std::uint8_t>(v >> 24);
  p[1] = static_cast<std::uint8_t>(v >> 16);
  p[2] = static_cast<std::uint8_t>(v >> 8);
  p[3] = static_cast<std::uint8_t>(v);
}

void put16(ByteBuffer& out, std::uint16_t v) {
  const std::array<std::uint8_t, 2> b = {static_cast<std::uint8_t>(v >> 8), static_cast<std::uint8_t>(v)};
  out.append(ByteView(b));
}

void put32(ByteBuffer& out, std::uint32_t v) {
  std::array<std::uint8_t, 4> b{};
  store32(b.data(), v);
  out.append(ByteView(b));
}

void put_string(ByteBuffer& out, std::string_view s) {
  out.append(s);
  out.append(std::uint8_t{0});
}

// Cut at a NUL: what follows one must not be read as further fields.
void put_value(ByteBuffer& out, std::string_view s) { put_string(out, s.substr(0, s.find('\0'))); }

void put_header(ByteBuffer& out, char type, std::size_t body) {
  std::array<std::uint8_t, kHeader> b{};
  b[0] = static_cast<std::uint8_t>(type);
  store32(b.data() + 1, static_cast<std::uint32_t>(body + 4));
  out.append(ByteView(b));
}

// A message whose length is known only at the end: the word is patched when this goes out of scope.
class OpenMessage {
 public:
  OpenMessage(ByteBuffer& out, char type) : out_(out), start_(out.size()) { put_header(out, type, 0); }
  ~OpenMessage() { store32(out_.at(start_ + 1), static_cast<std::uint32_t>(out_.size() - start_ - 1)); }
  OpenMessage(const OpenMessage&) = delete;
  OpenMessage& operator=(const OpenMessage&) = delete;

 private:
  ByteBuffer& out_;
  std::size_t start_;  // counted from the unread part, so it survives compaction
};

void put_field(ByteBuffer& out, char code, std::string_view value) {
  out.append(static_cast<std::uint8_t>(code));
  put_value(out, value);
}

std::string_view name_of(Severity severity) {
  switch (severity) {
    case Severity::error:
      return "ERROR";
    case Severity::fatal:
      return "FATAL";
    case Severity::warning:
      return "WARNING";
    case Severity::notice:
      return "NOTICE";
  }
  return "ERROR";
}

void write_fields(ByteBuffer& out, char type, Severity severity, const Error& error) {
  const OpenMessage message(out, type);
  put_field(out, 'S', name_of(severity));
  put_field(out, 'V', name_of(severity));
  put_field(out, 'C', error.code.view());
  put_field(out, 'M', error.message);
  if (!error.detail.empty()) put_field(out, 'D', error.detail);
  if (!error.hint.empty()) put_field(out, 'H', error.hint);
  out.append(std::uint8_t{0});
}

// https://www.postgresql.org/docs/15/protocol-message-formats.html, Authentication*
enum class Authentication : std::uint8_t { ok = 0, cleartext_password = 3, md5_password = 5, sasl = 10, sasl_continue = 11, sasl_final = 12 };

void put_authentication(ByteBuffer& out, Authentication kind) { put32(out, static_cast<std::uint32_t>(kind)); }

void write_authentication(ByteBuffer& out, Authentication kind, std::string_view data) {
  put_header(out, 'R', 4 + data.size());
  put_authentication(out, kind);
  out.append(data);
}

void put_column(ByteBuffer& out, const ColumnDescription& column) {
  put_string(out, column.name);
  put32(out, 0);  // no table
  put16(out, 0);  // no attribute number
  put32(out, column.type);
  put16(out, static_cast<std::uint16_t>(column.length));
  put32(out, 0xffffffff);  // no type modifier
  put16(out, 0);           // text
}

}  // namespace

void write_message(ByteBuffer& out, char type, ByteView body) {
  put_header(out, type, body.size());
  out.append(body);
}

void write_message(ByteBuffer& out, char type, std::string_view body) { write_message(out, type, as_bytes(body)); }

void write_query(ByteBuffer& out, std::string_view sql) {
  put_header(out, 'Q', sql.size() + 1);
  put_string(out, sql);
}

void write_query(ByteBuffer& out, std::span<const std::string_view> parts) {
  const OpenMessage message(out, 'Q');
  for (const std::string_view part : parts) out.append(part);
  out.append(std::uint8_t{0});
}

void write_parse(ByteBuffer& out, std::string_view statement, std::string_view query,
                 std::span<const std::uint32_t> types) {
  const OpenMessage message(out, 'P');
  put_string(out, statement);
  put_string(out, query);
  put16(out, static_cast<std::uint16_t>(types.size()));
  for (const std::uint32_t type : types) put32(out, type);
}

void write_bind_renamed(ByteBuffer& out, const BindView& bind, std::string_view statement) {
  put_header(out, 'B', bind.portal.size() + 1 + statement.size() + 1 + bind.after_names.size());
  put_string(out, bind.portal);
  put_string(out, statement);
  out.append(bind.after_names);
}

void write_bind(ByteBuffer& out, std::string_view portal, std::string_view statement, std::span<const BindValue> values,
                std::span<const std::uint16_t> result_formats) {
  const OpenMessage message(out, 'B');
  put_string(out, portal);
  put_string(out, statement);
  put16(out, static_cast<std::uint16_t>(values.size()));
  for (const BindValue& v : values) put16(out, v.binary ? 1 : 0);
  put16(out, static_cast<std::uint16_t>(values.size()));
  for (const BindValue& v : values) {
    put32(out, v.is_null ? 0xffffffff : static_cast<std::uint32_t>(v.value.size()));
    if (!v.is_null) out.append(v.value);
  }
  put16(out, static_cast<std::uint16_t>(result_formats.size()));
  for (const std::uint16_t format : result_formats) put16(out, format);
}

void write_execute(ByteBuffer& out, std::string_view portal, std::uint32_t max_rows) {
  const OpenMessage message(out, 'E');
  put_string(out, portal);
  put32(out, max_rows);
}

void write_named(ByteBuffer& out, char message_type, char kind, std::string_view name) {
  put_header(out, message_type, 1 + name.size() + 1);
  out.append(static_cast<std::uint8_t>(kind));
  put_string(out, name);
}

void write_sync(ByteBuffer& out) { put_header(out, 'S', 0); }

void write_terminate(ByteBuffer& out) { put_header(out, 'X', 0); }

void write_cancel_request(ByteBuffer& out, const CancelKey& key) {
  put32(out, static_cast<std::uint32_t>(12 + key.secret.size()));
  put32(out, 1234u << 16 | 5678u);
  put32(out, key.pid);
  out.append(key.secret);
}

void write_authentication_ok(ByteBuffer& out) { write_authentication(out, Authentication::ok, {}); }

void write_authentication_cleartext_password(ByteBuffer& out) { write_authentication(out, Authentication::cleartext_password, {}); }

void write_authentication_md5_password(ByteBuffer& out, std::string_view salt) { write_authentication(out, Authentication::md5_password, salt); }

void write_authentication_sasl(ByteBuffer& out, std::span<const std::string_view> mechanisms) {
  const OpenMessage message(out, 'R');
  put_authentication(out, Authentication::sasl);
  for (const std::string_view mechanism : mechanisms) put_string(out, mechanism);
  out.append(std::uint8_t{0});
}

void write_authentication_sasl_continue(ByteBuffer& out, std::string_view data) {
  write_authentication(out, Authentication::sasl_continue, data);
}

void write_authentication_sasl_final(ByteBuffer& out, std::string_view data) {
  write_authentication(out, Authentication::sasl_final, data);
}

void write_backend_key_data(ByteBuffer& out, const CancelKey& key) {
  put_header(out, 'K', 4 + key.secret.size());
  put32(out, key.pid);
  out.append(key.secret);
}

void write_parameter_status(ByteBuffer& out, std::string_view name, std::string_view value) {
  const OpenMessage message(out, 'S');
  put_value(out, name);
  put_value(out, value);
}

void write_negotiate_protocol_version(ByteBuffer& out, std::uint32_t newest_minor,
                                      std::span<const std::string> options) {
  const OpenMessage message(out, 'v');
  put32(out, 3u << 16 | newest_minor);
  put32(out, static_cast<std::uint32_t>(options.size()));
  for (const std::string& option : options) put_value(out, option);
}

void write_ready_for_query(ByteBuffer& out, char status) {
  put_header(out, 'Z', 1);
  out.append(static_cast<std::uint8_t>(status));
}

void write_command_complete(ByteBuffer& out, std::string_view tag) {
  put_header(out, 'C', tag.size() + 1);
  put_string(out, tag);
}

void write_empty_query_response(ByteBuffer& out) { put_header(out, 'I', 0); }

void write_error(ByteBuffer& out, Severity severity, const Error& error) { write_fields(out, 'E', severity, error); }

void write_notice(ByteBuffer& out, Severity severity, const Error& notice) { write_fields(out, 'N', severity, notice); }

void write_row_description(ByteBuffer& out, std::span<const ColumnDescription> columns) {
  const OpenMessage message(out, 'T');
  put16(out, static_cast<std::uint16_t>(columns.size()));
  for (const ColumnDescription& column : columns) put_column(out, column);
}

void write_row_description(ByteBuffer& out, std::span<const FieldDescription> fields) {
  const OpenMessage message(out, 'T');
  put16(out, static_cast<std::uint16_t>(fields.size()));
  for (const FieldDescription& f : fields) {
    put_string(out, f.name);
    put32(out, f.table);
    put16(out, f.attribute);
    put32(out, f.type);
    put16(out, static_cast<std::uint16_t>(f.length));
    put32(out, static_cast<std::uint32_t>(f.modifier));
    put16(out, f.format);
  }
}

void write_parameter_description(ByteBuffer& out, std::span<const std::uint32_t> types) {
  const OpenMessage message(out, 't');
  put16(out, static_cast<std::uint16_t>(types.size()));
  for (const std::uint32_t type : types) put32(out, type);
}

void write_data_row(ByteBuffer& out, std::span<const std::optional<std::string>> values) {
  const OpenMessage message(out, 'D');
  put16(out, static_cast<std::uint16_t>(values.size()));
  for (const auto& value : values) {
    put32(out, value ? static_cast<std::uint32_t>(value->size()) : 0xffffffff);
    if (value) out.append(*value);
  }
}

}  // namespace weir::wire
