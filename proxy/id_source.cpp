#include "proxy/id_source.hpp"

#include "base/strings.hpp"

namespace weir::proxy {
namespace {

std::int64_t steady_milliseconds(TimePoint at) {
  return std::chrono::duration_cast<std::chrono::milliseconds>(at.time_since_epoch()).count();
}

}  // namespace

std::uint64_t IdSource::now() const {
  return static_cast<std::uint64_t>(steady_milliseconds(Clock::now()) + ahead_of_steady_.load(std::memory_order_relaxed));
}

bool IdSource::may_choose() const { return generator_.last_time() < now() + 1000; }

Result<std::int64_t> IdSource::next() {
  const policy::IdAnswer answer = generator_.next(now());
  if (answer.why == policy::IdAnswer::Why::given) return answer.id;
  return refusal(answer.why);
}

void IdSource::adopt(const policy::IdLease& lease, std::uint64_t server_now, TimePoint at) {
  ahead_of_steady_ = static_cast<std::int64_t>(server_now) - steady_milliseconds(at);
  generator_.adopt(lease);
  set_problem("");
}

void IdSource::revoke() { generator_.revoke(); }

void IdSource::set_problem(std::string problem) {
  const std::lock_guard lock(mutex_);
  problem_ = std::move(problem);
}

Error IdSource::refusal(policy::IdAnswer::Why why) const {
  using Why = policy::IdAnswer::Why;
  const std::lock_guard lock(mutex_);
  const std::string because = problem_.empty() ? std::string() : concat(": ", problem_);
  const std::string cannot = concat("weir.next_id cannot give an id in database ", database_);
  if (why == Why::clock)
    return {sqlstate::kCannotConnectNow, concat(cannot, ": it would be more than ",
                                                std::to_string(std::chrono::duration_cast<std::chrono::minutes>(policy::IdGenerator::kMaxAhead).count()),
                                                " minutes ahead of the home shard's clock"),
            "That clock was set back: wait until it has caught up, or restart Weir; or give the key in the INSERT."};
  const bool over = why == Why::lease_over;
  return {sqlstate::kCannotConnectNow, concat(cannot, over ? ": the lease of its node number is over" : ": it has no node number", because),
          "The home shard leases it (weir.lease_id_node): see that Weir's maintenance user reaches it and may call that; or give the key in the INSERT."};
}

}  // namespace weir::proxy
