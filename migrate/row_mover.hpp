// Copying, comparing and deleting the rows of moved buckets.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "migrate/moved_table.hpp"

namespace weir::migrate {

// Called between batches; throws to stop (an operator's Ctrl-C).
using Checkpoint = std::function<void()>;

// Settings under which values are written and read as the same text on both shards, and which no timeout ends.
void prepare_session(client::ServerConnection& connection);

// Triggers, foreign keys and cascades stay quiet in this session. Throws Failure, naming the shard, if the role may not
// do that.
void quiet_triggers(client::ServerConnection& connection, const std::string& shard);

// Begins the snapshot of the source. The tables are locked against writers first (ROW EXCLUSIVE conflicts), so nobody,
// not even a client that goes around Weir, changes a row between the copy and the end of this transaction. Throws
// pqxx::sql_error with 55P03 when a writer does not end within `lock_timeout`.
void begin_source(client::ServerConnection& source, const std::vector<MovedTable>& tables, Duration lock_timeout);
// The same lock at another isolation level.
void begin_locked(client::ServerConnection& connection, const std::string& isolation,
                  const std::vector<MovedTable>& tables, Duration lock_timeout);

// COPY of the table's moved rows from the source's transaction into the target's. Returns the bytes carried.
std::uint64_t copy_rows(client::ServerConnection& source, client::ServerConnection& target, const MovedTable& table,
                        const Checkpoint& checkpoint);

// Deletes the moved rows in batches, each its own transaction. Returns their number.
std::uint64_t delete_rows(client::ServerConnection& connection, const MovedTable& table, const Checkpoint& checkpoint);

}  // namespace weir::migrate
