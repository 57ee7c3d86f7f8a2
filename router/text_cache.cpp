#include "router/text_cache.hpp"

#include <algorithm>
#include <cstring>

#include "router/key_hash.hpp"

namespace weir::router {
namespace {

constexpr std::size_t kMostDigits = 9;   // such a number is an int4 whatever its digits
constexpr std::uint32_t kNewcomersPerPlace = 64;

// By its first bytes, which lie before the first hole.
std::size_t set_of(std::string_view sql) {
  const auto* bytes = reinterpret_cast<const std::uint8_t*>(sql.data());
  return multiply_fold(load_word(bytes) ^ hash_seed().a, load_word(bytes + 8) ^ hash_seed().b) & (TextCache::kSets - 1);
}

bool is_digit(char c) { return c >= '0' && c <= '9'; }

// How many bytes at `at` are a plain integer that is int4 for certain; 0: none.
std::size_t integer_at(std::string_view sql, std::size_t at) {
  std::size_t past = at;
  while (past < sql.size() && is_digit(sql[past])) ++past;
  return past - at <= kMostDigits ? past - at : 0;
}

// How many bytes at `at` are a string in quotes without a quote, backslash or zero byte in it; 0: none.
std::size_t string_at(std::string_view sql, std::size_t at) {
  if (at >= sql.size() || sql[at] != '\'') return 0;
  for (std::size_t past = at + 1; past < sql.size(); ++past) {
    if (sql[past] == '\'') return past + 1 - at;
    if (sql[past] == '\\' || sql[past] == '\0') return 0;
  }
  return 0;
}

std::size_t literal_at(std::string_view sql, std::size_t at, LiteralClass kind) {
  return kind == LiteralClass::int4 ? integer_at(sql, at) : string_at(sql, at);
}

// Beside these bytes a literal's own bytes decide nothing about where tokens begin and end.
bool separates_before(char c) { return std::string_view(" \t\n\r(,=<>[").find(c) != std::string_view::npos; }
bool separates_behind(char c) { return std::string_view(" \t\n\r),;]").find(c) != std::string_view::npos; }

bool is_plain(std::string_view sql, const Literal& literal) {
  if (literal.kind != LiteralClass::int4 && literal.kind != LiteralClass::string) return false;
  const std::size_t past = literal.offset + literal.length;
  return literal.offset >= TextCache::kMinBytes && separates_before(sql[literal.offset - 1]) && (past == sql.size() || separates_behind(sql[past])) &&
         literal_at(sql, literal.offset, literal.kind) == literal.length;
}

bool same_bytes(const char* a, const char* b, std::size_t size) { return std::memcmp(a, b, size) == 0; }

}  // namespace

bool TextCache::matches(const Entry& entry, std::string_view sql, std::vector<Literal>& literals) {
  literals.clear();
  const std::string& sample = entry.sample;
  std::size_t at = 0, from = 0;   // in sql, in sample
  for (const Literal& hole : entry.holes) {
    const std::size_t fixed = hole.offset - from;
    if (sql.size() - at < fixed || !same_bytes(sql.data() + at, sample.data() + from, fixed)) return false;
    at += fixed;
    const std::size_t length = literal_at(sql, at, hole.kind);
    if (length == 0) return false;
    literals.push_back({static_cast<std::uint32_t>(at), static_cast<std::uint32_t>(length), hole.kind});
    at += length;
    from = hole.offset + hole.length;
  }
  const std::size_t rest = sample.size() - from;
  return sql.size() - at == rest && same_bytes(sql.data() + at, sample.data() + from, rest);
}

const PlanRef* TextCache::find(std::string_view sql, const Context& context, std::vector<Literal>& literals) {
  if (sets_.empty() || sql.size() < kMinBytes) return nullptr;
  Set& set = sets_[set_of(sql)];
  for (std::size_t i = 0; i < kWays && set.ways[i].plan; ++i) {
    const Entry& entry = set.ways[i];
    if (!matches(entry, sql, literals) || entry.search_path != context.search_path || entry.user != context.user || entry.hints != context.hints ||
        !std::equal(entry.declared.begin(), entry.declared.end(), context.declared.begin(), context.declared.end()))
      continue;
    return &entry.plan;
  }
  return nullptr;
}

void TextCache::remember(std::string_view sql, const Context& context, std::span<const Literal> literals, const PlanRef& plan) {
  const std::size_t bytes = sql.size() + context.declared.size_bytes() + context.search_path.size() + context.user.size() + context.hints.size();
  if (sql.size() < kMinBytes || bytes > kMaxBytes || sql.find('\0') != std::string_view::npos) return;
  for (const Literal& literal : literals)
    if (!is_plain(sql, literal)) return;
  if (sets_.empty()) sets_.resize(kSets);
  Set& set = sets_[set_of(sql)];
  std::size_t place = 0;
  while (place < kWays && set.ways[place].plan) ++place;
  if (place == kWays) {
    if (++set.newcomers % kNewcomersPerPlace != 0) return;
    place = set.newcomers / kNewcomersPerPlace % kWays;
  }
  set.ways[place] = {plan, std::string(sql), {literals.begin(), literals.end()}, {context.declared.begin(), context.declared.end()},
                     std::string(context.search_path), std::string(context.user), std::string(context.hints)};
}

void TextCache::clear() { sets_.clear(); }

}  // namespace weir::router
