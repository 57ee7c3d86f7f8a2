// LeasedConnection: libpqxx's view of a pooled server connection, made anew for every lease.
//
// libpqxx 6 keeps prepared statements, variables and receivers in its connection object, and reconnects silently. A
// fresh object that borrows the PGconn remembers nothing of an earlier lease, and this one never reconnects: a
// connection that broke stays broken (its identity was checked, a new one's would not be).
#pragma once

#include <pqxx/connection_base>
#include <pqxx/connectionpolicy>

namespace weir::client {

class LeasedConnection : public pqxx::connection_base {
 public:
  // `borrowed` must outlive this object, and be used by nobody else meanwhile.
  explicit LeasedConnection(pqxx::connectionpolicy::handle borrowed);
  ~LeasedConnection() noexcept;

 private:
  class Borrow : public pqxx::connectionpolicy {
   public:
    explicit Borrow(handle borrowed) : pqxx::connectionpolicy(""), borrowed_(borrowed) {}
    handle do_startconnect(handle current) override;
    handle do_completeconnect(handle current) override { return current; }
    handle do_dropconnect(handle) noexcept override { return nullptr; }
    handle do_disconnect(handle) noexcept override { return nullptr; }
    bool is_ready(handle current) const noexcept override { return current != nullptr; }

   private:
    handle borrowed_;
  };

  Borrow policy_;
};

}  // namespace weir::client
