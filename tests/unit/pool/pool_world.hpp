// The process around a pool, in small: two loops with their threads, Pools, and clients that are coroutines.
#pragma once

#include <atomic>
#include <functional>
#include <future>
#include <list>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "net/loop.hpp"
#include "net/task.hpp"
#include "pool/pools.hpp"

namespace weir::pool::tests {

using namespace std::chrono_literals;

inline constexpr unsigned kWorkers = 2;
inline constexpr auto kPatience = 20s;   // for what happens at once, on a busy machine

// True as soon as `condition` holds; false when it does not within kPatience.
inline bool eventually(const std::function<bool()>& condition, Duration patience = kPatience) {
  const TimePoint end = Clock::now() + patience;
  while (!condition()) {
    if (Clock::now() > end) return false;
    std::this_thread::sleep_for(1ms);
  }
  return true;
}

// A session's part of a lease. Loop thread of `worker` only.
struct Client {
  Client(net::Loop& on, unsigned worker) : loop(on), waiter(on) {
    request.waiter = &waiter;
    request.worker = worker;
  }
  net::Loop& loop;
  net::Waiter waiter;
  Request request;
  std::function<net::Task<void>(Client&)> body;
  net::Task<void> task;
};

// Waits for a server as a session does: nullptr if request.error is set.
inline net::Task<Server*> lease(Pool& pool, Client& client) {
  Server* server = pool.acquire(client.request, Clock::now());
  while (!server && Pool::waits(client.request)) {
    co_await client.waiter.wait();
    server = pool.taken(client.request);
  }
  co_return server;
}

// One simple Query over the raw socket: the first value, "" if there is none, or "error". "gone" if the server closed.
inline net::Task<std::string> query(Client& client, Server& server, std::string sql) {
  server.socket->set_waiter(&client.waiter);
  const auto size = static_cast<std::uint32_t>(sql.size() + 5);
  std::string message{'Q', static_cast<char>(size >> 24), static_cast<char>(size >> 16), static_cast<char>(size >> 8),
                      static_cast<char>(size)};
  message += sql + '\0';
  const auto sent = server.socket->send({reinterpret_cast<const std::uint8_t*>(message.data()), message.size()});
  if (!sent || *sent != message.size()) co_return std::string("gone");
  const auto u32 = [](const std::string& s, std::size_t at) {
    std::uint32_t v = 0;
    for (std::size_t i = 0; i < 4; ++i) v = v << 8 | static_cast<std::uint8_t>(s[at + i]);
    return v;
  };
  std::string in, value;
  for (;;) {
    while (in.size() >= 5 && in.size() >= u32(in, 1) + 1) {
      const std::uint32_t body = u32(in, 1) + 1;
      if (in[0] == 'D' && value.empty()) value = in.substr(11, u32(in, 7));
      if (in[0] == 'E') value = "error";
      if (in[0] == 'Z') co_return value;
      in.erase(0, body);
    }
    const net::Received got = server.socket->receive();
    if (got.kind == net::Received::Kind::data)
      in.append(reinterpret_cast<const char*>(got.bytes.data()), got.bytes.size());
    else if (got.kind != net::Received::Kind::nothing)
      co_return std::string("gone");
    else
      co_await client.waiter.wait();
  }
}

class World {
 public:
  World() {
    std::vector<net::Loop*> raw;
    for (unsigned i = 0; i < kWorkers; ++i) {
      auto loop = net::Loop::create();
      loops_.push_back(std::move(*loop));
      raw.push_back(loops_.back().get());
    }
    pools_ = std::make_unique<Pools>(raw, 2);
    for (unsigned i = 0; i < kWorkers; ++i) {
      loops_[i]->set_idle_event([this, i](std::uint64_t id) { pools_->idle_event(i, id); });
      threads_.emplace_back([this, i] { loops_[i]->run(); });
    }
  }
  // Clients still waiting are given up.
  ~World() {
    for (unsigned i = 0; i < kWorkers; ++i) on(i, [this, i] { drop_clients(i); });
    // Idle events call the pools until the loops have stopped; the sockets in the pools need the loops until they go.
    for (auto& loop : loops_) loop->stop();
    for (auto& thread : threads_) thread.join();
    pools_.reset();
  }
  World(const World&) = delete;
  World& operator=(const World&) = delete;

  std::shared_ptr<Pool> pool(const std::string& conninfo, PoolSettings settings, std::shared_ptr<Budget> budget,
                             policy::Role role = policy::Role::primary, std::vector<std::shared_ptr<Budget>> limits = {}) {
    BackendIdentity id;
    id.database = "app";
    id.shard_name = "s0";
    id.role = role;
    id.conninfo = conninfo;
    id.params = *parse_conninfo(conninfo);
    const policy::BreakerSettings breaker{.failure_threshold = 3, .recovery_time = 100ms};
    return pools_->get(std::make_shared<Backend>(std::move(id), std::move(budget), breaker), {}, settings, {}, limits);
  }
  std::shared_ptr<Pool> pool(const std::string& conninfo, unsigned size) {
    return pool(conninfo, {.size = size}, std::make_shared<Budget>(100));
  }
  Pools& pools() { return *pools_; }

  // Runs `work` on the worker's thread and waits for its end.
  void on(unsigned worker, const std::function<void()>& work) {
    std::promise<void> done;
    loops_[worker]->post([&] {
      work();
      done.set_value();
    });
    done.get_future().wait();
  }
  // All that was posted to the loops until now has run.
  void barrier() {
    for (unsigned i = 0; i < kWorkers; ++i) on(i, [] {});
  }
  // A client that does nothing by itself.
  Client& idle_client(unsigned worker) {
    Client* client = nullptr;
    on(worker, [&] { client = &add_client(worker); });
    return *client;
  }
  // Starts a coroutine on the worker's thread.
  Client& spawn(unsigned worker, std::function<net::Task<void>(Client&)> body) {
    ++running_;
    Client* client = nullptr;
    on(worker, [&] {
      client = &add_client(worker);
      client->body = std::move(body);
      client->task = run(*client);
      client->task.start();
    });
    return *client;
  }
  [[nodiscard]] bool finished() {
    return eventually([&] { return running_ == 0; });
  }
  [[nodiscard]] int running() const { return running_; }

 private:
  Client& add_client(unsigned worker) { return clients_[worker].emplace_back(*loops_[worker], worker); }
  void drop_clients(unsigned worker) { clients_[worker].clear(); }
  net::Task<void> run(Client& client) {
    co_await client.body(client);
    --running_;
  }

  std::vector<std::unique_ptr<net::Loop>> loops_;
  std::unique_ptr<Pools> pools_;
  std::list<Client> clients_[kWorkers];   // each on its worker's thread
  std::atomic<int> running_{0};
  std::vector<std::thread> threads_;
};

}  // namespace weir::pool::tests
