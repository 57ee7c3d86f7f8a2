#include "pool/pools.hpp"

#include <algorithm>

#include "base/strings.hpp"

namespace weir::pool {

namespace {
constexpr auto kTick = std::chrono::milliseconds(50);
}

Pools::Pools(std::vector<net::Loop*> loops, unsigned login_threads)
    : loops_(std::move(loops)), connector_(login_threads), maintenance_([this] { maintain(); }) {}

Pools::~Pools() {
  {
    std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  wake_.notify_all();
  maintenance_.join();
}

std::shared_ptr<Pool> Pools::get(const std::shared_ptr<Backend>& backend, const Credentials& credentials,
                                 const PoolSettings& settings, const LoginCheck& check,
                                 const std::vector<std::shared_ptr<Budget>>& limits) {
  // Clients of different names share a pool where the backend's own user serves all of them.
  const Credentials login = effective_credentials(*backend, credentials);
  std::lock_guard lock(mutex_);
  for (const auto& pool : pools_)
    if (&pool->backend() == backend.get() && pool->user() == login.user && !pool->retired()) {
      pool->offer(login);
      return pool;
    }
  pools_.push_back(std::make_shared<Pool>(*this, backend, login, settings, check, limits));
  return pools_.back();
}

std::shared_ptr<Budget> Pools::budget(const std::string& server, unsigned bound) {
  std::lock_guard lock(mutex_);
  auto& budget = budgets_[server];
  if (!budget) budget = std::make_shared<Budget>(bound);
  budget->set_bound(bound);
  return budget;
}

std::shared_ptr<Budget> Pools::limit(const std::string& whose, std::optional<unsigned> bound) {
  const unsigned connections = bound.value_or(0) == 0 ? Budget::kNoBound : *bound;
  std::lock_guard lock(mutex_);
  auto& budget = limits_[whose];
  if (!budget) budget = std::make_shared<Budget>(connections, concat(whose, " (max_server_connections)"));
  budget->set_bound(connections);
  return budget;
}

std::map<std::string, std::shared_ptr<Budget>> Pools::limits() const {
  std::lock_guard lock(mutex_);
  return limits_;
}

std::map<std::string, std::shared_ptr<Budget>> Pools::budgets() const {
  std::lock_guard lock(mutex_);
  return budgets_;
}

std::vector<std::shared_ptr<Pool>> Pools::all() const {
  std::lock_guard lock(mutex_);
  return pools_;
}

void Pools::retire_unless(const std::function<bool(const Backend&)>& keep) {
  for (const auto& pool : all())
    if (!keep(pool->backend())) pool->retire();
}

void Pools::idle_event(unsigned worker, std::uint64_t server_id) {
  for (const auto& pool : all()) pool->idle_event(worker, server_id);
}

// Whoever cannot use it now (another bound refused it, its logins fail) leaves the head of the line to the next.
void Pools::feed(Budget& budget) {
  for (auto first = budget.hungriest(); first;) {
    first->open_now(Clock::now());
    auto next = budget.hungriest();
    if (next == first) return;
    first = std::move(next);
  }
}

bool Pools::relieve(const Budget& budget, const Pool* except) {
  std::shared_ptr<Pool> chosen;
  std::optional<TimePoint> since;
  for (const auto& pool : all()) {
    if (pool.get() == except || !pool->counts_in(budget)) continue;
    if (const auto idle = pool->longest_idle(); idle && (!since || *idle < *since)) {
      since = idle;
      chosen = pool;
    }
  }
  if (chosen) chosen->close_longest_idle();
  return chosen != nullptr;
}

void Pools::maintain() {
  std::unique_lock lock(mutex_);
  while (!stopping_) {
    wake_.wait_for(lock, kTick);
    if (stopping_) return;
    auto pools = pools_;
    lock.unlock();
    const TimePoint now = Clock::now();
    for (const auto& pool : pools) pool->tick(now);
    pools.clear();
    lock.lock();
    const std::size_t forgotten = std::erase_if(pools_, [](const auto& p) { return p.use_count() == 1 && p->forgettable(); });
    if (forgotten > 0) std::erase_if(limits_, [](const auto& l) { return l.second.use_count() == 1; });
  }
}

}  // namespace weir::pool
