// Reading weir.toml: everything that is wrong with it at once, each with file, line, key and what is allowed.
#pragma once

#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "config/settings.hpp"

namespace weir::config {

// One mistake. str(): "weir.toml:12: pool.size: expected an integer from 1 to 10000, got \"many\"".
struct Problem {
  std::string file;
  unsigned line = 0;       // 0: concerns the file as a whole
  std::string key;         // dotted, with table index or name: database.app.shard.s0.primary
  std::string message;     // what is wrong, and what is allowed

  [[nodiscard]] std::string str() const;
};

// What the reader needs. The service library and weirctl read the same file without [listen] and [auth];
// `require_auth = false` leaves users.toml unread.
struct LoadOptions {
  bool require_auth = true;
};

// Settings, or every problem found (never an empty list). Reads `path` and the users file; nothing else.
// `${NAME}` in strings is replaced from the environment (an unset name is a problem); `$${` is a literal `${`.
using LoadResult = std::variant<Settings, std::vector<Problem>>;
[[nodiscard]] LoadResult load(const std::string& path, const LoadOptions& options = {});

// The reference page of every key (docs/configuration.md is this text; a test compares them).
[[nodiscard]] std::string reference_markdown();

// Every key outside of the databases with its value in force, for SHOW CONFIG. Secrets are not shown.
struct Setting {
  std::string key, value, default_value;
  bool reloadable = true;
};
[[nodiscard]] std::vector<Setting> describe(const Settings& settings);

// `settings` with one key outside of the databases changed, by its name or PgBouncer's ("pool.size", "default_pool_size"), for SET in the console;
// or why not.
[[nodiscard]] std::variant<Settings, std::string> with_value(Settings settings, std::string_view name, std::string_view value);

// Keys whose value differs and that a RELOAD cannot apply ("listen.port: 6432 -> 7000 needs a restart").
[[nodiscard]] std::vector<std::string> not_reloadable(const Settings& before, const Settings& after);

// "0-2047", "0,10,20", "0-9,40-49" to sorted disjoint ranges; an error text otherwise.
[[nodiscard]] std::variant<std::vector<BucketRange>, std::string> parse_bucket_ranges(std::string_view text,
                                                                                     std::uint32_t buckets);
// The inverse: canonical text, e.g. "0-9,40-49".
[[nodiscard]] std::string format_bucket_ranges(const std::vector<BucketRange>& ranges);

}  // namespace weir::config
