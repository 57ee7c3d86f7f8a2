#include "proxy/stats_line.hpp"

#include <algorithm>

#include "base/log.hpp"
#include "base/strings.hpp"

namespace weir::proxy {

namespace {
constexpr Duration kLook = std::chrono::seconds(1);   // how soon a changed interval is seen
}

std::string stats_line(const DatabaseTotals& before, const DatabaseTotals& now, Duration elapsed) {
  const auto ms = std::max<std::int64_t>(1, std::chrono::duration_cast<std::chrono::milliseconds>(elapsed).count());
  const auto rate = [&](std::uint64_t from, std::uint64_t to) { return std::to_string((to - from) * 1000 / static_cast<std::uint64_t>(ms)); };
  const auto average = [](std::uint64_t sum, std::uint64_t count) { return std::to_string(count ? sum / count : 0); };
  return concat("stats: ", rate(before.transactions, now.transactions), " xacts/s, ", rate(before.queries, now.queries), " queries/s, in ",
                rate(before.received, now.received), " B/s, out ", rate(before.sent, now.sent), " B/s, xact ",
                average(now.transaction_us - before.transaction_us, now.transactions - before.transactions), " us, query ",
                average(now.query_us - before.query_us, now.queries - before.queries), " us, wait ",
                average(now.wait_us - before.wait_us, now.assignments - before.assignments), " us");
}

StatsLine::StatsLine(std::function<Duration()> interval, std::function<DatabaseTotals()> totals)
    : interval_(std::move(interval)), totals_(std::move(totals)), thread_([this] { run(); }) {}

StatsLine::~StatsLine() {
  {
    std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  wake_.notify_all();
  thread_.join();
}

void StatsLine::run() {
  DatabaseTotals last = totals_();
  TimePoint last_at = Clock::now();
  std::unique_lock lock(mutex_);
  while (!stopping_) {
    const Duration interval = interval_();
    const Duration left = interval - (Clock::now() - last_at);
    if (interval > Duration::zero() && left <= Duration::zero()) {
      const DatabaseTotals now = totals_();
      const TimePoint at = Clock::now();
      log::info(stats_line(last, now, at - last_at));
      last = now;
      last_at = at;
      continue;
    }
    wake_.wait_for(lock, interval > Duration::zero() ? std::min(left, kLook) : kLook);
  }
}

}  // namespace weir::proxy
