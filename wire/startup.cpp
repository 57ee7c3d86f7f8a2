#include "wire/startup.hpp"

#include <array>
#include <optional>

#include "base/strings.hpp"
#include "wire/frame.hpp"

namespace weir::wire {
namespace {

constexpr std::uint16_t kRequestMajor = 1234;  // requests are told from versions by this "major"
constexpr std::uint16_t kCancelRequest = 5678;
constexpr std::uint16_t kSslRequest = 5679;
constexpr std::uint16_t kGssencRequest = 5680;
constexpr std::size_t kStartupHeader = 8;  // length word and version
constexpr std::size_t kCancelHeader = kStartupHeader + 4;  // and the process, before the secret

Error refused(SqlState code, std::string message, std::string hint = {}) {
  Error e(code, std::move(message), std::move(hint));
  e.connection_spoilt = true;
  return e;
}

// Other protocols' first bytes read as an absurd length; say what they are.
std::string guess_protocol(ByteView bytes) {
  const std::string_view start = as_text(bytes.first(4));
  static constexpr std::array<std::string_view, 9> kHttp = {"GET ", "HEAD", "POST", "PUT ", "DELE",
                                                            "OPTI", "PATC", "CONN", "PRI "};
  for (const std::string_view verb : kHttp)
    if (start == verb)
      return "This looks like an HTTP request. Send it to the address of [admin] http; this port speaks PostgreSQL.";
  if (bytes[0] == 0x16 && bytes[1] == 0x03)
    return "This looks like TLS without a preceding SSLRequest. Use sslnegotiation=postgres, or sslmode=disable.";
  return "The peer does not seem to speak the PostgreSQL protocol.";
}

Error bad_length(std::string hint = {}) {
  return refused(sqlstate::kProtocolViolation, "invalid length of startup packet", std::move(hint));
}

// The text up to the next NUL at `offset`, which moves behind it; nothing if there is none.
std::optional<std::string_view> take_string(std::string_view text, std::size_t& offset) {
  const std::size_t end = text.find('\0', offset);
  if (end == std::string_view::npos) return std::nullopt;
  const std::string_view s = text.substr(offset, end - offset);
  offset = end + 1;
  return s;
}

// Names and values, each ended by NUL, and one NUL more as the packet's last byte.
Result<void> read_parameters(ByteView body, Startup& startup) {
  const std::string_view text = as_text(body);
  std::size_t offset = 0;
  while (offset < text.size() && text[offset] != '\0') {
    const auto name = take_string(text, offset);
    const auto value = name ? take_string(text, offset) : std::nullopt;
    if (!value) {
      offset = text.size();
      break;
    }
    startup.parameters.emplace_back(*name, *value);
  }
  if (offset + 1 != text.size())
    return refused(sqlstate::kProtocolViolation, "invalid startup packet layout: expected terminator as last byte");
  if (startup.get("user").empty())
    return refused(sqlstate::kInvalidAuthorization, "no PostgreSQL user name specified in startup packet",
                   "Give the connection a user name.");
  return {};
}

Result<void> read_request(ByteView packet, std::uint16_t code, FirstPacket& out) {
  switch (code) {
    case kCancelRequest:
      if (packet.size() < kCancelHeader + CancelKey::kMinSecret || packet.size() > kCancelHeader + CancelKey::kMaxSecret)
        return bad_length("A CancelRequest has 16 to 268 bytes.");
      out.kind = FirstPacket::Kind::cancel_request;
      out.cancel = {load32(packet.data() + kStartupHeader), std::string(as_text(packet.subspan(kCancelHeader)))};
      return {};
    case kSslRequest:
    case kGssencRequest:
      if (packet.size() != kStartupHeader) return bad_length("An SSLRequest or GSSENCRequest has 8 bytes.");
      out.kind = code == kSslRequest ? FirstPacket::Kind::ssl_request : FirstPacket::Kind::gssenc_request;
      return {};
    default:  // any 16 bits may come from outside
      return refused(sqlstate::kProtocolViolation, concat("unknown request code 1234.", std::to_string(code)),
                     "Known are SSLRequest, GSSENCRequest and CancelRequest.");
  }
}

Result<void> read_startup(ByteView packet, std::uint16_t major, std::uint16_t minor, FirstPacket& out) {
  if (major != 3)
    return refused(sqlstate::kFeatureNotSupported, concat("unsupported frontend protocol ", std::to_string(major), ".",
                                                          std::to_string(minor), ": server supports 3.0 to 3.2"));
  out.kind = FirstPacket::Kind::startup;
  out.startup.major = major;
  out.startup.minor = minor;
  return read_parameters(packet.subspan(kStartupHeader), out.startup);
}

}  // namespace

std::string_view Startup::get(std::string_view name) const {
  for (auto it = parameters.rbegin(); it != parameters.rend(); ++it)
    if (it->first == name) return it->second;
  return {};
}

Result<FirstPacket> read_first_packet(ByteView bytes) {
  if (bytes.size() < 4) return FirstPacket{};
  const std::uint32_t length = load32(bytes.data());
  // As PostgreSQL counts: the limit is without the length word.
  if (length < kStartupHeader || length - 4 > kMaxStartupLength) return bad_length(guess_protocol(bytes));
  if (bytes.size() < length) return FirstPacket{};

  const ByteView packet = bytes.first(length);
  const std::uint16_t major = load16(packet.data() + 4);
  const std::uint16_t minor = load16(packet.data() + 6);
  FirstPacket out;
  out.size = length;
  auto read = major == kRequestMajor ? read_request(packet, minor, out) : read_startup(packet, major, minor, out);
  if (!read) return read.take_error();
  return out;
}

}  // namespace weir::wire
