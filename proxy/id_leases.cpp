#include "proxy/id_leases.hpp"

#include <openssl/rand.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstdio>
#include <cstdlib>

#include "base/log.hpp"
#include "base/strings.hpp"
#include "schema/id_nodes.hpp"

namespace weir::proxy {
namespace {

std::string random_uuid() {
  std::array<unsigned char, 16> bytes{};
  RAND_bytes(bytes.data(), static_cast<int>(bytes.size()));
  std::string out;
  for (std::size_t i = 0; i < bytes.size(); ++i) {
    char hex[3];
    std::snprintf(hex, sizeof hex, "%02x", bytes[i]);
    out += concat(i == 4 || i == 6 || i == 8 || i == 10 ? "-" : "", hex);
  }
  return out;
}

std::string about_us() {
  std::array<char, 256> host{};
  if (::gethostname(host.data(), host.size() - 1) != 0) host[0] = '\0';
  return concat("weir, process ", std::to_string(::getpid()), " on ", host.data());
}

std::uint64_t number(const std::optional<std::string>& text) { return std::strtoull(text.value_or("0").c_str(), nullptr, 10); }

}  // namespace

Result<void> IdLink::prepare() {
  auto rows = query(std::string(schema::has_id_nodes_query()));
  if (!rows) return rows.take_error();
  if (rows->size() != 1 || rows->front().front() != "t") return schema_is_old();
  return {};
}

Result<IdLink::Grant> IdLink::lease(const std::string& holder, const std::string& about) {
  auto rows = query(schema::lease_id_node_query(holder, about));
  if (!rows) return rows.take_error();
  const bool whole = rows->size() == 1 && rows->front().size() == 4;
  if (!whole) return Error(sqlstate::kCannotConnectNow, "weir.lease_id_node() did not answer with one row");
  const pool::QueryRow& row = rows->front();
  return Grant{{static_cast<std::uint32_t>(number(row[0])), number(row[1]), number(row[2])}, number(row[3])};
}

Result<void> IdLink::release(const std::string& holder, std::uint64_t used) {
  if (auto done = query(schema::release_id_node_query(holder, used)); !done) return done.take_error();
  return {};
}

IdLeases::~IdLeases() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  wake_.notify_all();
  if (thread_.joinable()) thread_.join();
  for (auto& [database, held] : held_)
    if (held.node < policy::Id::kNodes && held.link.is_open()) (void)held.link.release(held.holder, held.source->last_time());
}

void IdLeases::serve(TopologyRef topology, Deadline deadline) {
  const bool needed = std::ranges::any_of(topology->databases, [](const DatabaseState& d) { return d.ids != nullptr; });
  std::unique_lock lock(mutex_);
  if (stopping_ || (!needed && !thread_.joinable())) return;
  topology_ = std::move(topology);
  if (!thread_.joinable()) thread_ = std::thread([this] { run(); });
  const std::uint64_t round = ++wanted_;
  wake_.notify_all();
  looked_.wait_until(lock, deadline.at(), [&] { return done_ >= round || stopping_; });
}

void IdLeases::run() {
  std::unique_lock lock(mutex_);
  while (!stopping_) {
    const std::uint64_t round = wanted_;
    const TopologyRef topology = topology_;
    lock.unlock();
    const bool all = look_at_all(topology);
    lock.lock();
    done_ = std::max(done_, round);
    looked_.notify_all();
    wake_.wait_for(lock, all ? kInterval : kRetry, [&] { return stopping_ || wanted_ > done_; });
  }
}

// False: some database has no lease, or could not renew it.
bool IdLeases::look_at_all(const TopologyRef& topology) {
  bool all = true;
  std::erase_if(held_, [&](const auto& held) {   // its number is free when the lease is over: a session may still take ids
    const DatabaseState* database = topology->find(held.first);
    return !database || database->ids != held.second.source;
  });
  if (std::exchange(settings_version_, topology->settings_version) != topology->settings_version)
    for (auto& [name, held] : held_) held.link.close();   // the maintenance user may be another
  for (const DatabaseState& database : topology->databases) {
    if (!database.ids) continue;
    Held& held = held_[database.config->name];
    held.source = database.ids;
    const std::shared_ptr<pool::Backend>& home = database.shards.front().primary;
    if (held.home != home) {   // another server knows nothing of what the one before has granted
      held.source->revoke();
      held.link.close();
      held.holder = random_uuid();
      held.node = policy::Id::kNodes;
    }
    held.home = home;
    all &= renew(database, held);
  }
  return all;
}

bool IdLeases::renew(const DatabaseState& database, Held& held) {
  const config::Shard& shard = database.config->shards.front();
  if (!held.link.open(*database.config, shard, *held.home, database.checks.front())) {
    held.source->set_problem(held.link.problem());
    return false;
  }
  const TimePoint asked = Clock::now();
  const auto grant = held.link.lease(held.holder, about_us());
  if (!grant) {
    if (grant.error().code != sqlstate::kConfigurationLimit) held.link.close();   // it may have become a standby
    tell(database, held, grant.error().detail.empty() ? grant.error().message : concat(grant.error().message, " ", grant.error().detail));
    return false;
  }
  take(database, held, *grant, asked);
  return true;
}

void IdLeases::take(const DatabaseState& database, Held& held, const IdLink::Grant& grant, TimePoint asked) {
  if (grant.lease.node != held.node)
    log::info(concat("database ", database.config->name, ": ids of weir.next_id have node number ", std::to_string(grant.lease.node),
                     held.node < policy::Id::kNodes ? concat(", no longer ", std::to_string(held.node)) : std::string()));
  held.node = grant.lease.node;
  held.source->adopt(grant.lease, grant.now, asked);
  tell(database, held, "");
}

// Each problem once, until it is gone.
void IdLeases::tell(const DatabaseState& database, Held& held, const std::string& problem) {
  held.source->set_problem(problem);
  if (problem != held.problem && !problem.empty())
    log::warning(concat("database ", database.config->name, ": no node number for weir.next_id: ", problem));
  held.problem = problem;
}

}  // namespace weir::proxy
