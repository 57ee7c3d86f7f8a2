// A small order service on weir::client: many concurrent requests on few connections a shard.
//
//   order_service weir.toml [requests = 2000] [concurrency = 100] [connections a shard = 8]
//
// Half of the requests write an order of a random user, half read a user's newest orders. It wants the demo's table
//   orders (id bigint, user_id bigint, product text, amount numeric, created_at timestamptz DEFAULT now())
// listed in weir.toml with key = "user_id". Prints latencies; exit status 1 if a request failed.
#include <algorithm>
#include <atomic>
#include <chrono>
#include <csignal>
#include <cstdlib>
#include <iomanip>
#include <iostream>
#include <mutex>
#include <pqxx/pqxx>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "router/client/cluster.hpp"

namespace {

using weir::client::Cluster;
using Milliseconds = std::chrono::duration<double, std::milli>;

struct Load {
  unsigned requests = 2000;
  unsigned concurrency = 100;
  unsigned connections = 8;
};

struct Outcome {
  std::vector<double> reads, writes;  // milliseconds
  std::vector<std::string> failures;
  unsigned on_replicas = 0;
};

void write_order(Cluster& cluster, std::int64_t user, std::int64_t id) {
  auto lease = cluster.write(user);
  pqxx::work tx{lease.connection()};
  tx.exec_params("INSERT INTO orders (id, user_id, product, amount) VALUES ($1, $2, $3, $4)", id, user, "book", 12.50);
  tx.commit();
}

// True: it was read from a replica.
bool read_orders(Cluster& cluster, std::int64_t user) {
  auto lease = cluster.read(user);
  pqxx::read_transaction tx{lease.connection()};
  const auto rows = tx.exec_params(
      "SELECT id, product, amount FROM orders WHERE user_id = $1 ORDER BY created_at DESC, id DESC LIMIT 20", user);
  for (const auto& row : rows)
    if (row["product"].is_null()) throw std::runtime_error("an order without a product");
  return lease.on_replica();
}

class Service {
 public:
  Service(Cluster& cluster, const Load& load) : cluster_(cluster), load_(load) {}

  Outcome run() {
    std::vector<std::thread> workers;
    for (unsigned i = 0; i < load_.concurrency; ++i) workers.emplace_back([this, i] { work(i); });
    for (auto& worker : workers) worker.join();
    return std::move(outcome_);
  }

 private:
  void work(unsigned seed) {
    std::mt19937_64 random(seed);
    const auto first_id =
        std::chrono::system_clock::now().time_since_epoch().count();  // another run makes other orders
    for (unsigned n = next_++; n < load_.requests; n = next_++)
      handle(n % 2 == 0, static_cast<std::int64_t>(random() % 10'000) + 1, first_id + n);
  }

  void handle(bool write, std::int64_t user, std::int64_t id) {
    const auto begun = std::chrono::steady_clock::now();
    std::string failure;
    bool on_replica = false;
    try {
      if (write)
        write_order(cluster_, user, id);
      else
        on_replica = read_orders(cluster_, user);
    } catch (const std::exception& e) {
      failure = e.what();
    }
    const double took = Milliseconds(std::chrono::steady_clock::now() - begun).count();
    const std::lock_guard lock(mutex_);
    (write ? outcome_.writes : outcome_.reads).push_back(took);
    outcome_.on_replicas += on_replica ? 1 : 0;
    if (!failure.empty()) outcome_.failures.push_back(failure);
  }

  Cluster& cluster_;
  const Load load_;
  std::atomic<unsigned> next_{0};
  std::mutex mutex_;
  Outcome outcome_;
};

void print_latencies(const char* name, std::vector<double> times) {
  std::sort(times.begin(), times.end());
  const auto at = [&times](double part) {
    return times.empty() ? 0.0 : times[static_cast<std::size_t>(part * static_cast<double>(times.size() - 1))];
  };
  std::cout << std::left << std::setw(7) << name << std::right << std::setw(7) << times.size() << std::fixed
            << std::setprecision(1) << "  p50 " << at(0.5) << " ms  p95 " << at(0.95) << " ms  p99 " << at(0.99)
            << " ms  max " << at(1.0) << " ms\n";
}

void print(const Outcome& outcome, const Cluster& cluster) {
  print_latencies("writes", outcome.writes);
  print_latencies("reads", outcome.reads);
  const auto requests = outcome.writes.size() + outcome.reads.size();
  std::cout << "success " << requests - outcome.failures.size() << " of " << requests << ", " << outcome.on_replicas
            << " reads on replicas\n";
  for (const auto& backend : cluster.backends())
    std::cout << "pool    " << backend.pool.name << ": " << backend.pool.open << " of " << backend.pool.size
              << " connections\n";
  if (!outcome.failures.empty()) std::cout << "first failure: " << outcome.failures.front() << "\n";
}

unsigned argument(int argc, char** argv, int i, unsigned otherwise) {
  return i < argc ? static_cast<unsigned>(std::max(1, std::atoi(argv[i]))) : otherwise;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 2) {
    std::cerr << "usage: order_service weir.toml [requests] [concurrency] [connections a shard]\n";
    return 2;
  }
  std::signal(SIGPIPE, SIG_IGN);
  try {
    const Load load{argument(argc, argv, 2, 2000), argument(argc, argv, 3, 100), argument(argc, argv, 4, 8)};
    Cluster cluster(argv[1], {.application_name = "order_service", .pool_size = load.connections});
    const Outcome outcome = Service(cluster, load).run();
    print(outcome, cluster);
    return outcome.failures.empty() ? 0 : 1;
  } catch (const std::exception& e) {
    std::cerr << "order_service: " << e.what() << "\n";
    return 1;
  }
}
