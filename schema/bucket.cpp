#include "schema/bucket.hpp"

#include <bit>
#include <string>

#include "base/strings.hpp"

namespace weir::schema {
namespace {

// Bob Jenkins' lookup3 (2006, public domain), with the constants PostgreSQL starts from. Words are put together byte by
// byte, so that neither the alignment of the key nor the byte order of the machine matters: PostgreSQL's little-endian
// result is the one that counts, because buckets must not change with the machine.
struct Lookup3 {
  std::uint32_t a, b, c;

  Lookup3(std::uint32_t length, std::uint64_t seed) noexcept {
    a = b = c = 0x9e3779b9U + length + 3923095U;
    if (seed == 0) return;
    a += static_cast<std::uint32_t>(seed >> 32);
    b += static_cast<std::uint32_t>(seed);
    mix();
  }

  void mix() noexcept {
    a -= c, a ^= std::rotl(c, 4), c += b;
    b -= a, b ^= std::rotl(a, 6), a += c;
    c -= b, c ^= std::rotl(b, 8), b += a;
    a -= c, a ^= std::rotl(c, 16), c += b;
    b -= a, b ^= std::rotl(a, 19), a += c;
    c -= b, c ^= std::rotl(b, 4), b += a;
  }

  std::uint64_t finish() noexcept {
    c ^= b, c -= std::rotl(b, 14);
    a ^= c, a -= std::rotl(c, 11);
    b ^= a, b -= std::rotl(a, 25);
    c ^= b, c -= std::rotl(b, 16);
    a ^= c, a -= std::rotl(c, 4);
    b ^= a, b -= std::rotl(a, 14);
    c ^= b, c -= std::rotl(b, 24);
    return (std::uint64_t{b} << 32) | c;
  }
};

// Up to four bytes as a little-endian word.
std::uint32_t word(const std::uint8_t* p, std::size_t n) noexcept {
  std::uint32_t w = 0;
  for (std::size_t i = 0; i < n && i < 4; ++i) w |= std::uint32_t{p[i]} << (8 * i);
  return w;
}

std::uint64_t hash_of(const KeyValue& key) noexcept {
  if (key.is_integer()) return hash_int8_extended(key.integer(), 0);
  if (key.is_text()) return hash_bytes_extended(as_bytes(key.text()), 0);
  return hash_bytes_extended(ByteView(key.uuid()), 0);
}

}  // namespace

std::uint64_t hash_int8_extended(std::int64_t v, std::uint64_t seed) noexcept {
  const auto bits = static_cast<std::uint64_t>(v);
  const auto high = static_cast<std::uint32_t>(bits >> 32);
  // The high half is folded in so that a value that fits int4 hashes as an int4 does.
  Lookup3 state(sizeof(std::uint32_t), seed);
  state.a += static_cast<std::uint32_t>(bits) ^ (v >= 0 ? high : ~high);
  return state.finish();
}

std::uint64_t hash_bytes_extended(ByteView bytes, std::uint64_t seed) noexcept {
  const std::uint8_t* p = bytes.data();
  std::size_t left = bytes.size();
  Lookup3 state(static_cast<std::uint32_t>(left), seed);
  for (; left >= 12; p += 12, left -= 12) {
    state.a += word(p, 4);
    state.b += word(p + 4, 4);
    state.c += word(p + 8, 4);
    state.mix();
  }
  if (left > 0) state.a += word(p, left);
  if (left > 4) state.b += word(p + 4, left - 4);
  // The lowest byte of c holds the length already.
  if (left > 8) state.c += word(p + 8, left - 8) << 8;
  return state.finish();
}

std::uint32_t bucket_of(const KeyValue& key, config::HashFunction function, std::uint32_t buckets) noexcept {
  switch (function) {
    case config::HashFunction::hash:
      return static_cast<std::uint32_t>(hash_of(key) & (buckets - 1));
    case config::HashFunction::modulo: {
      if (!key.is_integer()) return 0;
      const std::int64_t n = buckets;
      return static_cast<std::uint32_t>((key.integer() % n + n) % n);
    }
  }
  return 0;
}

std::string bucket_sql(std::string_view column_sql, KeyType type, config::HashFunction function,
                       std::uint32_t buckets) {
  if (function == config::HashFunction::modulo) {
    const std::string n = std::to_string(buckets);
    return concat("((", column_sql, "::bigint % ", n, " + ", n, ") % ", n, ")");
  }
  const std::string mask = std::to_string(buckets - 1);
  std::string_view name = "hashint8extended";
  if (type == KeyType::text || type == KeyType::varchar) name = "hashtextextended";
  if (type == KeyType::uuid) name = "uuid_hash_extended";
  return concat("(", name, "(", column_sql, ", 0) & ", mask, ")");
}

}  // namespace weir::schema
