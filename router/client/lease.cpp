#include "router/client/lease.hpp"

#include <pqxx/except>
#include <utility>

#include "router/client/connection_pool.hpp"
#include "router/client/leased_connection.hpp"
#include "router/client/shard_access.hpp"

namespace weir::client {

namespace {
constexpr auto kResetTime = std::chrono::seconds(5);
}

Lease::Lease() = default;
Lease::Lease(Lease&& other) noexcept = default;
Lease::~Lease() { release(); }

Lease& Lease::operator=(Lease&& other) noexcept {
  if (this == &other) return *this;
  release();
  access_ = std::move(other.access_);
  pool_ = std::move(other.pool_);
  server_ = std::move(other.server_);
  view_ = std::move(other.view_);
  backend_ = std::move(other.backend_);
  bucket_ = other.bucket_;
  shard_ = other.shard_;
  on_replica_ = other.on_replica_;
  read_only_ = other.read_only_;
  return *this;
}

pqxx::connection_base& Lease::connection() {
  if (!view_) throw pqxx::usage_error("lease of " + backend_ + ": its connection was given back already");
  return *view_;
}

void Lease::release() noexcept { finish(true); }
void Lease::discard() noexcept { finish(false); }

void Lease::finish(bool keep) noexcept {
  if (!server_) return;
  view_.reset();
  const int pid = server_->pid();
  const bool clean = keep && server_->reset(Deadline::after(Clock::now(), kResetTime));
  if (!read_only_) access_->write_ended(bucket_, clean ? 0 : pid);
  pool_->release(std::move(server_), clean);
  pool_.reset();
  access_.reset();
}

}  // namespace weir::client
