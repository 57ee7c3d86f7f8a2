#include "pool/pool.hpp"

#include <libpq-fe.h>

#include <algorithm>

#include "base/log.hpp"
#include "base/strings.hpp"

namespace weir::pool {

namespace {
std::atomic<std::uint64_t> server_ids{0};

constexpr Duration kRetryPause = std::chrono::milliseconds(100);
constexpr Duration kRefusalPause = std::chrono::seconds(1);   // a wrong password does not pass by itself
// A pool that starves for longer gets connections of pools whose clients wait for a shorter time: a login costs milliseconds.
constexpr Duration kStarvation = std::chrono::milliseconds(100);

// Lifetimes end spread over a tenth, so that connections opened together are not all renewed together.
TimePoint end_of_life(TimePoint now, Duration lifetime, std::uint64_t id) {
  if (lifetime <= Duration::zero()) return TimePoint::max();
  return now + lifetime - lifetime / 100 * static_cast<int>(id * 7 % 10);
}
}  // namespace

Pool::Pool(PoolHost& host, std::shared_ptr<Backend> backend, Credentials credentials, PoolSettings settings,
           LoginCheck check)
    : host_(host),
      backend_(std::move(backend)),
      credentials_(std::move(credentials)),
      name_(concat("pool ", backend_->name(), " user ", effective_credentials(*backend_, credentials_).user)),
      settings_(settings),
      check_(std::move(check)),
      per_worker_(host.workers()) {}

Pool::~Pool() {
  Later later;
  for (auto& [id, server] : all_) {
    later.closing.push_back(std::move(server));
    backend_->budget().give_back();
  }
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
      request.error = Error(sqlstate::kAdminShutdown, concat(name_, " was closed by a reload"), "Try again.");
      request.error->connection_spoilt = true;
      return nullptr;
    }
    if (!paused_ && waiting_ == 0) {
      server = find_idle(request.worker, request.settings);
      if (!server) server = steal_idle(request.worker);
    }
    if (server) {
      server->client = request.client;
      server->worker = request.worker;
      backend_->in_use.fetch_add(1, std::memory_order_relaxed);
    } else {
      enqueue(request);
      if (!paused_) open_more(later, now);
    }
  }
  if (server) return ready_for(server, request);
  carry_out(later);
  return nullptr;
}

Server* Pool::taken(Request& request) {
  Server* server = nullptr;
  {
    std::lock_guard lock(mutex_);
    if (request.state == Request::State::queued) return nullptr;
    if (request.state == Request::State::in_mail) unlink(request);
    request.state = Request::State::idle;
    server = std::exchange(request.server, nullptr);
  }
  return server ? ready_for(server, request) : nullptr;
}

bool Pool::is_queued(const Request& request) const {
  std::lock_guard lock(mutex_);
  return request.state == Request::State::queued;
}

// Another pool of the same server waits for longer than this pool's oldest client.
bool Pool::should_yield(TimePoint now) const {
  const Budget& budget = backend_->budget();
  if (!budget.starving() || starving_) return false;
  if (waiting_ == 0) return true;
  const TimePoint since = budget.starving_since();
  for (const auto& worker : per_worker_)
    if (worker.queue_head && worker.queue_head->since <= since) return false;
  return now - since > kStarvation;
}

void Pool::cancel(Request& request) {
  Server* granted = nullptr;
  {
    std::lock_guard lock(mutex_);
    if (request.state == Request::State::queued) {
      unlink(request);
      --waiting_;
      backend_->in_use.fetch_sub(1, std::memory_order_relaxed);
    } else if (request.state == Request::State::in_mail) {
      unlink(request);
    }
    request.state = Request::State::idle;
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
    if (should_yield(now)) {
      remove_server(server, later);
      later.yielded = true;
    } else if (must_close(*server, now)) {
      remove_server(server, later);
      if (!paused_) open_more(later, now);
    } else if (Request* next = paused_ ? nullptr : next_request(server->worker)) {
      grant(*next, server, static_cast<int>(server->worker));
    } else {
      park(server, server->worker);
    }
  }
  carry_out(later);
}

