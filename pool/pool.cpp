#include "pool/pool.hpp"

#include <algorithm>

#include "base/strings.hpp"

namespace weir::pool {

namespace {

// A pool whose client waits for longer than this gets connections of pools whose clients came later; and a connection that was opened
// serves for as long before it is given up again: a login costs milliseconds.
constexpr Duration kTurn = std::chrono::milliseconds(100);

Error closed_by_reload(const std::string& name) {
  Error error(sqlstate::kAdminShutdown, concat(name, " was closed by a reload"), "Try again.");
  error.connection_spoilt = true;
  return error;
}

std::vector<std::shared_ptr<Budget>> with_server(const Backend& backend, std::vector<std::shared_ptr<Budget>> limits) {
  limits.insert(limits.begin(), backend.shared_budget());
  return limits;
}

}  // namespace

Pool::Pool(PoolHost& host, std::shared_ptr<Backend> backend, Credentials credentials, PoolSettings settings, LoginCheck check,
           std::vector<std::shared_ptr<Budget>> limits)
    : host_(host),
      backend_(std::move(backend)),
      user_(effective_credentials(*backend_, credentials).user),
      name_(concat("pool ", backend_->name(), " user ", user_)),
      bounds_(with_server(*backend_, std::move(limits))),
      settings_(settings),
      check_(std::move(check)),
      credentials_(std::move(credentials)),
      per_worker_(host.workers()) {}

Pool::~Pool() {
  Later later;
  for (auto& [id, server] : all_) {
    later.closing.push_back(std::move(server));
    give_back_bounds();
  }
  stand_in_line(nullptr);
}

// ---- sessions ----

Server* Pool::acquire(Request& request, TimePoint now) {
  request.since = now;
  request.server = nullptr;
  request.error.reset();
  Later later;
  Server* server = nullptr;
  {
    std::lock_guard lock(mutex_);
    if (retired_) {
      request.error = closed_by_reload(name_);
      return nullptr;
    }
    if ((!paused_ && waiting_ == 0) || (request.first && first_waiting_ == 0)) {   // PAUSE waits for what holds servers
      server = find_idle(request.worker, request.settings);
      if (!server) server = steal_idle(request.worker);
    }
    if (server) {
      server->client = request.client;
      server->worker = request.worker;
      backend_->in_use.fetch_add(1, std::memory_order_relaxed);
    } else {
      enqueue(request);
      open_more(later, now);
    }
  }
  if (server) return ready_for(server, request);
  if (later.any()) carry_out(later);
  return nullptr;
}

Server* Pool::taken(Request& request) {
  if (request.state.load(std::memory_order_acquire) != Request::State::delivered) return nullptr;
  request.state.store(Request::State::idle, std::memory_order_relaxed);
  Server* server = std::exchange(request.server, nullptr);
  return server ? ready_for(server, request) : nullptr;
}

void Pool::cancel(Request& request) {
  Server* granted = nullptr;
  {
    std::lock_guard lock(mutex_);
    const auto state = request.state.load(std::memory_order_relaxed);
    if (state == Request::State::queued) {
      leave_queue(request);
      backend_->in_use.fetch_sub(1, std::memory_order_relaxed);
      keep_place();
    } else if (state == Request::State::in_mail) {
      leave_mail(request);
    }
    request.state.store(Request::State::idle, std::memory_order_relaxed);
    granted = std::exchange(request.server, nullptr);
  }
  // It may have come from another loop, or from a login: it is released from this one.
  if (granted && (granted = ready_for(granted, request)) != nullptr) release(granted, Clock::now());
}

void Pool::release(Server* server, TimePoint now) {
  Later later;
  {
    std::lock_guard lock(mutex_);
    server->last_used = now;
    server->client = 0;
    if (server->socket) server->socket->set_waiter(nullptr);
    backend_->in_use.fetch_sub(1, std::memory_order_relaxed);
    const auto why = should_yield(*server, now) ? CloseReason::making_room : must_close(*server, now);
    if (why) {
      remove_server(server, later, *why, now);
      open_more(later, now);
    } else if (Request* next = paused_ && first_waiting_ == 0 ? nullptr : next_request(server->worker, now)) {
      grant(*next, server, static_cast<int>(server->worker));
      keep_place();
    } else {
      park(server, server->worker);
    }
  }
  if (later.any()) carry_out(later);
}

void Pool::discard(Server* server, CloseReason why) {
  const TimePoint now = Clock::now();
  Later later;
  {
    std::lock_guard lock(mutex_);
    backend_->in_use.fetch_sub(1, std::memory_order_relaxed);
    remove_server(server, later, why, now);
    open_more(later, now);
  }
  carry_out(later);
}

// Attaches to the caller's loop what came from elsewhere. Without the lock: system calls.
Server* Pool::ready_for(Server* server, Request& request) {
  net::Loop& loop = host_.loop(request.worker);
  Result<void> attached;
  if (!server->socket) {
    attached = server->attach(loop);
  } else if (server->socket->loop() != &loop) {
    attached = server->socket->attach_to(loop);
  }
  if (!attached) {
    discard(server);
    request.error = attached.take_error();
    return nullptr;
  }
  server->socket->set_tag(0);
  return server;
}

// A pool of the same bound whose client came earlier stands in line for a connection: may it have this one?
bool Pool::should_yield(const Server& server, TimePoint now) const {
  for (const auto& bound : bounds_) {
    if (bound->promised()) return true;   // the process that takes over, or is replaced, waits for it
    if (!bound->starving()) continue;
    const TimePoint since = bound->starving_since();
    if (since == TimePoint::max() || (in_line_at_ == bound.get() && in_line_since_ <= since)) continue;
    if (waiting_ == 0) return true;
    if (oldest_arrival() > since && now - since > kTurn && now - server.created > kTurn) return true;
  }
  return false;
}

// ---- any thread ----

void Pool::carry_out(Later& later) {
  later.closing.clear();
  for (; later.logins > 0; --later.logins) start_login();
  if (Budget* refused = std::exchange(later.relieve, nullptr)) host_.relieve(*refused, this);
  if (!std::exchange(later.gave_back, false)) return;
  for (const auto& bound : bounds_)
    if (bound->starving()) host_.feed(*bound);
}

void Pool::set_paused(bool paused) {
  Later later;
  {
    std::lock_guard lock(mutex_);
    paused_ = paused;
    if (!paused_) serve_queue(later, -1);
    open_more(later, Clock::now());   // paused: nobody need make room for it any more
  }
  carry_out(later);
}

bool Pool::counts_in(const Budget& budget) const {
  return std::any_of(bounds_.begin(), bounds_.end(), [&](const auto& b) { return b.get() == &budget; });
}

unsigned Pool::pin_limit(unsigned configured) const {
  if (configured > 0) return configured;
  std::lock_guard lock(mutex_);
  return std::max(settings_.size, 2U) - 1;
}

bool Pool::try_pin(unsigned limit) {
  unsigned now = pinned();
  while (now < limit)
    if (pinned_.compare_exchange_weak(now, now + 1, std::memory_order_relaxed)) return true;
  return false;
}

bool Pool::wanted() const {
  std::lock_guard lock(mutex_);
  return waiting_ > 0;
}

unsigned Pool::all_in_use() const {
  std::lock_guard lock(mutex_);
  const bool none_comes = idle_ == 0 && opening_ == 0 && all_.size() >= most();
  return none_comes ? static_cast<unsigned>(all_.size()) : 0;
}

bool Pool::paused() const {
  std::lock_guard lock(mutex_);
  return paused_;
}

void Pool::renew() {
  {
    std::lock_guard lock(mutex_);
    ++generation_;
  }
  tick(Clock::now());
}

void Pool::retire() {
  {
    std::lock_guard lock(mutex_);
    retired_ = true;
    fail_all(closed_by_reload(name_));
  }
  tick(Clock::now());
}

bool Pool::forgettable() const {
  std::lock_guard lock(mutex_);
  const bool works = all_.size() > idle_ || opening_ > 0 || waiting_ > 0;
  return !works && (retired_ || (all_.empty() && settings_.min == 0));
}

bool Pool::retired() const {
  std::lock_guard lock(mutex_);
  return retired_;
}

void Pool::set_settings(const PoolSettings& settings) {
  std::lock_guard lock(mutex_);
  settings_ = settings;
}

void Pool::offer(const Credentials& credentials) {
  std::lock_guard lock(mutex_);
  if (!credentials.has_secret() || credentials == credentials_) return;
  credentials_ = credentials;
  retry_at_ = {};
}

void Pool::set_check(LoginCheck check) {
  std::lock_guard lock(mutex_);
  check_ = std::move(check);
}

std::shared_ptr<const Pool::Welcome> Pool::welcome() const {
  std::lock_guard lock(mutex_);
  return welcome_;
}

}  // namespace weir::pool
