// PgBouncer's names for what Weir has, too: for SHOW CONFIG and SET in the console, and for weirctl import. https://www.pgbouncer.org/config.html
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "config/load.hpp"

namespace weir::config {

struct PgBouncerName {
  enum class Unit : std::uint8_t { same, seconds, flag };
  std::string_view name;
  std::string_view key;             // "pool.size"
  Unit unit = Unit::same;           // seconds: a plain number; flag: 0 or 1
};

[[nodiscard]] const PgBouncerName* find_pgbouncer_name(std::string_view name);
// A value as PgBouncer writes it, as Weir does.
[[nodiscard]] std::string from_pgbouncer(const PgBouncerName& name, std::string_view value);
// The same settings as describe() gives, under PgBouncer's names and in its units.
[[nodiscard]] std::vector<Setting> describe_as_pgbouncer(const Settings& settings);

}  // namespace weir::config
