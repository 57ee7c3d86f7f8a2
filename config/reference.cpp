#include "base/strings.hpp"
#include "config/rows.hpp"

namespace weir::config {
namespace {

constexpr std::string_view kIntroduction = R"(# Configuration

This page is generated from the table of keys in `config/rows.cpp`; a test compares them.

Weir reads one [TOML](https://toml.io/en/v1.0.0) file, named with `-c`, and the users file it names. `weir check -c weir.toml` reports everything that
is wrong with both at once, each with file, line, key, and what is allowed; with `--connect` it looks at the databases, too.

* An unknown key is an error.
* `${NAME}` in a string is replaced by the environment variable NAME; an unset one is an error; `$${` is a literal `${`.
* Durations are strings: `"500ms"`, `"30s"`, `"10m"`, `"1h"`, or `"0"`.
* Relative paths are relative to `weir.toml`.
* A connection string is [libpq's](https://www.postgresql.org/docs/15/libpq-connect.html#LIBPQ-CONNSTRING), as keywords or as a URI, with one host and a
  dbname. `service` and `replication` are refused.
* SIGHUP, and RELOAD in the console, apply what is marked so in the column *reload* and say what they did not apply. "never": the data would have
  to move. Shards and their buckets may change together with a higher `map_version`.

Complete files to start from: [`plain.toml`](../config/examples/plain.toml), [`sharded.toml`](../config/examples/sharded.toml) and
[`users.toml`](../config/examples/users.toml).
)";

std::string escaped(std::string_view cell) {
  std::string out;
  for (const char c : cell) {
    if (c == '|') out += '\\';
    out += c;
  }
  return out;
}

template <class S>
std::string default_of(const Row<S>& row) {
  if (row.facts.required) return "required";
  const std::string value = row.show(S{});
  return value.empty() ? "none" : concat("`", value, "`");
}

std::string_view reload_text(Reload reload) {
  switch (reload) {
    case Reload::yes:
      return "yes";
    case Reload::no:
      return "restart";
    case Reload::never:
      return "never";
  }
  return "";
}

template <class S>
std::string table_of() {
  std::string out = "\n| key | value | default | reload | meaning |\n| --- | --- | --- | --- | --- |\n";
  for (const Row<S>& row : rows_of<S>()) {
    const std::string unit = row.facts.unit.empty() ? std::string() : concat(" (", row.facts.unit, ")");
    out += concat("| `", row.key, "` | ", escaped(row.allowed(row.facts.limits)), unit, " | ", escaped(default_of(row)),
                  " | ", reload_text(row.facts.reload), " | ", escaped(row.help), " |\n");
  }
  return out;
}

std::string heading(const SectionFacts& section) {
  const std::string brackets =
      section.form == Form::array ? concat("[[", section.kind, "]]") : concat("[", section.kind, "]");
  const std::string_view file = section.in_users_file ? " (users file)" : "";
  return concat("\n## `", brackets, "`", file, "\n\n", section.help, "\n");
}

std::string rows_text(std::string_view kind) {
  if (kind == "listen") return table_of<Listen>();
  if (kind == "admin") return table_of<Admin>();
  if (kind == "log") return table_of<Log>();
  if (kind == "auth") return table_of<Auth>();
  if (kind == "tls") return table_of<Tls>();
  if (kind == "peer") return table_of<Peer>();
  if (kind == "pool") return table_of<Pool>();
  if (kind == "health") return table_of<Health>();
  if (kind == "database") return table_of<Database>();
  if (kind == "database.sharding") return table_of<Sharding>();
  if (kind == "database.shard") return table_of<Shard>();
  if (kind == "database.table") return table_of<Table>();
  if (kind == "database.table.month") return table_of<Month>();
  if (kind == "database.reads") return table_of<Reads>();
  return table_of<User>();
}

std::string later_text() {
  std::string out =
      "\n## Not in this version\n\nThese are refused by name, unless they have the value in the second column.\n\n"
      "| key | accepted | instead |\n| --- | --- | --- |\n";
  for (const LaterKey& later : later_keys()) {
    const std::string key = later.kind.empty() ? std::string(later.key) : concat(later.kind, ".", later.key);
    const std::string accepted = later.accepted.empty() ? std::string("-") : concat("`", later.accepted, "`");
    out += concat("| `", key, "` | ", accepted, " | ", later.advice, " |\n");
  }
  return out;
}

}  // namespace

std::string reference_markdown() {
  std::string out(kIntroduction);
  for (const SectionFacts& section : sections()) out += heading(section) + rows_text(section.kind);
  return out + later_text();
}

}  // namespace weir::config
