// MoveStage: the two shards of a move, everything that was found out about it, and its single steps. The order of the
// steps is move_buckets.cpp's.
#pragma once

#include <memory>
#include <ostream>
#include <string>
#include <vector>

#include "config/settings.hpp"
#include "migrate/config_edit.hpp"
#include "migrate/move_buckets.hpp"
#include "migrate/move_journal.hpp"
#include "migrate/moved_table.hpp"
#include "migrate/row_mover.hpp"
#include "router/client/server_connection.hpp"
#include "schema/month.hpp"

namespace weir::migrate {

class MoveStage {
 public:
  // Reads the configuration and connects to every shard's primary. Throws Failure.
  MoveStage(const MoveOptions& options, const std::string& database, const std::string& from, const std::string& to,
            const std::string& buckets, std::ostream& out);

  // One move or partition job at a time, on the home shard. Throws Failure with status kBusy.
  void take_locks();
  // Every shard has its identity and the configuration's map version.
  void require_identities();
  // Catalogs, tables, what stands in the way. Refusals are collected in scope().refusals.
  void examine();
  void require_source_holds_buckets();
  // Partitions the target lacks; those that are no months are refusals.
  void compare_partitions();
  void print_plan();
  // The edited configuration, read back and compared with what it should say. Throws Failure.
  void prepare_configuration();

  void make_months();
  // Step 3 and 4. The source stays locked until unlock_source(), the target until copy() has committed.
  void lock_source();
  void lock_empty_target();
  void copy(const Checkpoint& checkpoint);
  void unlock_source() noexcept;
  // Deletes copies from the target; on a fresh connection, because the last one may be in any state.
  void clear_target();
  // Sets every identity row that says `from_version`. Throws Failure.
  void set_map_version(std::uint64_t from_version, std::uint64_t to_version);
  void write_new_configuration();
  void install_configuration();
  void restore_configuration();
  // Step 8. Throws Failure and deletes nothing if the source has changed since it was copied.
  void delete_moved(const MoveJournal& journal, const Checkpoint& checkpoint);
  void require_unchanged_source(const MoveJournal& journal);

  [[nodiscard]] const MoveScope& scope() const { return scope_; }
  [[nodiscard]] const config::Database& database() const { return *database_; }
  [[nodiscard]] const std::string& file() const { return settings_.file; }
  [[nodiscard]] MoveJournal& journal() { return journal_; }

 private:
  using Connection = std::unique_ptr<client::ServerConnection>;

  [[nodiscard]] const config::Shard& shard(const std::string& name) const;
  [[nodiscard]] Connection connect(const config::Shard& shard) const;
  Connection open_for_rows(const config::Shard& shard) const;  // prepared, triggers quiet if need be
  [[nodiscard]] MapEdit edit() const;
  void check_edit(const std::string& path) const;
  void require_empty_target();
  void verify_copy(const MovedTable& table);

  std::ostream& out_;
  const MoveOptions& options_;
  config::Settings settings_;
  std::string old_text_, new_text_;
  const config::Database* database_ = nullptr;
  std::vector<config::BucketRange> buckets_;
  MoveJournal journal_;
  std::vector<Connection> shards_;  // for identities and locks, in the order of the shards
  Connection source_, target_;      // for rows
  MoveScope scope_;
  std::vector<std::pair<const MovedTable*, schema::Month>> months_;
};

}  // namespace weir::migrate
