#include <algorithm>

#include "base/strings.hpp"
#include "wire/body_reader.hpp"
#include "wire/messages.hpp"

namespace weir::wire {

Result<std::string_view> read_query(ByteView body) {
  BodyReader in(body);
  const std::string_view sql = in.string();
  if (!in.finish()) return in.error("Query");
  return sql;
}

Result<ParseView> read_parse(ByteView body) {
  BodyReader in(body);
  ParseView v;
  v.statement = in.string();
  v.query = in.string();
  v.types = in.int16();
  v.type_bytes = in.bytes(std::size_t{4} * v.types);
  if (!in.finish()) return in.error("Parse");
  return v;
}

bool BindView::binary(std::size_t i) const {
  if (formats == 0) return false;
  return load16(format_bytes.data() + (formats == 1 ? 0 : 2 * i)) == 1;
}

Result<BindView> read_bind(ByteView body) {
  BodyReader in(body);
  BindView v;
  v.portal = in.string();
  v.statement = in.string();
  v.after_names = in.rest();
  v.formats = in.int16();
  v.format_bytes = in.bytes(std::size_t{2} * v.formats);
  v.parameters = in.int16();
  const ByteView values = in.rest();
  for (std::size_t i = 0; i < v.parameters && !in.failed(); ++i)
    if (const std::uint32_t length = in.int32(); length != 0xffffffff) in.bytes(length);
  v.parameter_bytes = values.first(values.size() - in.rest().size());
  v.result_formats = in.int16();
  v.result_format_bytes = in.bytes(std::size_t{2} * v.result_formats);
  if (!in.finish()) return in.error("Bind");
  if (v.formats > 1 && v.formats != v.parameters)
    return Error(sqlstate::kProtocolViolation,
                 concat("bind message has ", std::to_string(v.formats), " parameter formats but ",
                        std::to_string(v.parameters), " parameters"),
                 "Send no format codes, one for all parameters, or one for each.");
  return v;
}

Result<NamedView> read_named(ByteView body, std::string_view message) {
  BodyReader in(body);
  NamedView v;
  v.kind = static_cast<char>(in.byte());
  v.name = in.string();
  if (!in.finish()) return in.error(message);
  if (v.kind != 'S' && v.kind != 'P')
    return Error(sqlstate::kProtocolViolation, concat("invalid ", message == "Close" ? "CLOSE" : "DESCRIBE", " message subtype ",
                                                      std::to_string(static_cast<std::uint8_t>(v.kind))));
  return v;
}

Result<ExecuteView> read_execute(ByteView body) {
  BodyReader in(body);
  ExecuteView v;
  v.portal = in.string();
  v.max_rows = in.int32();
  if (!in.finish()) return in.error("Execute");
  return v;
}

Result<SaslInitial> read_sasl_initial(ByteView body) {
  BodyReader in(body);
  SaslInitial v;
  v.mechanism = in.string();
  const std::uint32_t length = in.int32();
  if (length != 0xffffffff) v.data = as_text(in.bytes(length));
  if (!in.finish()) return in.error("SASLInitialResponse");
  return v;
}

Result<ErrorView> read_error(ByteView body) {
  BodyReader in(body);
  ErrorView v;
  std::string_view localized;
  for (std::uint8_t field = in.byte(); field != 0; field = in.byte()) {
    const std::string_view value = in.string();
    switch (field) {
      case 'S':
        localized = value;
        break;
      case 'V':
        v.severity = value;
        break;
      case 'C':
        v.code = value;
        break;
      case 'M':
        v.message = value;
        break;
      case 'D':
        v.detail = value;
        break;
      case 'H':
        v.hint = value;
        break;
      default:
        break;  // unknown fields are to be ignored, says the protocol
    }
  }
  if (!in.finish()) return in.error("ErrorResponse or NoticeResponse");
  if (v.severity.empty()) v.severity = localized;
  return v;
}

Result<ParameterStatusView> read_parameter_status(ByteView body) {
  BodyReader in(body);
  ParameterStatusView v;
  v.name = in.string();
  v.value = in.string();
  if (!in.finish()) return in.error("ParameterStatus");
  return v;
}

Result<CancelKey> read_backend_key_data(ByteView body) {
  BodyReader in(body);
  CancelKey key;
  key.pid = in.int32();
  const std::size_t size = std::clamp(in.rest().size(), CancelKey::kMinSecret, CancelKey::kMaxSecret);
  key.secret = as_text(in.bytes(size));
  if (!in.finish()) return in.error("BackendKeyData");
  return key;
}

Result<std::vector<FieldDescription>> read_row_description(ByteView body) {
  BodyReader in(body);
  std::vector<FieldDescription> fields(in.int16());
  for (FieldDescription& f : fields) {
    f.name = in.string();
    f.table = in.int32();
    f.attribute = in.int16();
    f.type = in.int32();
    f.length = static_cast<std::int16_t>(in.int16());
    f.modifier = static_cast<std::int32_t>(in.int32());
    f.format = in.int16();
    if (in.failed()) break;
  }
  if (!in.finish()) return in.error("RowDescription");
  return fields;
}

Result<std::vector<std::uint32_t>> read_parameter_description(ByteView body) {
  BodyReader in(body);
  std::vector<std::uint32_t> types(in.int16());
  for (std::uint32_t& type : types) type = in.int32();
  if (!in.finish()) return in.error("ParameterDescription");
  return types;
}

Result<std::string_view> read_command_complete(ByteView body) {
  BodyReader in(body);
  const std::string_view tag = in.string();
  if (!in.finish()) return in.error("CommandComplete");
  return tag;
}

}  // namespace weir::wire
