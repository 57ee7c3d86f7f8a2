// Counters of one worker and database. Written by the worker, read by the console: relaxed atomics without read-modify-write cost.
#pragma once

#include <atomic>
#include <cstdint>

namespace weir::proxy {

class Counter {
 public:
  void add(std::uint64_t n = 1) { v_.store(v_.load(std::memory_order_relaxed) + n, std::memory_order_relaxed); }
  [[nodiscard]] std::uint64_t get() const { return v_.load(std::memory_order_relaxed); }

 private:
  std::atomic<std::uint64_t> v_{0};
};

// Times in microseconds, sizes in bytes.
struct DatabaseStats {
  Counter transactions, queries, received, sent, transaction_us, query_us, wait_us, assignments;
  Counter client_parses, server_parses, binds, logins, errors, refused;
  Counter to_primary, to_replica;
};

}  // namespace weir::proxy
