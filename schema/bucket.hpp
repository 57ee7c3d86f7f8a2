// Key to bucket: PostgreSQL's own hash functions in C++, so that router, row filters and guards agree.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "base/bytes.hpp"
#include "config/settings.hpp"
#include "schema/key.hpp"

namespace weir::schema {

// hashint8extended(v, seed). Equal for int2, int4 and int8 of the same value, as in PostgreSQL.
// Source: src/backend/access/hash/hashfunc.c, src/common/hashfn.c (Bob Jenkins' lookup3) of PostgreSQL 15.
[[nodiscard]] std::uint64_t hash_int8_extended(std::int64_t v, std::uint64_t seed) noexcept;
// hash_any_extended(): hashtextextended of a deterministic collation, uuid_hash_extended.
[[nodiscard]] std::uint64_t hash_bytes_extended(ByteView bytes, std::uint64_t seed) noexcept;

// The bucket of a key: hash & (buckets - 1), or ((key % n) + n) % n. `buckets` must be a power of two for hash,
// at least 1 for modulo; modulo takes integers only (config refuses the rest).
[[nodiscard]] std::uint32_t bucket_of(const KeyValue& key, config::HashFunction function,
                                      std::uint32_t buckets) noexcept;

// The same as an SQL expression over `column_sql` (already quoted), for filters and verification queries:
// "(hashint8extended(user_id, 0) & 4095)".
[[nodiscard]] std::string bucket_sql(std::string_view column_sql, KeyType type, config::HashFunction function,
                                     std::uint32_t buckets);

}  // namespace weir::schema
