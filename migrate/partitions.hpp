// weirctl partitions: monthly partitions made ahead of time, on every shard.
#pragma once

#include <chrono>
#include <optional>
#include <ostream>

#include "base/deadline.hpp"
#include "config/settings.hpp"
#include "migrate/session.hpp"
#include "schema/month.hpp"

namespace weir::migrate {

struct PartitionOptions {
  bool apply = false;                           // else: only print what is missing
  std::optional<schema::Month> now;             // default: the current month in each table's time zone
  Duration patience = std::chrono::minutes(2);  // for one step, over all its retries on lock_timeout
};

// Plans, and with `apply` makes, the months from now to `ahead` of every table with `month`, on every shard. A month
// counts as admitted when every shard has it; those are printed. Returns false while one is missing or something needs
// a human (printed). One instance at a time: throws Failure with status kBusy when another holds the lock.
[[nodiscard]] bool partitions(const config::Database& database, const PartitionOptions& options, std::ostream& out);

// One month of `table` on one shard, by the same safe statements. Throws Failure if something is in its way.
void make_month(Session& session, const config::Table& table, schema::Month month, Duration patience,
                std::ostream& out);

}  // namespace weir::migrate
