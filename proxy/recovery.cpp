#include "proxy/recovery.hpp"

#include <algorithm>

#include "base/log.hpp"
#include "base/strings.hpp"

namespace weir::proxy {
namespace {

constexpr SqlState kUndefinedObject{"42704"}, kObjectInUse{"55000"}, kPrivilege{"42501"};

std::string what(const Error& error) { return error.hint.empty() ? error.message : concat(error.message, " (", error.hint, ")"); }

}  // namespace

Recovery::Recovery(std::function<TopologyRef()> topology) : topology_(std::move(topology)), thread_([this] { run(); }) {}

Recovery::~Recovery() {
  {
    std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  wake_.notify_all();
  thread_.join();
}

void Recovery::look_soon() {
  std::lock_guard lock(mutex_);
  soon_ = true;
  wake_.notify_all();
}

Recovery::Seen Recovery::seen() const {
  std::lock_guard lock(mutex_);
  return seen_;
}

bool Recovery::can_prepare(const std::string& database, const std::string& shard) const {
  std::lock_guard lock(mutex_);
  return !unable_.contains({database, shard});
}

std::string Recovery::cluster(const std::string& database) const {
  std::lock_guard lock(mutex_);
  const auto found = clusters_.find(database);
  return found == clusters_.end() ? std::string() : found->second;
}

void Recovery::run() {
  while (!stopping_) {
    look_at_all(topology_());
    std::unique_lock lock(mutex_);
    const bool busy = std::any_of(seen_.transactions.begin(), seen_.transactions.end(), [](const InDoubt& t) { return !t.problem; });
    wake_.wait_for(lock, busy ? kBusyInterval : kInterval, [this] { return stopping_ || soon_; });
    soon_ = false;
  }
}

void Recovery::look_at_all(const TopologyRef& topology) {
  if (settings_version_ != topology->settings_version) links_.clear();
  settings_version_ = topology->settings_version;
  const TimePoint now = Clock::now();
  cleaning_ = clean_at_ <= now;
  if (cleaning_) clean_at_ = now + kCleanInterval;
  std::vector<InDoubt> found;
  for (const DatabaseState& state : topology->databases) {
    if (!state.sharded() || stopping_) continue;
    Database database{&state, {}, {}};
    database.rules.in_doubt_after = state.config->sharding->in_doubt_after;
    for (std::size_t i = 0; i < state.shards.size(); ++i) {
      const config::Shard& shard = state.config->shards[i];
      RecoveryLink& link = links_[{state.config->name, shard.name}];
      if (!stopping_ && link.open(*state.config, shard, *state.shards[i].primary, state.checks[i])) database.rules.cluster = link.cluster();
      database.links.push_back(&link);
      database.rules.shards.push_back(shard.name);
    }
    if (!database.rules.cluster.empty()) {
      std::lock_guard lock(mutex_);
      clusters_[state.config->name] = database.rules.cluster;
    }
    look_at(database, found);
  }
  publish(std::move(found));
}

// Old decisions are read before the shards are asked what they hold: what is held then was prepared before it was decided, so that
// a decision that nobody holds will never be asked for again.
void Recovery::look_at(Database& database, std::vector<InDoubt>& found) {
  const std::size_t shards = database.links.size(), first = found.size();
  std::vector<std::vector<std::string>> old(shards);
  for (std::size_t i = 0; i < shards && cleaning_; ++i) {
    auto decisions = database.links[i]->old_commits(database.rules.shards);
    if (!decisions) continue;
    if (decisions->size() == RecoveryLink::kForgetAtOnce) clean_at_ = {};
    old[i] = std::move(*decisions);
  }
  std::set<std::string> held;
  bool all_seen = true;
  for (std::size_t i = 0; i < shards; ++i) all_seen &= list(database, i, found, held);
  for (std::size_t t = first; t < found.size() && !stopping_; ++t) {
    const auto& names = database.rules.shards;
    settle(database, static_cast<std::size_t>(std::find(names.begin(), names.end(), found[t].shard) - names.begin()), found[t]);
  }
  std::erase_if(found, [](const InDoubt& t) { return t.state.empty(); });
  for (std::size_t i = 0; i < shards && cleaning_ && all_seen; ++i) {
    std::erase_if(old[i], [&](const std::string& decision) { return held.contains(decision); });
    (void)database.links[i]->forget(old[i]);
    (void)database.links[i]->forget_old_aborts();
  }
}

// What a shard holds; of one that is away (false), what it held when it was last seen. `held`: decisions that are still asked for.
bool Recovery::list(Database& database, std::size_t shard, std::vector<InDoubt>& found, std::set<std::string>& held) {
  RecoveryLink& link = *database.links[shard];
  const std::string& name = database.state->config->name;
  const std::string& shard_name = database.rules.shards[shard];
  auto prepared = link.prepared();
  if (!prepared && link.is_open()) log::warning(concat("database ", name, ", shard ", shard_name, ": ", what(prepared.error())));
  if (!prepared) {
    remember(database, shard, found);
    return false;
  }
  {
    std::lock_guard lock(mutex_);
    link.can_prepare() ? (void)unable_.erase({name, shard_name}) : (void)unable_.insert({name, shard_name});
  }
  for (RecoveryLink::Prepared& p : *prepared) {
    if (const auto gid = router::parse_gid(p.gid)) held.insert(gid->decision);
    found.push_back({name, shard_name, std::move(p.gid), std::move(p.owner), p.age, "", false});
  }
  return true;
}

void Recovery::remember(const Database& database, std::size_t shard, std::vector<InDoubt>& found) const {
  std::lock_guard lock(mutex_);
  for (const InDoubt& t : seen_.transactions) {
    if (t.database != database.state->config->name || t.shard != database.rules.shards[shard]) continue;
    found.push_back(t);
    found.back().state = "its shard cannot be reached";
    found.back().problem = true;
  }
}

// Leaves `state` empty if there is nothing to tell of the transaction any more.
void Recovery::settle(Database& database, std::size_t shard, InDoubt& transaction) {
  using Action = router::InDoubtVerdict::Action;
  if (!database.links[shard]->is_open()) {
    transaction.state = "its shard cannot be reached";
    transaction.problem = true;
    return;
  }
  const auto verdict = router::judge({transaction.gid, transaction.shard, transaction.age}, database.rules);
  if (verdict.action == Action::coordinators) return;
  transaction.state = verdict.reason;
  transaction.problem = verdict.action == Action::leave;
  if (verdict.action == Action::leave) return;
  const auto& names = database.rules.shards;
  RecoveryLink& decider = *database.links[static_cast<std::size_t>(std::find(names.begin(), names.end(), verdict.gid.decider) - names.begin())];
  const auto stands = decision(decider, verdict);
  if (!stands) {
    transaction.state = concat("shard ", verdict.gid.decider, ", which decides, does not tell: ", what(stands.error()));
    transaction.problem = true;
  } else if (stands->empty()) {
    transaction.state = "its coordinator has not decided yet";
  } else {
    finish(*database.links[shard], *stands, transaction);
  }
}

Result<std::string> Recovery::decision(RecoveryLink& decider, const router::InDoubtVerdict& verdict) {
  if (verdict.action == router::InDoubtVerdict::Action::decide) return decider.abort(verdict.gid.decision);
  return decider.decided(verdict.gid.decision);
}

void Recovery::finish(RecoveryLink& link, const std::string& outcome, InDoubt& transaction) {
  const bool commit = outcome == "commit";
  const auto done = link.finish(transaction.gid, transaction.owner, commit);
  if (!done && done.error().code != kUndefinedObject) {
    const bool busy = done.error().code == kObjectInUse;   // another is at it
    transaction.state = busy ? "another session is finishing it" : concat("decided: ", outcome, ", but it cannot be finished: ", what(done.error()));
    if (done.error().code == kPrivilege) transaction.state += concat("; GRANT ", transaction.owner, " TO ", link.user());
    transaction.problem = !busy;
    return;
  }
  transaction.state.clear();
  if (!done) return;   // another has finished it
  log::info(concat("recovery ", commit ? "committed" : "rolled back", " prepared transaction ", transaction.gid, " of database ", transaction.database,
                   " on shard ", transaction.shard));
  std::lock_guard lock(mutex_);
  Counts& counts = seen_.finished[transaction.database];
  ++(commit ? counts.committed : counts.rolled_back);
}

void Recovery::publish(std::vector<InDoubt> found) {
  tell(found);
  std::lock_guard lock(mutex_);
  seen_.transactions = std::move(found);
}

// Each problem once, until it is gone.
void Recovery::tell(const std::vector<InDoubt>& found) {
  std::set<std::string> now;
  for (const InDoubt& t : found) {
    if (!t.problem) continue;
    std::string line = concat("database ", t.database, ", shard ", t.shard, ": prepared transaction ", t.gid, ": ", t.state);
    if (!told_.contains(line)) log::warning(line);
    now.insert(std::move(line));
  }
  told_ = std::move(now);
}

}  // namespace weir::proxy
