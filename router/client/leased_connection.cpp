#include "router/client/leased_connection.hpp"

#include <libpq-fe.h>

#include <pqxx/except>
#include <utility>

namespace weir::client {

namespace {
void ignore_notice(void*, const char*) {}
}  // namespace

LeasedConnection::LeasedConnection(pqxx::connectionpolicy::handle borrowed)
    : pqxx::connection_base(policy_), policy_(borrowed) {  // the base only keeps the reference until init()
  init();
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wdeprecated-declarations"
  inhibit_reactivation(true);
#pragma GCC diagnostic pop
}

// libpqxx's notice processor points at this object, so it is taken off before the object goes.
LeasedConnection::~LeasedConnection() noexcept {
  const auto handle = policy_.do_startconnect(nullptr);
  close();
  if (handle != nullptr) PQsetNoticeProcessor(handle, ignore_notice, nullptr);
}

pqxx::connectionpolicy::handle LeasedConnection::Borrow::do_startconnect(handle current) {
  return current != nullptr ? current : borrowed_;
}

}  // namespace weir::client
