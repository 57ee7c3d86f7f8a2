// Hba: the lines of a pg_hba.conf and which of them a connection meets first. Reading is pure (files come by a function); so is matching.
// https://www.postgresql.org/docs/15/auth-pg-hba-conf.html, https://www.pgbouncer.org/config.html#hba-file-format
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace weir::config {

struct Problem;

enum class HbaMethod { trust, reject, md5, scram_sha_256, password, cert };

// An IPv4 address is kept as ::ffff:a.b.c.d, and compared with those only.
struct HbaNetwork {
  std::array<std::uint8_t, 16> address{};
  std::array<std::uint8_t, 16> mask{};
  [[nodiscard]] bool contains(const std::array<std::uint8_t, 16>& other) const;
};
// "10.0.0.1", "::1" or "fe80::1%eth0"; none: no address.
[[nodiscard]] std::optional<std::array<std::uint8_t, 16>> parse_address(std::string_view text);

struct HbaName {
  std::string text;
  bool keyword = false;   // unquoted: "all", "sameuser" mean something
};

struct HbaLine {
  enum class Connection { local, host, hostssl, hostnossl };
  enum class Client { any, network, samehost, samenet };
  enum class Certificate { not_needed, verify_ca, verify_full };   // clientcert=

  unsigned line = 0;
  Connection connection = Connection::host;
  std::vector<HbaName> databases, users;
  Client client = Client::any;
  HbaNetwork network;
  HbaMethod method = HbaMethod::reject;
  Certificate certificate = Certificate::not_needed;
};

// Who connects, as far as a line asks.
struct HbaClient {
  std::string_view database, user;
  std::string_view address;   // empty: a unix socket
  bool tls = false;
};

class Hba {
 public:
  std::vector<HbaLine> lines;
  std::vector<HbaNetwork> own;   // this machine's addresses with their networks, for samehost and samenet

  // The first line that fits; null: none.
  [[nodiscard]] const HbaLine* match(const HbaClient& client) const;
  // Is there a line of that method?
  [[nodiscard]] bool has(HbaMethod method) const;
};

// `read_file` gives the text of a file named by @file (as written, relative to the hba file) or nothing. Every mistake is a Problem with file and line;
// what PostgreSQL knows and Weir does not is named.
using ReadIncluded = std::function<std::optional<std::string>(const std::string& path)>;
[[nodiscard]] Hba parse_hba(const std::string& file, std::string_view text, const ReadIncluded& read_file, std::vector<Problem>& problems);
// This machine's addresses. Asks the kernel.
[[nodiscard]] std::vector<HbaNetwork> own_networks();

}  // namespace weir::config