void Pool::discard(Server* server) {
  Later later;
  {
    std::lock_guard lock(mutex_);
    backend_->in_use.fetch_sub(1, std::memory_order_relaxed);
    remove_server(server, later);
    if (!paused_) open_more(later, Clock::now());
  }
  carry_out(later);
}

// Attaches to the caller's loop what came from elsewhere. Without the lock: system calls.
Server* Pool::ready_for(Server* server, Request& request) {
  net::Loop& loop = host_.loop(request.worker);
  Result<void> attached;
  if (!server->socket) {
    auto socket = net::Socket::attach(loop, PQsocket(server->conn.get()));
    if (socket) {
      server->socket = std::move(*socket);
      if (PQsslInUse(server->conn.get()))
        server->socket->use_tls(static_cast<SSL*>(PQsslStruct(server->conn.get(), "OpenSSL")));
    } else {
      attached = socket.take_error();
    }
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

bool Pool::must_close(const Server& server, TimePoint now) const {
  return retired_ || server.generation != generation_ || now >= server.expires;
}

void Pool::remove_server(Server* server, Later& later) {
  const auto it = all_.find(server->id);
  later.closing.push_back(std::move(it->second));
  all_.erase(it);
  backend_->budget().give_back();
}

void Pool::idle_event(unsigned worker, std::uint64_t server_id) {
  Later later;
  {
    std::lock_guard lock(mutex_);
    auto& idle = per_worker_[worker].idle;
    const auto it = std::find_if(idle.begin(), idle.end(), [&](const Server* s) { return s->id == server_id; });
    if (it == idle.end()) return;   // taken or moved meanwhile
    if ((*it)->socket->receive().kind == net::Received::Kind::nothing && !(*it)->socket->hung_up()) return;
    log::info(concat(name_, ": idle server connection closed by the server (pid ", std::to_string((*it)->backend_pid), ")"));
    Server* server = *it;
    idle.erase(it);
    --idle_;
    remove_server(server, later);
  }
  carry_out(later);
}

bool Pool::close_one_idle() {
  Later later;
  {
    std::lock_guard lock(mutex_);
    Server* oldest = nullptr;
    std::vector<Server*>* from = nullptr;
    for (auto& worker : per_worker_)
      if (!worker.idle.empty() && (!oldest || worker.idle.front()->last_used < oldest->last_used)) {
        oldest = worker.idle.front();
        from = &worker.idle;
      }
    if (!oldest) return false;
    from->erase(from->begin());
    --idle_;
    remove_server(oldest, later);
  }
  carry_out(later);
  return true;
}

// ---- the queue; all with the lock held ----

void Pool::enqueue(Request& request) {
  auto& q = per_worker_[request.worker];
  request.state = Request::State::queued;
  request.next = nullptr;
  request.prev = q.queue_tail;
  (q.queue_tail ? q.queue_tail->next : q.queue_head) = &request;
  q.queue_tail = &request;
  ++waiting_;
  backend_->in_use.fetch_add(1, std::memory_order_relaxed);
}

void Pool::unlink(Request& request) {
  auto& q = per_worker_[request.worker];
  if (request.state == Request::State::in_mail) {
    (request.prev ? request.prev->next : q.mail) = request.next;
  } else {
    (request.prev ? request.prev->next : q.queue_head) = request.next;
    if (!request.next) q.queue_tail = request.prev;
  }
  if (request.next) request.next->prev = request.prev;
  request.prev = request.next = nullptr;
}

// The oldest of all workers, unless `near_worker`'s own oldest came at nearly the same time.
Request* Pool::next_request(unsigned near_worker) {
  if (waiting_ == 0) return nullptr;
  Request* oldest = nullptr;
  for (auto& worker : per_worker_)
    if (worker.queue_head && (!oldest || worker.queue_head->since < oldest->since)) oldest = worker.queue_head;
  Request* near = near_worker < per_worker_.size() ? per_worker_[near_worker].queue_head : nullptr;
  return near && near->since - oldest->since <= kSlack ? near : oldest;
}

void Pool::grant(Request& request, Server* server, int from_worker) {
  unlink(request);
  --waiting_;
  if (server->socket && server->worker != request.worker) server->socket->detach();
  server->worker = request.worker;
  server->client = request.client;
  request.server = server;
  tell(request, from_worker);
}

void Pool::tell(Request& request, int from_worker) {
  if (static_cast<int>(request.worker) == from_worker) {
    request.state = Request::State::delivered;
    request.waiter->notify();
    return;
  }
  auto& worker = per_worker_[request.worker];
  request.state = Request::State::in_mail;
  request.prev = nullptr;
  request.next = worker.mail;
  if (worker.mail) worker.mail->prev = &request;
  worker.mail = &request;
  if (std::exchange(worker.mail_posted, true)) return;
  host_.loop(request.worker).post([pool = weak_from_this(), w = request.worker] {
    if (const auto self = pool.lock()) self->deliver_mail(w);
  });
}

void Pool::deliver_mail(unsigned worker) {
  std::lock_guard lock(mutex_);
  auto& box = per_worker_[worker];
  box.mail_posted = false;
  while (Request* request = box.mail) {
    unlink(*request);
    request->state = Request::State::delivered;
    request->waiter->notify();
  }
}

void Pool::serve_queue(Later& later, int from_worker) {
  while (waiting_ > 0 && idle_ > 0) {
    Request* request = next_request(per_worker_.size());
    Server* server = find_idle(request->worker, request->settings);
    if (!server) server = steal_idle(request->worker);
    if (server->socket->loop() && from_worker != static_cast<int>(server->worker)) server->socket->detach();
    grant(*request, server, from_worker);
  }
  open_more(later, Clock::now());
}

void Pool::fail_all(const Error& error) {
  for (auto& worker : per_worker_)
    while (Request* request = worker.queue_head) {
      unlink(*request);
      --waiting_;
      backend_->in_use.fetch_sub(1, std::memory_order_relaxed);
      request->error = error;
      tell(*request, -1);
    }
}

// ---- logins ----

void Pool::open_more(Later& later, TimePoint now) {
  if (retired_ || now < retry_at_) return;
  const std::size_t wanted = std::max<std::size_t>(waiting_, total() < settings_.min ? opening_ + 1 : 0);
  bool starved = false;
  while (opening_ < wanted && total() < settings_.size) {
    if (!backend_->budget().take()) {
      starved = true;
      break;
    }
    // Last, because whom the breaker admits must report how it went.
    if (!backend_->allow_login(now)) {
      backend_->budget().give_back();
      break;
    }
    ++opening_;
    ++later.logins;
  }
  if (starved != starving_) backend_->budget().starve(starved ? 1 : -1, now);
  starving_ = starved;
  later.relieve = starved;
}

void Pool::carry_out(Later& later) {
  later.closing.clear();
  for (; later.logins > 0; --later.logins) start_login();
  if (std::exchange(later.yielded, false)) host_.serve_starving(backend_->budget(), this);
  if (std::exchange(later.relieve, false) && host_.relieve(backend_->budget(), this)) tick(Clock::now());
}

void Pool::start_login() {
  host_.connector().run([self = shared_from_this()] {
    LoginCheck check;
    Duration timeout;
    {
      std::lock_guard lock(self->mutex_);
      check = self->check_;
      timeout = self->settings_.connect_timeout;
    }
    self->finish_login(log_in(*self->backend_, self->credentials_, check, Deadline::after(Clock::now(), timeout)));
  });
}

void Pool::finish_login(Result<LoggedIn> outcome) {
  const TimePoint now = Clock::now();
  Later later;
  std::unique_lock lock(mutex_);
  --opening_;
  if (outcome) {
    backend_->login_succeeded();
    last_failure_.reset();
    retry_at_ = {};
    add_server(std::move(*outcome), now, later);
  } else {
    backend_->budget().give_back();
    const Error error = outcome.take_error();
    log::warning(concat(name_, ": login failed: ", error.message));
    last_failure_ = error;
    const bool passing = error.connection_spoilt;
    if (error.code == sqlstate::kConnectionFailure)
      backend_->login_failed(now, error.message);
    else
      backend_->login_succeeded();
    retry_at_ = now + (passing ? kRetryPause : kRefusalPause);
    // Reads have somewhere else to go; a refusal does not pass. Writers wait for their primary.
    if (!passing || backend_->id().role == policy::Role::replica) fail_all(error);
  }
  lock.unlock();
  carry_out(later);
}

void Pool::add_server(LoggedIn in, TimePoint now, Later& later) {
  auto server = std::make_unique<Server>();
  server->id = server_ids.fetch_add(1, std::memory_order_relaxed) + 1;
  server->pool = this;
  server->conn = std::move(in.conn);
  server->backend_pid = in.backend_pid;
  server->created = server->last_used = now;
  server->expires = end_of_life(now, settings_.lifetime, server->id);
  server->generation = generation_;
  welcome_ = std::make_shared<const Welcome>(Welcome{std::move(in.parameters), std::move(in.search_path)});
  Server* s = server.get();
  all_.emplace(s->id, std::move(server));
  if (retired_) return remove_server(s, later);
  Request* request = paused_ ? nullptr : next_request(static_cast<unsigned>(per_worker_.size()));
  if (request) return grant(*request, s, -1);
  const unsigned worker = next_worker_++ % per_worker_.size();
  auto socket = net::Socket::attach(host_.loop(worker), PQsocket(s->conn.get()));
  if (!socket) return remove_server(s, later);
  s->socket = std::move(*socket);
  if (PQsslInUse(s->conn.get())) s->socket->use_tls(static_cast<SSL*>(PQsslStruct(s->conn.get(), "OpenSSL")));
  park(s, worker);
}

// ---- any thread ----

void Pool::set_paused(bool paused) {
  Later later;
  {
    std::lock_guard lock(mutex_);
    paused_ = paused;
    if (paused_) stop_starving();
    if (!paused_) serve_queue(later, -1);
  }
  carry_out(later);
}

// It will not ask for connections: others need not make room.
void Pool::stop_starving() {
  if (std::exchange(starving_, false)) backend_->budget().starve(-1, Clock::now());
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
    stop_starving();
    Error error(sqlstate::kAdminShutdown, concat(name_, " was closed by a reload"), "Try again.");
    error.connection_spoilt = true;
    fail_all(error);
  }
  tick(Clock::now());
}

bool Pool::retired() const {
  std::lock_guard lock(mutex_);
  return retired_;
}

void Pool::set_settings(const PoolSettings& settings) {
  std::lock_guard lock(mutex_);
  settings_ = settings;
}

void Pool::set_check(LoginCheck check) {
  std::lock_guard lock(mutex_);
  check_ = std::move(check);
}

void Pool::tick(TimePoint now) {
  Later later;
  {
    std::lock_guard lock(mutex_);
    for (auto& worker : per_worker_) {
      std::erase_if(worker.idle, [&](Server* s) {
        const bool idle_too_long = settings_.idle_timeout > Duration::zero() &&
                                   now - s->last_used > settings_.idle_timeout && all_.size() > settings_.min;
        if (!idle_too_long && !must_close(*s, now)) return false;
        --idle_;
        remove_server(s, later);
        return true;
      });
    }
    if (!paused_) open_more(later, now);
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
  for (const auto& worker : per_worker_)
    if (worker.queue_head) c.max_wait = std::max(c.max_wait, now - worker.queue_head->since);
  return c;
}

std::vector<ServerInfo> Pool::servers() const {
  std::lock_guard lock(mutex_);
  std::vector<ServerInfo> out;
  for (const auto& [id, s] : all_) {
    const auto& idle = per_worker_[s->worker].idle;
    const bool is_idle = std::find(idle.begin(), idle.end(), s.get()) != idle.end();
    out.push_back({id, s->backend_pid, !is_idle, s->worker, s->created, s->last_used, s->client,
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
  if (backend_->budget().used() >= backend_->budget().bound())
    state += concat("; all ", std::to_string(backend_->budget().bound()), " connections of the server (max_per_backend) are taken");
  return {sqlstate::kTooManyConnections,
          concat("waited ", std::to_string(ms), " ms for a server connection of ", name_, ": ", state),
          "Transactions may be too long, or pool.size too small; see SHOW POOLS in the admin console."};
}

std::shared_ptr<const Pool::Welcome> Pool::welcome() const {
  std::lock_guard lock(mutex_);
  return welcome_;
}

}  // namespace weir::pool
