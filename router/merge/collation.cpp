#include "router/merge/collation.hpp"

#include <string.h>

#include <algorithm>
#ifdef __GLIBC__
#include <gnu/libc-version.h>
#endif

#include "base/strings.hpp"

namespace weir::router::merge {

namespace {

// "C.UTF-8" is ordered by code points, and so by bytes. PostgreSQL gives none of these a version.
bool is_by_bytes(std::string_view locale) {
  const std::string lower = ascii_lower(locale);
  return lower == "c" || lower == "posix" || lower == "c.utf8" || lower == "c.utf-8";
}

Error not_comparable(std::string reason) {
  return {sqlstate::kFeatureNotSupported, concat("rows of several shards cannot be merged by text: ", reason),
          "Order by a column with COLLATE \"C\", or run Weir on a machine with the shards' C library and locales."};
}

int compare_bytes(std::string_view a, std::string_view b) {
  const int order = memcmp(a.data(), b.data(), std::min(a.size(), b.size()));
  if (order != 0) return order;
  return a.size() == b.size() ? 0 : a.size() < b.size() ? -1 : 1;
}

// strcoll_l() wants terminated strings.
const char* terminated(std::string& scratch, std::string_view text) {
  scratch.assign(text);
  return scratch.c_str();
}

}  // namespace

std::string libc_version() {
#ifdef __GLIBC__
  return gnu_get_libc_version();
#else
  return {};
#endif
}

Collation::~Collation() {
  if (locale_ != nullptr) freelocale(locale_);
}

Result<CollationRef> Collation::open(const CollationFacts& facts) {
  if (facts.provider != 'c') return not_comparable("their collation is not one of the C library's");
  auto collation = std::make_shared<Collation>();
  if (is_by_bytes(facts.locale)) return CollationRef(std::move(collation));
  const std::string here = libc_version();
  if (here.empty() || facts.version != here)
    return not_comparable(concat("locale \"", facts.locale, "\" is of version \"", facts.version, "\" on the shard and \"", here, "\" here"));
  collation->locale_ = newlocale(LC_COLLATE_MASK | LC_CTYPE_MASK, facts.locale.c_str(), nullptr);
  if (collation->locale_ == nullptr) return not_comparable(concat("locale \"", facts.locale, "\" is not installed on this machine"));
  return CollationRef(std::move(collation));
}

int Collation::compare(std::string_view a, std::string_view b) const {
  if (locale_ == nullptr || a == b) return compare_bytes(a, b);
  static thread_local std::string left, right;
  const int order = strcoll_l(terminated(left, a), terminated(right, b), locale_);
  return order != 0 ? order : compare_bytes(a, b);
}

}  // namespace weir::router::merge
