// Collation: how text is ordered, as the shards order it.
// https://www.postgresql.org/docs/15/collation.html
#pragma once

#include <locale.h>

#include <memory>
#include <string>
#include <string_view>

#include "base/result.hpp"

namespace weir::router::merge {

// What a shard says of a collation (pg_database, pg_collation). Deterministic ones only: with the others equal values
// may differ in their bytes.
struct CollationFacts {
  char provider = 'c';       // pg_collation.collprovider: 'c' libc, 'i' ICU
  std::string locale;        // LC_COLLATE: "C", "en_US.UTF-8"
  std::string version;       // pg_database_collation_actual_version(), pg_collation_actual_version(); empty: none
};

// Immutable; thread-safe.
class Collation {
 public:
  // Byte by byte: "C".
  Collation() = default;
  ~Collation();
  Collation(const Collation&) = delete;
  Collation& operator=(const Collation&) = delete;

  // Fails (0A000, naming the reason) where this machine cannot be proven to order text as the shard does: another
  // version of the C library, a locale that is not installed here, a provider other than libc.
  static Result<std::shared_ptr<const Collation>> open(const CollationFacts& facts);

  // As PostgreSQL's varstr_cmp(): texts that the locale calls equal are ordered by their bytes.
  [[nodiscard]] int compare(std::string_view a, std::string_view b) const;
  [[nodiscard]] bool is_c() const { return locale_ == nullptr; }

 private:
  locale_t locale_ = nullptr;
};
using CollationRef = std::shared_ptr<const Collation>;

// The version of this machine's C library, as PostgreSQL names it; empty: unknown.
[[nodiscard]] std::string libc_version();

}  // namespace weir::router::merge
