// Changing the bucket map in weir.toml as a human would: the lines that say it, and nothing else.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/result.hpp"
#include "config/settings.hpp"

namespace weir::migrate {

struct MapEdit {
  std::string database;
  struct Shard {
    std::string name;
    std::vector<config::BucketRange> buckets;
  };
  std::vector<Shard> shards;      // those whose buckets change
  std::uint64_t map_version = 0;  // the new one
};

// `text` of a configuration file with the edit applied; comments, order and blanks stay. A missing map_version is
// written after the header [database.sharding]. Fails, naming what it did not find, for a file that is not laid out as
// a table for each shard with `buckets = "..."` on a line of its own.
[[nodiscard]] Result<std::string> edit_map(const std::string& text, const MapEdit& edit);

// Writes `text` to a new file beside `path` with its mode and owner, on disk before it returns. Throws Failure.
void write_beside(const std::string& path, const std::string& new_path, const std::string& text);
// Puts `new_path` in the place of `path` (one atomic step) and makes that durable. Throws Failure.
void replace_file(const std::string& new_path, const std::string& path);
[[nodiscard]] std::string read_file(const std::string& path);

}  // namespace weir::migrate
