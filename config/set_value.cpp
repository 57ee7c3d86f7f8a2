#include <algorithm>
#include <cctype>

#include "base/strings.hpp"
#include "config/load.hpp"
#include "config/pgbouncer_names.hpp"
#include "config/read_rows.hpp"
#include "config/reader.hpp"

namespace weir::config {
namespace {

bool is_bare(std::string_view value) {
  if (value == "true" || value == "false") return true;
  const std::size_t digits = value.starts_with('-') ? 1 : 0;
  return value.size() > digits && std::all_of(value.begin() + static_cast<std::ptrdiff_t>(digits), value.end(), [](char c) { return std::isdigit(static_cast<unsigned char>(c)); });
}

// One table with one key, read as the file is.
template <class S>
std::optional<std::string> read_into(S& out, std::string_view table, std::string_view key, const std::string& toml) {
  const Row<S>* row = find_row<S>(key);
  if (row == nullptr) return concat("unknown key ", table, ".", key);
  if (row->facts.reload != Reload::yes) return concat(table, ".", key, " needs a restart");
  Reader reader("SET");
  if (const auto root = reader.parse(concat("[", table, "]\n", key, " = ", toml, "\n")))
    if (const auto section = reader.child({&*root, "", ""}, table)) read_rows(reader, *section, out);
  const auto problems = reader.take_problems();
  if (problems.empty()) return std::nullopt;
  return concat(problems.front().key, ": ", problems.front().message);
}

}  // namespace

std::variant<Settings, std::string> with_value(Settings settings, std::string_view name, std::string_view value) {
  std::string key = ascii_lower(name), text(value);
  if (const PgBouncerName* known = find_pgbouncer_name(key)) {
    key = known->key;
    text = from_pgbouncer(*known, value);
  }
  const std::size_t dot = key.find('.');
  const std::string table = key.substr(0, dot), leaf = dot == std::string::npos ? "" : key.substr(dot + 1);
  const std::string toml = is_bare(text) ? text : quoted(text);
  std::optional<std::string> problem;
  if (table == "listen") problem = read_into(settings.listen, table, leaf, toml);
  else if (table == "log") problem = read_into(settings.log, table, leaf, toml);
  else if (table == "pool") problem = read_into(settings.pool, table, leaf, toml);
  else if (table == "health") problem = read_into(settings.health, table, leaf, toml);
  else problem = concat("\"", name, "\" cannot be SET: listen, log, pool and health can, as in SHOW CONFIG; the rest by the file and RELOAD");
  if (problem) return *problem;
  if (settings.pool.min > settings.pool.size) return std::string("pool.min would be more than pool.size");
  return settings;
}

}  // namespace weir::config
