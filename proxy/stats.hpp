// What is counted: cells of one worker each, written by that worker alone and read by the console, the metrics and the stats line.
//
// Nothing here is freed before the process ends, so that totals never go down: a backend that a reload took away keeps its cells, and gets
// them back if it returns. Times: a *query* is one request of a client (a Query message, or everything up to a Sync) that a server answered,
// from its first byte sent to the server to the server's ReadyForQuery; a *transaction* lasts from its first such byte to the ReadyForQuery
// that says idle. Waiting for a server is in neither; it has a histogram of its own, with one entry for each time a client got a server or gave
// up waiting (most of them zero).
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <tuple>

#include "base/cells.hpp"
#include "policy/health.hpp"
#include "proxy/route_counts.hpp"

namespace weir::proxy {

// Errors by SQLSTATE class (the first two characters).
// https://www.postgresql.org/docs/15/errcodes-appendix.html
class ErrorCounters {
 public:
  static constexpr std::array<std::string_view, 44> kClasses = {
      "00", "01", "02", "03", "08", "09", "0A", "0B", "0F", "0L", "0P", "0Z", "20", "21", "22", "23", "24", "25", "26", "27", "28", "2B",
      "2D", "2F", "34", "38", "39", "3B", "3D", "3F", "40", "42", "44", "53", "54", "55", "57", "58", "72", "F0", "HV", "P0", "XX", "other"};

  void add(std::string_view sqlstate) {
    std::size_t i = 0;
    while (i + 1 < kClasses.size() && kClasses[i] != sqlstate.substr(0, 2)) ++i;
    counts_[i].add();
  }
  [[nodiscard]] std::uint64_t get(std::size_t i) const { return counts_[i].get(); }
  [[nodiscard]] std::uint64_t total() const {
    std::uint64_t sum = 0;
    for (const Counter& c : counts_) sum += c.get();
    return sum;
  }

 private:
  std::array<Counter, kClasses.size()> counts_{};
};

// Why a client's wait ended before it was served, or it was sent away.
enum class Timeout : std::uint8_t { wait, query, transaction, idle_transaction, client_idle, login };
inline constexpr std::array<std::string_view, 6> kTimeoutNames = {"wait", "query", "transaction", "idle_transaction", "client_idle", "login"};

// Why a client's connection ended.
enum class Departure : std::uint8_t {
  client_closed, client_lost, login_failed, timeout, admin, server_lost, protocol_violation, refused, other
};
inline constexpr std::array<std::string_view, 9> kDepartureNames = {"client_closed", "client_lost", "login_failed",       "timeout", "admin",
                                                                    "server_lost",   "protocol_violation", "refused", "other"};

// One worker's share of one database: what happens between Weir and its clients. Sizes in bytes.
struct DatabaseStats {
  Counter received, sent;             // from and to clients
  Counter local_queries;              // requests that needed no server
  Counter scattered;                  // requests that ran on several shards
  Counter client_parses, server_parses, prepared_hits, binds, logins, refused, cancels;
  RouteCounts routes;                 // of a sharded database, and of one that is observed
  ErrorCounters errors;               // Weir's own; the servers' are in Traffic
  std::array<Counter, kTimeoutNames.size()> timeouts;
  std::array<Counter, kDepartureNames.size()> departures;
  void timed_out(Timeout kind) { timeouts[static_cast<std::size_t>(kind)].add(); }
};

// One worker's share of one backend: what happens between Weir and its server connections.
struct alignas(64) Traffic {
  Counter received, sent;             // from and to the server
  Counter assignments;
  LatencyHistogram queries, transactions, waits;
  ErrorCounters errors;
};

// Names a backend's series. `server`: "host:port".
struct BackendLabels {
  std::string database, shard, server;
  policy::Role role = policy::Role::primary;
  friend auto operator<=>(const BackendLabels&, const BackendLabels&) = default;
};

// Sums over the workers, as a scrape sees them.
struct TrafficTotals {
  std::uint64_t received = 0, sent = 0, assignments = 0;
  LatencyHistogram::Snapshot queries, transactions, waits;
  std::array<std::uint64_t, ErrorCounters::kClasses.size()> errors{};
};

// PgBouncer's totals of a database. Times in microseconds.
struct DatabaseTotals {
  std::uint64_t assignments = 0, transactions = 0, queries = 0, received = 0, sent = 0, transaction_us = 0, query_us = 0, wait_us = 0;
  std::uint64_t client_parses = 0, server_parses = 0, binds = 0, logins = 0, errors = 0;
  DatabaseTotals& operator+=(const DatabaseTotals& other);
};

// Where the cells live. Thread-safe; asked for a cell once a worker and name, not for every statement.
class StatsRegistry {
 public:
  [[nodiscard]] DatabaseStats& database(unsigned worker, const std::string& name);
  [[nodiscard]] Traffic& backend(unsigned worker, const BackendLabels& labels);

  [[nodiscard]] std::map<BackendLabels, TrafficTotals> traffic() const;
  // Calls `f` for each worker's cells of each database.
  void for_each_database(const std::function<void(const std::string& name, const DatabaseStats&)>& f) const;
  [[nodiscard]] std::map<std::string, DatabaseTotals> totals() const;
  [[nodiscard]] DatabaseTotals grand_totals() const;   // of all databases

 private:
  mutable std::mutex mutex_;
  std::map<std::pair<std::string, unsigned>, std::unique_ptr<DatabaseStats>> databases_;
  std::map<std::pair<BackendLabels, unsigned>, std::unique_ptr<Traffic>> backends_;
};

}  // namespace weir::proxy
