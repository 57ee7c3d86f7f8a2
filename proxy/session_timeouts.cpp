// A session's limits in time: idle, idle in a transaction, a transaction, a query. All end the client with a FATAL error; what its server
// was doing is cancelled and rolled back, and the server is used again (Session::finish).
#include "proxy/proxy.hpp"
#include "proxy/session.hpp"

namespace weir::proxy {

namespace {
// https://www.postgresql.org/docs/17/errcodes-appendix.html
constexpr SqlState kIdleSessionTimeout{"57P05"};
constexpr SqlState kTransactionTimeout{"25P04"};
}  // namespace

// While nothing is owed and the client is to speak.
void Session::arm_idle_timer() {
  const SessionLimits& limits = pools_->limits;
  const TimePoint now = worker_.loop().now();
  if (!in_transaction() && !mid_sequence_ && !spread_)
    timer_.arm(Deadline::after(now, limits.client_idle));
  else if (server_ || spread_)
    timer_.arm(std::min(Deadline::after(now, limits.idle_transaction), Deadline::after(transaction_sent_at_, limits.transaction)));
  else
    timer_.cancel();   // it holds nothing that others wait for
}

void Session::idle_too_long() {
  const SessionLimits& limits = pools_->limits;
  const TimePoint now = worker_.loop().now();
  if (!in_transaction() && !mid_sequence_ && !spread_) {
    database_->stats->timed_out(Timeout::client_idle);
    fatal({kIdleSessionTimeout, "terminating connection due to idle-session timeout", "See pool.client_idle_timeout."});
  } else if (Deadline::after(transaction_sent_at_, limits.transaction).passed(now)) {
    transaction_too_long();
  } else {
    database_->stats->timed_out(Timeout::idle_transaction);
    fatal({sqlstate::kIdleInTransactionTimeout, "terminating connection due to idle-in-transaction timeout",
           "See pool.idle_transaction_timeout."});
  }
}

void Session::transaction_too_long() {
  database_->stats->timed_out(Timeout::transaction);
  fatal({kTransactionTimeout, "terminating connection due to transaction timeout", "See pool.transaction_timeout."});
}

// While replies are owed. Costs nothing where there is no such limit, else a store.
void Session::arm_running_timer() {
  const SessionLimits& limits = pools_->limits;
  if (limits.bounds_running()) timer_.arm(limits.running(sent_at_, transaction_sent_at_));
}

bool Session::runs_too_long() {
  const SessionLimits& limits = pools_->limits;
  if (!limits.bounds_running() || !timer_.fired()) return false;
  if (bulk_left_ > 0) return true;   // in the middle of a row there is no place for an error
  if (Deadline::after(transaction_sent_at_, limits.transaction).passed(worker_.loop().now())) {
    transaction_too_long();
  } else {
    database_->stats->timed_out(Timeout::query);
    fatal({sqlstate::kQueryCanceled, "terminating connection due to query timeout", "See pool.query_timeout."});
  }
  return true;
}

}  // namespace weir::proxy
