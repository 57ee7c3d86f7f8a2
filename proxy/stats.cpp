#include "proxy/stats.hpp"

namespace weir::proxy {

DatabaseStats& StatsRegistry::database(unsigned worker, const std::string& name) {
  std::lock_guard lock(mutex_);
  auto& slot = databases_[{name, worker}];
  if (!slot) slot = std::make_unique<DatabaseStats>();
  return *slot;
}

Traffic& StatsRegistry::backend(unsigned worker, const BackendLabels& labels) {
  std::lock_guard lock(mutex_);
  auto& slot = backends_[{labels, worker}];
  if (!slot) slot = std::make_unique<Traffic>();
  return *slot;
}

std::map<BackendLabels, TrafficTotals> StatsRegistry::traffic() const {
  std::map<BackendLabels, TrafficTotals> sums;
  std::lock_guard lock(mutex_);
  for (const auto& [key, cells] : backends_) {
    TrafficTotals& sum = sums[key.first];
    sum.received += cells->received.get();
    sum.sent += cells->sent.get();
    sum.assignments += cells->assignments.get();
    cells->queries.add_to(sum.queries);
    cells->transactions.add_to(sum.transactions);
    cells->waits.add_to(sum.waits);
    for (std::size_t i = 0; i < sum.errors.size(); ++i) sum.errors[i] += cells->errors.get(i);
  }
  return sums;
}

void StatsRegistry::for_each_database(const std::function<void(const std::string& name, const DatabaseStats&)>& f) const {
  std::lock_guard lock(mutex_);
  for (const auto& [key, cells] : databases_) f(key.first, *cells);
}

std::map<std::string, DatabaseTotals> StatsRegistry::totals() const {
  std::map<std::string, DatabaseTotals> sums;
  for_each_database([&](const std::string& name, const DatabaseStats& s) {
    DatabaseTotals& t = sums[name];
    t.queries += s.local_queries.get();
    t.received += s.received.get();
    t.sent += s.sent.get();
    t.client_parses += s.client_parses.get();
    t.server_parses += s.server_parses.get();
    t.binds += s.binds.get();
    t.logins += s.logins.get();
    t.errors += s.errors.total();
  });
  for (const auto& [labels, sum] : traffic()) {
    DatabaseTotals& t = sums[labels.database];
    t.assignments += sum.assignments;
    t.transactions += sum.transactions.total();
    t.queries += sum.queries.total();
    t.transaction_us += sum.transactions.nanoseconds / 1000;
    t.query_us += sum.queries.nanoseconds / 1000;
    t.wait_us += sum.waits.nanoseconds / 1000;
    for (const std::uint64_t e : sum.errors) t.errors += e;
  }
  return sums;
}

DatabaseTotals& DatabaseTotals::operator+=(const DatabaseTotals& o) {
  using T = DatabaseTotals;
  for (const auto member : {&T::assignments, &T::transactions, &T::queries, &T::received, &T::sent, &T::transaction_us, &T::query_us, &T::wait_us,
                            &T::client_parses, &T::server_parses, &T::binds, &T::logins, &T::errors})
    this->*member += o.*member;
  return *this;
}

DatabaseTotals StatsRegistry::grand_totals() const {
  DatabaseTotals all;
  for (const auto& [name, t] : totals()) all += t;
  return all;
}

}  // namespace weir::proxy
