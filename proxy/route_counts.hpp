// RouteCounts: where the statements of a database go, or would go (sharding.mode = "observe"), as one worker sees them; and what is refused.
//
// Counting is a load and a store; a refusal, which is rarer, takes a lock that only the console ever holds besides. Nothing is
// allocated but for the first refusal of its kind.
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <map>
#include <mutex>
#include <string>
#include <string_view>

#include "base/cells.hpp"
#include "base/error.hpp"
#include "router/plan.hpp"

namespace weir::proxy {

enum class RouteKind : std::uint8_t {
  single,     // keyed: one shard
  scatter,    // several shards, merged
  reference,  // reference tables only: any shard
  home,       // tables without a rule: the home shard
  no_table,   // SELECT 1
  session,    // transaction control, SET
  refused,
};
inline constexpr std::array<std::string_view, 7> kRouteNames = {"single", "scatter", "reference", "home", "no_table", "session", "refused"};

// Of a plan that is not refused; `route` says more of a keyed one.
[[nodiscard]] RouteKind kind_of(const router::Plan& plan, const router::Route& route) noexcept;

// Statements that are refused for one reason.
struct Refusals {
  std::uint64_t statements = 0;
  std::string hint;
  std::string example;   // the first such text, its literals lifted
};
using RefusalsByReason = std::map<std::string, Refusals, std::less<>>;

class RouteCounts {
 public:
  static constexpr std::size_t kShards = 256;        // those beyond are counted with the last
  static constexpr std::size_t kReasons = 100;       // further ones are counted as kOtherReasons
  static constexpr std::size_t kExampleBytes = 400;
  static constexpr std::string_view kOtherReasons = "(other reasons)";
  // What the parser rejects: its message repeats the text.
  static constexpr std::string_view kNotParsed = "the text cannot be parsed";

  // --- by the worker ---
  void count(RouteKind kind, schema::ShardId shard) {
    if (kind == RouteKind::single) return shards_[shard < kShards ? shard : kShards - 1].add();
    kinds_[static_cast<std::size_t>(kind)].add();
  }
  // A transaction that has come to its second shard.
  void count_spanning_transaction() { spanning_transactions_.add(); }
  // `reason` is shown to whoever may use the console: it holds no value of the statement's.
  void count_refused(std::string_view reason, std::string_view hint, std::string_view sql);

  // --- by anybody ---
  [[nodiscard]] std::uint64_t get(RouteKind kind) const { return kinds_[static_cast<std::size_t>(kind)].get(); }   // not of `single`
  [[nodiscard]] std::uint64_t single(std::size_t shard) const { return shards_[shard].get(); }
  [[nodiscard]] std::uint64_t spanning_transactions() const { return spanning_transactions_.get(); }
  void add_refusals_to(RefusalsByReason& sums) const;

 private:
  std::array<Counter, kRouteNames.size()> kinds_{};
  std::array<Counter, kShards> shards_{};
  Counter spanning_transactions_;
  mutable std::mutex mutex_;
  RefusalsByReason refusals_;
};

}  // namespace weir::proxy
