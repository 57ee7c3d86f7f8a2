// Idle servers, limits in time, and what is told about a pool.
#include <algorithm>

#include "base/log.hpp"
#include "base/strings.hpp"
#include "pool/pool.hpp"

namespace weir::pool {

// ---- idle servers; all with the lock held ----

Server* Pool::find_idle(unsigned worker, const void* settings) {
  auto& idle = per_worker_[worker].idle;
  if (idle.empty()) return nullptr;
  std::size_t at = idle.size() - 1;
  constexpr std::size_t kLook = 8;   // a match saves a round trip, a long search would cost more
  for (std::size_t i = idle.size(); i-- > 0 && idle.size() - i <= kLook;)
    if (idle[i]->settings.get() == settings) {
      at = i;
      break;
    }
  Server* server = idle[at];
  idle.erase(idle.begin() + static_cast<std::ptrdiff_t>(at));
  --idle_;
  return server;
}

Server* Pool::steal_idle(unsigned worker) {
  if (idle_ == 0) return nullptr;
  for (unsigned i = 1; i < per_worker_.size(); ++i) {
    auto& idle = per_worker_[(worker + i) % per_worker_.size()].idle;
    if (idle.empty()) continue;
    Server* server = idle.back();
    idle.pop_back();
    --idle_;
    server->socket->detach();
    return server;
  }
  return nullptr;
}

void Pool::park(Server* server, unsigned worker) {
  server->worker = worker;
  server->socket->set_tag(server->id);
  per_worker_[worker].idle.push_back(server);
  ++idle_;
}

// Also where a reload made the pool, or a bound, smaller.
std::optional<CloseReason> Pool::must_close(const Server& server, TimePoint now) const {
  if (retired_) return CloseReason::retired;
  if (server.generation != generation_) return CloseReason::renewed;
  if (now >= server.expires) return CloseReason::lifetime;
  if (all_.size() > most()) return CloseReason::surplus;
  if (std::any_of(bounds_.begin(), bounds_.end(), [](const auto& bound) { return bound->exceeded(); })) return CloseReason::surplus;
  return std::nullopt;
}

// What was called in from the reserve goes as soon as it is not needed.
std::optional<CloseReason> Pool::is_idle_too_long(const Server& server, TimePoint now) const {
  const Duration unused = now - server.last_used;
  if (all_.size() > settings_.size && unused > settings_.reserve_timeout) return CloseReason::surplus;
  if (settings_.idle_timeout > Duration::zero() && unused > settings_.idle_timeout && all_.size() > settings_.min)
    return CloseReason::idle_timeout;
  return std::nullopt;
}

void Pool::remove_server(Server* server, Later& later, CloseReason why, TimePoint now) {
  backend_->events->count_closed(why);
  if (log::enabled(log::Level::info))
    log::info(concat(name_, ": server connection closed: ", kCloseReasons[static_cast<std::size_t>(why)], " (pid ",
                     std::to_string(server->backend_pid), ", age ",
                     std::to_string(std::chrono::duration_cast<std::chrono::seconds>(now - server->created).count()), " s)"));
  const auto it = all_.find(server->id);
  later.closing.push_back(std::move(it->second));
  all_.erase(it);
  give_back_bounds();
  later.gave_back = true;
}

// ---- without the lock ----

void Pool::idle_event(unsigned worker, std::uint64_t server_id) {
  Later later;
  {
    std::lock_guard lock(mutex_);
    auto& idle = per_worker_[worker].idle;
    const auto it = std::find_if(idle.begin(), idle.end(), [&](const Server* s) { return s->id == server_id; });
    if (it == idle.end()) return;   // taken or moved meanwhile
    if ((*it)->socket->receive().kind == net::Received::Kind::nothing && !(*it)->socket->hung_up()) return;
    Server* server = *it;
    idle.erase(it);
    --idle_;
    remove_server(server, later, CloseReason::closed_by_server, Clock::now());
  }
  carry_out(later);
}

std::optional<TimePoint> Pool::longest_idle() const {
  std::lock_guard lock(mutex_);
  std::optional<TimePoint> longest;
  for (const auto& worker : per_worker_)
    if (!worker.idle.empty() && (!longest || worker.idle.front()->last_used < *longest)) longest = worker.idle.front()->last_used;
  return longest;
}

bool Pool::close_longest_idle() {
  Later later;
  {
    std::lock_guard lock(mutex_);
    std::vector<Server*>* from = nullptr;
    for (auto& worker : per_worker_)
      if (!worker.idle.empty() && (!from || worker.idle.front()->last_used < from->front()->last_used)) from = &worker.idle;
    if (!from) return false;
    Server* server = from->front();
    from->erase(from->begin());
    --idle_;
    remove_server(server, later, CloseReason::making_room, Clock::now());
  }
  carry_out(later);
  return true;
}

void Pool::tick(TimePoint now) {
  Later later;
  {
    std::lock_guard lock(mutex_);
    for (auto& worker : per_worker_) {
      std::erase_if(worker.idle, [&](Server* s) {
        auto why = must_close(*s, now);
        if (!why) why = is_idle_too_long(*s, now);
        if (!why) return false;
        --idle_;
        remove_server(s, later, *why, now);
        return true;
      });
    }
    open_more(later, now);
    later.relieve = in_line_at_;
  }
  carry_out(later);
}

PoolCounts Pool::counts(TimePoint now) const {
  std::lock_guard lock(mutex_);
  PoolCounts c;
  c.idle = idle_;
  c.active = static_cast<unsigned>(all_.size()) - idle_;
  c.opening = opening_;
  c.waiting = waiting_;
  c.being_canceled = being_canceled.load(std::memory_order_relaxed);
  c.cancels_waiting = cancels_waiting.load(std::memory_order_relaxed);
  c.cancels_active = cancels_active.load(std::memory_order_relaxed);
  if (generation_ > 1)
    for (const auto& [id, s] : all_) c.close_needed += s->generation != generation_ ? 1 : 0;
  if (waiting_ > 0) c.max_wait = now - oldest_arrival();
  return c;
}

std::vector<ServerInfo> Pool::servers() const {
  std::lock_guard lock(mutex_);
  std::vector<ServerInfo> out;
  for (const auto& [id, s] : all_) {
    const auto& idle = per_worker_[s->worker].idle;
    const bool is_idle = std::find(idle.begin(), idle.end(), s.get()) != idle.end();
    out.push_back({id, s->backend_pid, !is_idle, s->generation != generation_, s->link.ssl() != nullptr, s->worker, s->created, s->last_used, s->client,
                   is_idle ? s->prepared.size() : 0});
  }
  return out;
}

Error Pool::timeout_error(Duration waited) const {
  using std::chrono::milliseconds;
  std::lock_guard lock(mutex_);
  const auto ms = std::chrono::duration_cast<milliseconds>(waited).count();
  std::string state = concat(std::to_string(all_.size() - idle_), " of ", std::to_string(settings_.size), " in use, ",
                             std::to_string(waiting_), " waiting");
  if (all_.empty() && last_failure_)
    return {sqlstate::kCannotConnectNow,
            concat("no server connection of ", name_, " could be made within ", std::to_string(ms), " ms: ",
                   last_failure_->message),
            last_failure_->hint.empty() ? "Look at SHOW BACKENDS in the admin console." : last_failure_->hint};
  if (paused_)
    return {sqlstate::kTooManyConnections,
            concat("waited ", std::to_string(ms), " ms for ", name_, ", which is paused: ", state),
            "RESUME it in the admin console."};
  for (const auto& bound : bounds_)
    if (bound->is_used_up()) state += concat("; all ", std::to_string(bound->bound()), " connections of ", bound->name(), " are taken");
  return {sqlstate::kTooManyConnections,
          concat("waited ", std::to_string(ms), " ms for a server connection of ", name_, ": ", state),
          "Transactions may be too long, or pool.size too small; see SHOW POOLS in the admin console."};
}

PoolCounts& PoolCounts::operator+=(const PoolCounts& other) {
  active += other.active;
  idle += other.idle;
  opening += other.opening;
  waiting += other.waiting;
  close_needed += other.close_needed;
  being_canceled += other.being_canceled;
  cancels_waiting += other.cancels_waiting;
  cancels_active += other.cancels_active;
  max_wait = std::max(max_wait, other.max_wait);
  return *this;
}

}  // namespace weir::pool
