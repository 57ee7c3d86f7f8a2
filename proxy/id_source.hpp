// IdSource: where the sessions of one database get ids (weir.next_id) from. The lease behind it is IdLeases' affair (proxy/id_leases.hpp).
#pragma once

#include <atomic>
#include <cstdint>
#include <mutex>
#include <string>

#include "base/deadline.hpp"
#include "base/result.hpp"
#include "policy/id_generator.hpp"

namespace weir::proxy {

class IdSource {
 public:
  explicit IdSource(std::string database) : database_(std::move(database)) {}

  // Positive, and given to nobody else, ever. Errors are 57P03 with what to do: nothing is spoilt. Any thread; takes no lock unless it fails.
  [[nodiscard]] Result<std::int64_t> next();
  // May ids be thrown away to have one of some kind? Not while they run ahead of the clock.
  [[nodiscard]] bool may_choose() const;

  // --- for IdLeases ---
  // Granted by a server whose clock said `server_now` (milliseconds since policy::Id::kEpoch), at our `at` or a little later.
  void adopt(const policy::IdLease& lease, std::uint64_t server_now, TimePoint at);
  void revoke();
  // Why there is no (new) lease; "" where there is.
  void set_problem(std::string problem);
  [[nodiscard]] std::uint64_t last_time() const { return generator_.last_time(); }

 private:
  [[nodiscard]] std::uint64_t now() const;
  [[nodiscard]] Error refusal(policy::IdAnswer::Why why) const;

  const std::string database_;
  policy::IdGenerator generator_;
  // The home shard's clock, kept by our steady one: no step of this machine's clock touches ids.
  std::atomic<std::int64_t> ahead_of_steady_{0};
  mutable std::mutex mutex_;
  std::string problem_ = "the home shard has not been asked yet";
};

}  // namespace weir::proxy
