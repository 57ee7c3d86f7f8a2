#include "pool/pools.hpp"

#include <algorithm>

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
                                 const PoolSettings& settings, const LoginCheck& check) {
  // Clients of different names share a pool where the backend's own user serves all of them.
  const Credentials login = effective_credentials(*backend, credentials);
  std::lock_guard lock(mutex_);
  for (const auto& pool : pools_)
    if (&pool->backend() == backend.get() && pool->credentials() == login && !pool->retired()) return pool;
  pools_.push_back(std::make_shared<Pool>(*this, backend, login, settings, check));
  return pools_.back();
}

std::shared_ptr<Budget> Pools::budget(const std::string& server, unsigned bound) {
  std::lock_guard lock(mutex_);
  auto& budget = budgets_[server];
  if (!budget) budget = std::make_shared<Budget>(bound);
  budget->set_bound(bound);
  return budget;
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

void Pools::serve_starving(const Budget& budget, const Pool* except) {
  for (const auto& pool : all())
    if (pool.get() != except && &pool->backend().budget() == &budget) pool->tick(Clock::now());
}

bool Pools::relieve(const Budget& budget, const Pool* except) {
  for (const auto& pool : all())
    if (pool.get() != except && &pool->backend().budget() == &budget && pool->close_one_idle()) return true;
  return false;
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
    std::erase_if(pools_, [&](const auto& p) {
      const auto c = p->counts(now);
      return p->retired() && p.use_count() == 1 && c.active + c.opening + c.waiting == 0;
    });
  }
}

}  // namespace weir::pool
