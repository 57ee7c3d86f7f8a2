#include "router/merge/order.hpp"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <utility>

#include "base/strings.hpp"
#include "router/merge/bytes.hpp"
#include "router/merge/numeric_order.hpp"

namespace weir::router::merge {

// Type OIDs are those of pg_type.dat.
struct ValueOrder::Rule {
  std::uint32_t type;
  Kind kind;
  std::uint32_t size;
};

namespace {

template <class T>
int three_way(T a, T b) {
  return a < b ? -1 : a > b ? 1 : 0;
}

// NaN is greater than everything but itself (float8_cmp_internal); -0 and 0 are equal.
template <class T>
int compare_floats(T a, T b) {
  if (std::isnan(a) || std::isnan(b)) return three_way(std::isnan(a), std::isnan(b));
  return three_way(a, b);
}

int compare_bytes(ByteView a, ByteView b) {
  const std::size_t n = std::min(a.size(), b.size());
  const int order = n == 0 ? 0 : std::memcmp(a.data(), b.data(), n);
  return order != 0 ? order : three_way(a.size(), b.size());
}

// By the moment, then by the zone (timetz_cmp_internal): microseconds, and seconds west of Greenwich.
int compare_timetz(ByteView a, ByteView b) {
  const auto zone = [](ByteView v) { return static_cast<std::int32_t>(load32(v.data() + 8)); };
  const auto moment = [&](ByteView v) { return static_cast<std::int64_t>(load64(v.data())) + std::int64_t{zone(v)} * 1'000'000; };
  const int order = three_way(moment(a), moment(b));
  return order != 0 ? order : three_way(zone(a), zone(b));
}

// A month is 30 days, a day 24 hours (interval_cmp_value).
__extension__ typedef __int128 WideInteger;
WideInteger interval_span(ByteView v) {
  constexpr std::int64_t kDay = 86'400'000'000;
  const auto time = static_cast<std::int64_t>(load64(v.data()));
  const auto days = static_cast<std::int32_t>(load32(v.data() + 8));
  const auto months = static_cast<std::int32_t>(load32(v.data() + 12));
  return WideInteger{time} + WideInteger{std::int64_t{months} * 30 + days} * kDay;
}

// The bits' number comes first (bit_cmp).
int compare_bits(ByteView a, ByteView b) {
  const ByteView left = a.subspan(4), right = b.subspan(4);
  const std::size_t n = std::min(left.size(), right.size());
  const int order = n == 0 ? 0 : std::memcmp(left.data(), right.data(), n);
  return order != 0 ? order : three_way(load32(a.data()), load32(b.data()));
}

constexpr std::size_t kInetHeader = 4;   // family, bits, is_cidr, length of the address

int compare_prefix(ByteView a, ByteView b, unsigned bits) {
  const int order = bits / 8 == 0 ? 0 : std::memcmp(a.data(), b.data(), bits / 8);
  if (order != 0 || bits % 8 == 0) return order;
  const unsigned shift = 8 - bits % 8;
  return three_way(a[bits / 8] >> shift, b[bits / 8] >> shift);
}

// Family, common bits of the network, its length, the whole address (network_cmp_internal).
int compare_inet(ByteView a, ByteView b) {
  if (a[0] != b[0]) return three_way(a[0], b[0]);
  const ByteView left = a.subspan(kInetHeader), right = b.subspan(kInetHeader);
  if (const int order = compare_prefix(left, right, std::min(a[1], b[1])); order != 0) return order;
  if (a[1] != b[1]) return three_way(a[1], b[1]);
  return compare_bytes(left, right);
}

bool is_inet(ByteView v) {
  if (v.size() < kInetHeader) return false;
  const std::size_t length = v.size() - kInetHeader;
  return (length == 4 || length == 16) && v[3] == length && v[1] <= length * 8;
}

// char(n) is compared without the blanks at its end (bcTruelen).
std::string_view without_padding(ByteView v) {
  const std::string_view text = as_text(v);
  const auto last = text.find_last_not_of(' ');
  return text.substr(0, last == std::string_view::npos ? 0 : last + 1);
}

}  // namespace

const ValueOrder::Rule* ValueOrder::find_rule(std::uint32_t type) {
  static constexpr Rule kRules[] = {
      {16, Kind::boolean, 1},     // bool
      {17, Kind::bytes, 0},       // bytea
      {18, Kind::byte, 1},        // "char"
      {19, Kind::bytes, 0},       // name: collation "C"
      {20, Kind::int8, 8},        // int8
      {21, Kind::int2, 2},        // int2
      {23, Kind::int4, 4},        // int4
      {25, Kind::text, 0},        // text
      {26, Kind::uint4, 4},       // oid
      {650, Kind::inet, 0},       // cidr
      {700, Kind::float4, 4},     // float4
      {701, Kind::float8, 8},     // float8
      {774, Kind::bytes, 8},      // macaddr8
      {790, Kind::int8, 8},       // money
      {829, Kind::bytes, 6},      // macaddr
      {869, Kind::inet, 0},       // inet
      {1042, Kind::padded_text, 0},   // char(n)
      {1043, Kind::text, 0},      // varchar
      {1082, Kind::int4, 4},      // date
      {1083, Kind::int8, 8},      // time
      {1114, Kind::int8, 8},      // timestamp
      {1184, Kind::int8, 8},      // timestamptz
      {1186, Kind::interval, 16}, // interval
      {1266, Kind::timetz, 12},   // timetz
      {1560, Kind::bits, 0},      // bit
      {1562, Kind::bits, 0},      // varbit
      {1700, Kind::numeric, 0},   // numeric
      {2950, Kind::bytes, 16},    // uuid
      {3220, Kind::uint8, 8},     // pg_lsn
      {5069, Kind::uint8, 8},     // xid8
  };
  const auto* found = std::find_if(std::begin(kRules), std::end(kRules), [&](const Rule& r) { return r.type == type; });
  return found == std::end(kRules) ? nullptr : found;
}

ValueOrder::ValueOrder(const Rule& rule, CollationRef collation) : kind_(rule.kind), size_(rule.size), collation_(std::move(collation)) {}

bool ValueOrder::is_collatable(std::uint32_t type) {
  const Rule* rule = find_rule(type);
  return rule != nullptr && (rule->kind == Kind::text || rule->kind == Kind::padded_text);
}

Result<ValueOrder> ValueOrder::of(std::uint32_t type, CollationRef collation) {
  const Rule* rule = find_rule(type);
  if (rule == nullptr)
    return Error(sqlstate::kFeatureNotSupported, concat("rows of several shards cannot be merged by values of the type with OID ", std::to_string(type)),
                 "Order by an expression of a built-in type, such as column::text COLLATE \"C\".");
  if (is_collatable(type) && !collation)
    return Error(sqlstate::kFeatureNotSupported, "rows of several shards cannot be merged by text of an unknown collation",
                 "Add a COLLATE clause to the ORDER BY column.");
  return ValueOrder(*rule, std::move(collation));
}

bool ValueOrder::fits(ByteView v) const {
  if (size_ != 0) return v.size() == size_;
  switch (kind_) {
    case Kind::numeric: return is_numeric(v);
    case Kind::bits: return v.size() >= 4 && (std::uint64_t{load32(v.data())} + 7) / 8 == v.size() - 4;
    case Kind::inet: return is_inet(v);
    case Kind::boolean:
    case Kind::byte:
    case Kind::int2:
    case Kind::int4:
    case Kind::int8:
    case Kind::uint4:
    case Kind::uint8:
    case Kind::float4:
    case Kind::float8:
    case Kind::timetz:
    case Kind::interval:
    case Kind::bytes:
    case Kind::text:
    case Kind::padded_text: return true;
  }
  return false;
}

int ValueOrder::compare(ByteView a, ByteView b) const {
  const std::uint8_t* x = a.data();
  const std::uint8_t* y = b.data();
  switch (kind_) {
    case Kind::boolean:
    case Kind::byte: return three_way(x[0], y[0]);
    case Kind::int2: return three_way(static_cast<std::int16_t>(load16(x)), static_cast<std::int16_t>(load16(y)));
    case Kind::int4: return three_way(static_cast<std::int32_t>(load32(x)), static_cast<std::int32_t>(load32(y)));
    case Kind::int8: return three_way(static_cast<std::int64_t>(load64(x)), static_cast<std::int64_t>(load64(y)));
    case Kind::uint4: return three_way(load32(x), load32(y));
    case Kind::uint8: return three_way(load64(x), load64(y));
    case Kind::float4: return compare_floats(std::bit_cast<float>(load32(x)), std::bit_cast<float>(load32(y)));
    case Kind::float8: return compare_floats(std::bit_cast<double>(load64(x)), std::bit_cast<double>(load64(y)));
    case Kind::numeric: return compare_numeric(a, b);
    case Kind::timetz: return compare_timetz(a, b);
    case Kind::interval: return three_way(interval_span(a), interval_span(b));
    case Kind::bytes: return compare_bytes(a, b);
    case Kind::bits: return compare_bits(a, b);
    case Kind::inet: return compare_inet(a, b);
    case Kind::text: return collation_->compare(as_text(a), as_text(b));
    case Kind::padded_text: return collation_->compare(without_padding(a), without_padding(b));
  }
  return 0;
}

}  // namespace weir::router::merge
