// Lease: the right to use one server connection for a while.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <pqxx/connection_base>
#include <string>

#include "schema/bucket_map.hpp"

namespace weir::client {

class ConnectionPool;
class LeasedConnection;
class ServerConnection;
class ShardAccess;

// Move-only; gives its connection back when it goes out of scope. One thread at a time. May outlive its Cluster.
//
//   auto lease = cluster.write(user_id);
//   pqxx::work tx{lease.connection()};
//   tx.exec_params("INSERT INTO orders (user_id, item) VALUES ($1, $2)", user_id, item);
//   tx.commit();
//
// What is left behind is undone before anybody else has the connection: an open transaction is rolled back, then
// DISCARD ALL (settings, prepared statements, temporary tables, LISTEN, advisory locks). That costs one round trip at
// the end of every lease. A connection that broke, or that cannot be cleaned within 5 s, is closed instead.
// Transactions (pqxx::work ...) made from the lease must be gone before it.
class Lease {
 public:
  Lease(Lease&& other) noexcept;
  Lease& operator=(Lease&& other) noexcept;
  ~Lease();

  // libpqxx's connection, fresh for this lease. It never reconnects by itself: once broken, take another lease.
  [[nodiscard]] pqxx::connection_base& connection();

  // Gives the connection back before the lease goes out of scope. connection() must not be called afterwards.
  void release() noexcept;
  // Closes the connection instead of giving it back (a protocol in an unclear state).
  void discard() noexcept;

  [[nodiscard]] schema::ShardId shard() const noexcept { return shard_; }
  [[nodiscard]] const std::string& backend() const noexcept { return backend_; }  // "app/s0/primary"
  [[nodiscard]] bool on_replica() const noexcept { return on_replica_; }
  // True for read(): transactions are READ ONLY unless the session is told otherwise (a guard against mistakes, no
  // fence).
  [[nodiscard]] bool read_only() const noexcept { return read_only_; }

 private:
  friend class ShardAccess;
  Lease();
  void finish(bool keep) noexcept;

  std::shared_ptr<ShardAccess> access_;
  std::shared_ptr<ConnectionPool> pool_;
  std::unique_ptr<ServerConnection> server_;
  std::unique_ptr<LeasedConnection> view_;
  std::string backend_;
  std::optional<std::uint32_t> bucket_;  // none: the whole shard
  schema::ShardId shard_ = 0;
  bool on_replica_ = false;
  bool read_only_ = false;
};

}  // namespace weir::client
