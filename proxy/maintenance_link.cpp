#include "proxy/maintenance_link.hpp"

#include <libpq-fe.h>

#include "base/log.hpp"
#include "base/strings.hpp"
#include "proxy/catalogs.hpp"

namespace weir::proxy {
namespace {

// What is decided there must be on the disk; and it reads what it has waited for (schema/decisions.cpp).
constexpr const char* kSession =
    "SET lock_timeout = '3s'; SET statement_timeout = '5s'; SET default_transaction_read_only = off; "
    "SET default_transaction_isolation = 'read committed'; "
    "SELECT CASE current_setting('synchronous_commit') WHEN 'off' THEN set_config('synchronous_commit', 'on', false) END";

}  // namespace

Error schema_is_old() {
  return {sqlstate::kCannotConnectNow, "schema weir is of an earlier version: run `weirctl init -c weir.toml`"};
}

bool MaintenanceLink::open(const config::Database& database, const config::Shard& shard, const pool::Backend& primary, const pool::LoginCheck& check) {
  if (is_open()) return true;
  if (Clock::now() < next_attempt_) return false;
  const auto done = log_in(database, primary, check);
  const std::string problem = done ? std::string() : done.error().message;
  if (problem != problem_) {
    const std::string where = concat("database ", database.name, ", shard ", shard.name, ": ", what_);
    problem.empty() ? log::info(concat(where, " can be ", done_, " again")) : log::warning(concat(where, " cannot be ", done_, ": ", problem));
    problem_ = problem;
  }
  if (done) return true;
  connection_.reset();
  next_attempt_ = Clock::now() + kRetry;
  return false;
}

Result<void> MaintenanceLink::log_in(const config::Database& database, const pool::Backend& primary, const pool::LoginCheck& check) {
  const Deadline deadline = Deadline::after(Clock::now(), kLoginPatience);
  auto opened = pool::connect_blocking(maintenance_params(database, primary), {}, deadline);
  if (!opened) return opened.take_error();
  connection_ = std::move(*opened);
  if (check)
    if (auto checked = check(pool::run_query_by(connection_.get(), deadline)); !checked) return checked;
  if (auto set = query(kSession); !set) return set.take_error();
  return prepare();
}

Result<MaintenanceLink::Rows> MaintenanceLink::query(const std::string& sql) {
  if (!connection_) return Error(sqlstate::kConnectionFailure, concat("its shard cannot be reached: ", problem_));
  auto rows = pool::run_query_by(connection_.get(), Deadline::after(Clock::now(), kPatience))(sql);
  if (!rows && rows.error().connection_spoilt) connection_.reset();
  return rows;
}

}  // namespace weir::proxy
