// PostgreSQL's own scanner, by way of libpg_query: the judge of the lexer's token boundaries.
#pragma once

extern "C" {
#include <pg_query.h>
}

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace weir::router::testing {

// Token numbers of pg_query.proto.
enum ScanKind : std::uint32_t {
  kFconst = 260,
  kSconst = 261,
  kUsconst = 262,
  kBconst = 263,
  kXconst = 264,
  kIconst = 266,
  kSqlComment = 275,
  kCComment = 276
};

struct ScanToken {
  std::uint32_t start = 0, end = 0, kind = 0;
};

// Reads the protobuf encoding of ScanResult (field 2: the tokens; in each 1: start, 2: end, 4: token).
class ScanResultReader {
 public:
  explicit ScanResultReader(std::string_view bytes) : bytes_(bytes) {}

  std::vector<ScanToken> tokens() {
    std::vector<ScanToken> found;
    while (!bytes_.empty()) {
      const std::uint64_t tag = varint();
      if ((tag & 7) == 0) {
        varint();
      } else {
        const std::uint64_t size = varint();
        if (tag >> 3 == 2) found.push_back(ScanResultReader(bytes_.substr(0, size)).token());
        bytes_.remove_prefix(size);
      }
    }
    return found;
  }

 private:
  ScanToken token() {
    ScanToken token;
    while (!bytes_.empty()) {
      const std::uint64_t field = varint() >> 3;
      const auto value = static_cast<std::uint32_t>(varint());
      if (field == 1) token.start = value;
      if (field == 2) token.end = value;
      if (field == 4) token.kind = value;
    }
    return token;
  }
  std::uint64_t varint() {
    std::uint64_t value = 0;
    for (unsigned shift = 0;; shift += 7) {
      const auto byte = static_cast<unsigned char>(bytes_.front());
      bytes_.remove_prefix(1);
      value |= static_cast<std::uint64_t>(byte & 0x7f) << shift;
      if (byte < 0x80) return value;
    }
  }
  std::string_view bytes_;
};

// None: the scanner refuses the text. `sql` holds no NUL.
inline std::optional<std::vector<ScanToken>> pg_scan(const std::string& sql) {
  PgQueryScanResult result = pg_query_scan(sql.c_str());
  std::optional<std::vector<ScanToken>> tokens;
  if (result.error == nullptr) tokens = ScanResultReader({result.pbuf.data, result.pbuf.len}).tokens();
  pg_query_free_scan_result(result);
  return tokens;
}

}  // namespace weir::router::testing
