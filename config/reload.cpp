#include <algorithm>

#include "base/strings.hpp"
#include "config/rows.hpp"

namespace weir::config {
namespace {

template <class S>
void compare(std::string_view table, const S& before, const S& after, std::vector<std::string>& out) {
  for (const Row<S>& row : rows_of<S>()) {
    if (row.facts.reload == Reload::yes) continue;
    const std::string old_value = row.show(before), new_value = row.show(after);
    if (old_value == new_value) continue;
    const std::string_view why =
        row.facts.reload == Reload::never ? " needs the data to be moved: keep the old value" : " needs a restart";
    out.push_back(concat(table, ".", row.key, ": ", old_value, " -> ", new_value, why));
  }
}

std::vector<std::pair<std::string_view, std::string>> map_of(const Database& database) {
  std::vector<std::pair<std::string_view, std::string>> map;
  for (const Shard& shard : database.shards) map.emplace_back(shard.name, format_bucket_ranges(shard.buckets));
  std::sort(map.begin(), map.end());
  return map;
}

void compare_home(const std::string& path, const Database& before, const Database& after,
                  std::vector<std::string>& out) {
  if (before.shards.empty() || after.shards.empty() || before.shards[0].name == after.shards[0].name) return;
  out.push_back(concat(path, ".shard: the first shard (the home of unlisted tables) ", before.shards[0].name, " -> ",
                       after.shards[0].name, " needs a restart"));
}

// Buckets may move between shards only together with a higher map version, which the shards' identity rows prove.
void compare_map(const std::string& path, const Database& before, const Database& after,
                 std::vector<std::string>& out) {
  const std::uint64_t old_version = before.sharding->map_version, new_version = after.sharding->map_version;
  const std::string versions = concat(std::to_string(old_version), " -> ", std::to_string(new_version));
  if (new_version < old_version) {
    out.push_back(concat(path, ".sharding.map_version: ", versions, " goes backwards: is this an old file?"));
  } else if (new_version == old_version && map_of(before) != map_of(after)) {
    out.push_back(concat(path, ".shard: shards or their buckets differ but sharding.map_version is still ",
                         std::to_string(old_version), ": move buckets with scripts/move-buckets, which raises it"));
  }
}

void compare_database(const Database& before, const Database& after, std::vector<std::string>& out) {
  const std::string path = "database." + before.name;
  compare_home(path, before, after, out);
  if (before.sharding.has_value() != after.sharding.has_value()) {
    out.push_back(
        concat(path, ".sharding: ", before.sharding ? "sharded -> plain" : "plain -> sharded", " needs a restart"));
    return;
  }
  if (!before.sharding) return;
  compare(path + ".sharding", *before.sharding, *after.sharding, out);
  compare_map(path, before, after, out);
}

}  // namespace

std::vector<std::string> not_reloadable(const Settings& before, const Settings& after) {
  std::vector<std::string> out;
  compare("listen", before.listen, after.listen, out);
  compare("admin", before.admin, after.admin, out);
  compare("log", before.log, after.log, out);
  compare("auth", before.auth, after.auth, out);
  compare("tls", before.tls, after.tls, out);
  compare("pool", before.pool, after.pool, out);
  compare("health", before.health, after.health, out);
  for (const Database& database : before.databases)
    if (const Database* same = after.find_database(database.name)) compare_database(database, *same, out);
  return out;
}

}  // namespace weir::config
