#include "proxy/averages.hpp"

namespace weir::proxy {

namespace {

DatabaseTotals average(const DatabaseTotals& before, const DatabaseTotals& now, double seconds) {
  const auto a_second = [&](std::uint64_t DatabaseTotals::*field) { return static_cast<std::uint64_t>(static_cast<double>(now.*field - before.*field) / seconds); };
  const auto each = [&](std::uint64_t DatabaseTotals::*field, std::uint64_t DatabaseTotals::*count) {
    const std::uint64_t n = now.*count - before.*count;
    return n == 0 ? 0 : (now.*field - before.*field) / n;
  };
  using T = DatabaseTotals;
  T a;
  for (auto field : {&T::assignments, &T::transactions, &T::queries, &T::received, &T::sent, &T::client_parses, &T::server_parses, &T::binds, &T::logins})
    a.*field = a_second(field);
  a.transaction_us = each(&T::transaction_us, &T::transactions);
  a.query_us = each(&T::query_us, &T::queries);
  a.wait_us = each(&T::wait_us, &T::assignments);
  return a;
}

}  // namespace

bool Averages::due(TimePoint now) const {
  const std::lock_guard lock(mutex_);
  return now - since_ >= kPeriod;
}

void Averages::update(TimePoint now, const std::map<std::string, DatabaseTotals>& totals) {
  const std::lock_guard lock(mutex_);
  if (now - since_ < kPeriod) return;
  const double seconds = std::chrono::duration<double>(now - since_).count();
  for (const auto& [name, t] : totals) averages_[name] = average(before_[name], t, seconds);
  before_ = totals;
  since_ = now;
}

DatabaseTotals Averages::of(const std::string& database) const {
  const std::lock_guard lock(mutex_);
  const auto it = averages_.find(database);
  return it == averages_.end() ? DatabaseTotals{} : it->second;
}

}  // namespace weir::proxy
