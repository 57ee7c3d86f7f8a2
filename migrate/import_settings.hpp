// What becomes of each of PgBouncer's settings (1.25) in weir.toml, one row a setting. Which key it is says config/pgbouncer_names.hpp.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>

namespace weir::migrate {

// A setting with a counterpart that means the same. `fallback`: PgBouncer's default, which is written out where the file is silent and
// Weir's own differs. `least` and `most` are Weir's bounds (seconds: in milliseconds).
struct ImportedSetting {
  std::string_view name;
  std::string_view fallback;
  std::int64_t least, most;
};
[[nodiscard]] std::span<const ImportedSetting> imported_settings();

// A setting without a counterpart, and what Weir does instead.
struct UnlikeSetting {
  std::string_view name;
  std::string_view instead;
};
[[nodiscard]] const UnlikeSetting* unlike_setting(std::string_view name);

}  // namespace weir::migrate
