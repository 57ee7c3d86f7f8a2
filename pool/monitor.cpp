#include "pool/monitor.hpp"

#include <libpq-fe.h>

#include <algorithm>
#include <cstdlib>

#include "base/log.hpp"
#include "base/strings.hpp"

namespace weir::pool {

namespace {

// A replica that has replayed all it received, and still receives, is not behind, however old its last transaction is.
// https://www.postgresql.org/docs/15/functions-admin.html#FUNCTIONS-RECOVERY-INFO
constexpr const char* kProbe =
    "SELECT pg_is_in_recovery(), "
    "CASE WHEN NOT pg_is_in_recovery() THEN NULL "
    "     WHEN pg_last_wal_receive_lsn() = pg_last_wal_replay_lsn() THEN 0 "
    "     ELSE extract(epoch FROM clock_timestamp() - pg_last_xact_replay_timestamp()) END, "
    "EXISTS (SELECT 1 FROM pg_stat_wal_receiver WHERE pid IS NOT NULL), "
    "(SELECT timeline_id FROM pg_control_checkpoint())";

policy::Probe unreachable(std::string why) {
  policy::Probe p;
  p.error = std::move(why);
  while (!p.error.empty() && p.error.back() == '\n') p.error.pop_back();
  return p;
}

}  // namespace

policy::Probe probe(PgConn& conn, const ConnParams& params, Duration timeout) {
  const Deadline deadline = Deadline::after(Clock::now(), timeout);
  if (!conn) {
    auto opened = connect_blocking(params, {}, deadline);
    if (!opened) return unreachable(opened.error().message);
    conn = std::move(*opened);
  }
  const PgResult result = exec_until(conn.get(), kProbe, deadline);
  if (!result || PQresultStatus(result.get()) != PGRES_TUPLES_OK || PQntuples(result.get()) != 1) {
    auto why = unreachable(result ? PQresultErrorMessage(result.get()) : "no answer to the probe in time");
    conn.reset();
    return why;
  }
  policy::Probe p;
  p.reachable = true;
  p.in_recovery = *PQgetvalue(result.get(), 0, 0) == 't';
  if (!PQgetisnull(result.get(), 0, 1)) {
    const double seconds = std::strtod(PQgetvalue(result.get(), 0, 1), nullptr);
    p.lag = std::chrono::duration_cast<Duration>(std::chrono::duration<double>(seconds));
  }
  p.receiver_connected = *PQgetvalue(result.get(), 0, 2) == 't';
  p.timeline = static_cast<std::uint32_t>(std::strtoul(PQgetvalue(result.get(), 0, 3), nullptr, 10));
  return p;
}

struct Monitor::Entry {
  Watched watched;
  PgConn conn;                 // used by one prober at a time
  TimePoint caught_up_at{};    // when it was last seen to have replayed all: it cannot be further behind than since then
  bool busy = false;           // monitor's lock
  bool probed = false;
  bool dropped = false;
  TimePoint next{};
};

Monitor::Monitor(MonitorSettings settings) : settings_(settings), probers_(8), thread_([this] { run(); }) {}

Monitor::~Monitor() {
  {
    std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  wake_.notify_all();
  thread_.join();
}

void Monitor::watch(std::vector<Watched> backends, MonitorSettings settings) {
  std::lock_guard lock(mutex_);
  settings_ = settings;
  for (auto& entry : entries_) entry->dropped = true;
  entries_.clear();
  for (auto& w : backends) {
    auto entry = std::make_shared<Entry>();
    entry->watched = std::move(w);
    entries_.push_back(std::move(entry));
  }
  wake_.notify_all();
}

bool Monitor::wait_first_round(Deadline deadline) {
  std::unique_lock lock(mutex_);
  const auto all_probed = [this] {
    for (const auto& e : entries_)
      if (!e->probed) return false;
    return true;
  };
  return wake_.wait_until(lock, deadline.at(), all_probed);
}

void Monitor::run() {
  std::unique_lock lock(mutex_);
  while (!stopping_) {
    const TimePoint now = Clock::now();
    TimePoint next = now + settings_.interval;
    for (const auto& entry : entries_) {
      if (!entry->busy && entry->next <= now) {
        entry->busy = true;
        entry->next = now + settings_.interval;
        probers_.run([this, entry] { probe_entry(entry); });
      }
      next = std::min(next, std::max(entry->next, now + std::chrono::milliseconds(1)));
    }
    wake_.wait_until(lock, next);
  }
}

void Monitor::probe_entry(const std::shared_ptr<Entry>& entry) {
  Duration timeout;
  {
    std::lock_guard lock(mutex_);
    timeout = settings_.timeout;
  }
  const TimePoint asked_at = Clock::now();
  policy::Probe outcome = probe(entry->conn, entry->watched.params, timeout);
  if (outcome.lag == Duration::zero()) entry->caught_up_at = asked_at;
  // After a quiet hour the last replayed transaction is an hour old; that is no lag of an hour.
  if (outcome.lag && entry->caught_up_at != TimePoint{}) outcome.lag = std::min(*outcome.lag, Clock::now() - entry->caught_up_at);
  Backend& backend = *entry->watched.backend;
  const policy::Verdict verdict = policy::judge(backend.id().role, outcome, entry->watched.max_lag);
  std::lock_guard lock(mutex_);
  if (!entry->dropped) {
    if (verdict.usable != backend.usable()) {
      if (verdict.usable)
        log::info(concat(backend.name(), " is usable"));
      else
        log::warning(concat(backend.name(), " is not usable: ", verdict.reason));
    }
    backend.set_verdict(verdict, outcome);
  }
  entry->busy = false;
  entry->probed = true;
  wake_.notify_all();
}

}  // namespace weir::pool
