// The journal of a move: what a later `weirctl move-buckets --recover` must know if this one is killed.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>

#include "migrate/moved_table.hpp"

namespace weir::migrate {

struct MoveJournal {
  std::string database, from, to, buckets;  // buckets as in weir.toml
  std::uint64_t old_version = 0, new_version = 0;
  bool copying = false;                    // the target was empty, and copies may be there now
  std::map<std::string, Checksum> copied;  // by table, once they were verified on the target
  bool deleting = false;                   // the source was what was copied, and may be partly deleted now

  // "<weir.toml>.move", beside the configuration.
  static std::string path_for(const std::string& config_file);
  // Durable when it returns. Throws Failure.
  void save(const std::string& config_file) const;
  // nullopt: no move is under way. Throws Failure for a file that is no journal.
  static std::optional<MoveJournal> load(const std::string& config_file);
  static void remove(const std::string& config_file);
};

}  // namespace weir::migrate
