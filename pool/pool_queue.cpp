// Who is next. All with the lock held.
#include <algorithm>

#include "pool/pool.hpp"

namespace weir::pool {

void Pool::enqueue(Request& request) {
  auto& q = per_worker_[request.worker];
  request.state.store(Request::State::queued, std::memory_order_relaxed);
  Request* next = request.first ? q.queue_head : nullptr;
  while (next && next->first) next = next->next;
  request.next = next;
  request.prev = next ? next->prev : q.queue_tail;
  (request.prev ? request.prev->next : q.queue_head) = &request;
  (next ? next->prev : q.queue_tail) = &request;
  ++waiting_;
  if (request.first) ++first_waiting_;
  backend_->in_use.fetch_add(1, std::memory_order_relaxed);
}

void Pool::leave_queue(Request& request) {
  auto& q = per_worker_[request.worker];
  (request.prev ? request.prev->next : q.queue_head) = request.next;
  (request.next ? request.next->prev : q.queue_tail) = request.prev;
  request.prev = request.next = nullptr;
  --waiting_;
  if (request.first) --first_waiting_;
}

void Pool::leave_mail(Request& request) {
  (request.prev ? request.prev->next : per_worker_[request.worker].mail) = request.next;
  if (request.next) request.next->prev = request.prev;
  request.prev = request.next = nullptr;
}

// The oldest of all workers among those that come first, else among all; unless `near_worker`'s own oldest came at nearly the same time.
Request* Pool::next_request(unsigned near_worker, TimePoint now) {
  if (waiting_ == 0) return nullptr;
  Request* oldest = nullptr;
  for (auto& worker : per_worker_) {
    Request* head = worker.queue_head;
    if (!head || (oldest && oldest->first && !head->first)) continue;
    if (!oldest || head->since < oldest->since || (head->first && !oldest->first)) oldest = head;
  }
  Request* near = near_worker < per_worker_.size() ? per_worker_[near_worker].queue_head : nullptr;
  if (!near || near == oldest || near->first != oldest->first) return oldest;
  return near->since - oldest->since <= slack(now - oldest->since) ? near : oldest;
}

TimePoint Pool::oldest_arrival() const {
  TimePoint oldest = TimePoint::max();
  for (const auto& worker : per_worker_)
    for (const Request* r = worker.queue_head; r; r = r->next) {
      oldest = std::min(oldest, r->since);
      if (!r->first) break;
    }
  return oldest;
}

// How many came at `moment` or before, counted up to `at_most`.
unsigned Pool::waiting_since(TimePoint moment, unsigned at_most) const {
  unsigned count = 0;
  for (const auto& worker : per_worker_)
    for (const Request* r = worker.queue_head; r && count < at_most && (r->first || r->since <= moment); r = r->next)
      if (r->since <= moment) ++count;
  return count;
}

void Pool::grant(Request& request, Server* server, int from_worker) {
  leave_queue(request);
  if (server->socket && server->worker != request.worker) server->socket->detach();
  server->worker = request.worker;
  server->client = request.client;
  request.server = server;
  tell(request, from_worker);
}

// On its own thread at once; else by its worker's mail, which wakes that thread once however much comes together.
void Pool::tell(Request& request, int from_worker) {
  if (static_cast<int>(request.worker) == from_worker) {
    request.state.store(Request::State::delivered, std::memory_order_release);
    request.waiter->notify();
    return;
  }
  auto& worker = per_worker_[request.worker];
  request.state.store(Request::State::in_mail, std::memory_order_relaxed);
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
    leave_mail(*request);
    request->state.store(Request::State::delivered, std::memory_order_release);
    request->waiter->notify();
  }
}

void Pool::serve_queue(Later& later, int from_worker) {
  while (waiting_ > 0 && idle_ > 0) {
    Request* request = next_request(kNoWorker, {});
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
      leave_queue(*request);
      backend_->in_use.fetch_sub(1, std::memory_order_relaxed);
      request->error = error;
      tell(*request, -1);
    }
}

}  // namespace weir::pool
