// The first packet of a connection: startup, SSLRequest, GSSENCRequest, CancelRequest.
// https://www.postgresql.org/docs/15/protocol-flow.html#id-1.10.6.7.3
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/bytes.hpp"
#include "base/result.hpp"

namespace weir::wire {

// Whom a CancelRequest means, and the proof that its sender may: 4 bytes of secret in protocol 3.0, up to 256 since 3.2.
// https://www.postgresql.org/docs/18/protocol-message-formats.html#PROTOCOL-MESSAGE-FORMATS-BACKENDKEYDATA
struct CancelKey {
  static constexpr std::size_t kMinSecret = 4, kMaxSecret = 256;
  std::uint32_t pid = 0;
  std::string secret;  // bytes
  friend bool operator==(const CancelKey&, const CancelKey&) = default;
};

// The newest protocol 3 spoken. https://www.postgresql.org/docs/18/protocol-overview.html#PROTOCOL-VERSIONS
inline constexpr std::uint16_t kNewestMinor = 2;

// Parameters of a StartupMessage, in the order sent; names beginning "_pq_." are protocol options.
struct Startup {
  std::uint16_t major = 3;
  std::uint16_t minor = 0;
  std::vector<std::pair<std::string, std::string>> parameters;
  // "" if absent. Of a parameter sent twice the last counts, as in PostgreSQL. The view lasts as long as `parameters`
  // is unchanged.
  [[nodiscard]] std::string_view get(std::string_view name) const;
};

struct FirstPacket {
  enum class Kind : std::uint8_t { incomplete, startup, ssl_request, gssenc_request, cancel_request };
  Kind kind = Kind::incomplete;
  std::size_t size = 0;  // bytes consumed
  Startup startup;
  CancelKey cancel;
};

// Reads the packet at the front of `bytes`. incomplete: more bytes are needed (a header of 8 at first); a bad length is
// refused as soon as its four bytes are there. Any minor of protocol 3 is accepted: the caller negotiates. Every error
// spoils the connection. Errors (08P01): a length out of bounds, a missing terminator, an unknown request code (with a
// hint when it looks like HTTP or TLS), a protocol major other than 3 (0A000), a parameter without value, no user
// (28000).
[[nodiscard]] Result<FirstPacket> read_first_packet(ByteView bytes);

// The `options` startup parameter as the backend reads it (pg_split_opts: backslash escapes): -c name=value,
// -cname=value, --name=value. Fails (22023) on anything else and on empty names. Dashes in names become underscores.
// https://www.postgresql.org/docs/15/libpq-connect.html#LIBPQ-CONNECT-OPTIONS
[[nodiscard]] Result<std::vector<std::pair<std::string, std::string>>> parse_options(std::string_view options);

}  // namespace weir::wire
