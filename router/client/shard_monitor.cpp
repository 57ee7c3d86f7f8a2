#include "router/client/shard_monitor.hpp"

#include <algorithm>
#include <charconv>
#include <pqxx/except>

#include "base/log.hpp"
#include "base/strings.hpp"

namespace weir::client {

namespace {

constexpr auto kLeastGap = std::chrono::milliseconds(10);

// pg_walfile_name() begins with the timeline in hexadecimal; the control file's timeline lags behind a promotion.
constexpr const char* kSampleQuery =
    "SELECT (pg_current_wal_insert_lsn() - '0/0'::pg_lsn)::bigint,"
    " ('x' || left(pg_walfile_name(pg_current_wal_lsn()), 8))::bit(32)::int,"
    " pg_size_bytes(current_setting('wal_segment_size'))";

// Without pg_monitor (or pg_read_all_stats) status and received_tli of the receiver are NULL.
constexpr const char* kReplicaQuery =
    "SELECT pg_is_in_recovery(), (pg_last_wal_replay_lsn() - '0/0'::pg_lsn)::bigint,"
    " r.pid IS NOT NULL AND coalesce(r.status, 'streaming') = 'streaming', r.received_tli"
    " FROM (SELECT 1) one LEFT JOIN pg_stat_wal_receiver r ON true";

template <class T>
T number(const std::optional<std::string>& text) {
  T value = 0;
  if (text) std::from_chars(text->data(), text->data() + text->size(), value);
  return value;
}

}  // namespace

bool Ticker::wait() {
  std::unique_lock lock(mutex_);
  woken_.wait_until(lock, last_ + interval_, [&] { return stopped_ || poked_; });
  if (!stopped_) woken_.wait_until(lock, last_ + kLeastGap, [&] { return stopped_; });
  poked_ = false;
  last_ = Clock::now();
  return !stopped_;
}

void Ticker::poke() {
  const std::lock_guard lock(mutex_);
  poked_ = true;
  woken_.notify_all();
}

void Ticker::stop() {
  const std::lock_guard lock(mutex_);
  stopped_ = true;
  woken_.notify_all();
}

ShardMonitor::ShardMonitor(std::shared_ptr<ShardAccess> access, MonitorSettings settings)
    : access_(std::move(access)), settings_(std::move(settings)), primary_tick_(settings_.interval) {
  for (std::size_t i = 0; i < settings_.replicas.size(); ++i)
    replica_ticks_.push_back(std::make_unique<Ticker>(settings_.interval));
  access_->on_stale([this] { primary_tick_.poke(); });
  threads_.emplace_back([this] { watch_primary(); });
  for (std::size_t i = 0; i < settings_.replicas.size(); ++i) threads_.emplace_back([this, i] { watch_replica(i); });
}

ShardMonitor::~ShardMonitor() {
  access_->on_stale(nullptr);
  primary_tick_.stop();
  for (auto& tick : replica_ticks_) tick->stop();
  for (auto& thread : threads_) thread.join();
}

void ShardMonitor::watch_primary() {
  std::unique_ptr<ServerConnection> connection;
  while (primary_tick_.wait()) {
    try {
      if (!connection)
        connection =
            std::make_unique<ServerConnection>(settings_.primary, Deadline::after(Clock::now(), settings_.timeout));
      settle_unknown_writers(*connection);
      sample(*connection);
    } catch (const std::exception& e) {  // no new samples: what was written stays with the primary
      connection.reset();
      log::debug(concat(access_->primary().pool->settings().name, ": no sample: ", e.what()));
    }
    for (auto& tick : replica_ticks_) tick->poke();
  }
}

void ShardMonitor::sample(ServerConnection& connection) {
  const std::uint64_t n = access_->marks().next_sample();
  const TimePoint sent_at = Clock::now();
  const auto rows = connection.query(kSampleQuery, Deadline::after(sent_at, settings_.timeout));
  if (rows.size() != 1 || rows[0].size() != 3) return;
  const auto position = reachable_position(number<std::uint64_t>(rows[0][0]), number<std::uint64_t>(rows[0][2]));
  const std::lock_guard lock(mutex_);
  const bool other_timeline = history_.add(n, position, number<std::uint32_t>(rows[0][1]), sent_at);
  if (!other_timeline) return;
  access_->marks().mark_all();
  for (const auto& replica : access_->replicas()) replica->reached = 0;
}

void ShardMonitor::settle_unknown_writers(ServerConnection& connection) {
  std::vector<int> gone = access_->unknown_pids();
  if (gone.empty()) return;
  std::string list;
  for (const int pid : gone) list += (list.empty() ? "" : ",") + std::to_string(pid);
  const auto rows = connection.query("SELECT pid FROM pg_stat_activity WHERE pid = ANY ('{" + list + "}'::int[])",
                                     Deadline::after(Clock::now(), settings_.timeout));
  for (const auto& row : rows) std::erase(gone, number<int>(row.at(0)));
  access_->writers_gone(gone);
}

void ShardMonitor::watch_replica(std::size_t index) {
  Backend& replica = *access_->replicas()[index];
  std::unique_ptr<ServerConnection> connection;
  TimePoint not_before{};  // an unreachable replica is not logged in to at every sample
  while (replica_ticks_[index]->wait()) {
    if (!connection && Clock::now() < not_before) continue;
    try {
      if (!connection)
        connection = std::make_unique<ServerConnection>(settings_.replicas[index],
                                                        Deadline::after(Clock::now(), settings_.timeout));
      probe(*connection, replica);
    } catch (const std::exception& e) {
      connection.reset();
      not_before = Clock::now() + settings_.interval;
      policy::Probe unreachable;
      unreachable.error = e.what();
      replica.set_verdict(policy::judge(policy::Role::replica, unreachable, settings_.max_lag));
    }
  }
}

void ShardMonitor::probe(ServerConnection& connection, Backend& replica) {
  const auto rows = connection.query(kReplicaQuery, Deadline::after(Clock::now(), settings_.timeout));
  if (rows.size() != 1 || rows[0].size() != 4) return;
  const auto& row = rows[0];
  policy::Probe found;
  found.reachable = true;
  found.in_recovery = row[0] == "t";
  found.receiver_connected = row[2] == "t";
  found.timeline = number<std::uint32_t>(row[3]);
  std::uint64_t reached = 0;
  {
    const std::lock_guard lock(mutex_);
    const Standing standing = history_.standing(number<std::uint64_t>(row[1]), found.timeline, Clock::now());
    reached = standing.reached;
    found.lag = standing.lag;
    // What may not be seen cannot be vouched for: such a replica serves only reads that may be stale (reached stays 0).
    if (found.timeline == 0)
      found.lag = history_.standing(number<std::uint64_t>(row[1]), history_.timeline(), Clock::now()).lag;
    replica.reached = reached;
  }
  replica.set_verdict(policy::judge(policy::Role::replica, found, settings_.max_lag));
}

}  // namespace weir::client
