// Key: what an application passes as sharding key.
#pragma once

#include <concepts>
#include <limits>
#include <pqxx/except>
#include <string>
#include <utility>

#include "schema/key.hpp"

namespace weir::client {

// Converts from integers (the key column is int2, int4 or int8), strings (text, varchar) and schema::Uuid (uuid). The
// kind must be the column's: the text "42" and the number 42 lie in different buckets. Cluster checks that against the
// database.
class Key {
 public:
  template <std::integral T>
  requires(!std::same_as<T, bool> && !std::same_as<T, char>) Key(T v)
      : value_(checked(v)) {}                        // NOLINT: implicit by design
  Key(std::string v) : value_(std::move(v)) {}       // NOLINT
  Key(const char* v) : value_(std::string(v)) {}     // NOLINT
  Key(const schema::Uuid& v) : value_(v) {}          // NOLINT
  Key(schema::KeyValue v) : value_(std::move(v)) {}  // NOLINT

  [[nodiscard]] const schema::KeyValue& value() const { return value_; }

 private:
  template <std::integral T>
  static std::int64_t checked(T v) {
    if (std::cmp_greater(v, std::numeric_limits<std::int64_t>::max()))
      throw pqxx::argument_error("sharding key " + std::to_string(v) + " does not fit bigint");
    return static_cast<std::int64_t>(v);
  }
  schema::KeyValue value_;
};

}  // namespace weir::client
