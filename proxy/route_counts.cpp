#include "proxy/route_counts.hpp"

#include "router/redact.hpp"

namespace weir::proxy {

RouteKind kind_of(const router::Plan& plan, const router::Route& route) noexcept {
  using router::Target;
  switch (plan.target) {
    case Target::transaction: return RouteKind::session;
    case Target::home: return RouteKind::home;
    case Target::no_table: return RouteKind::no_table;
    case Target::any: return RouteKind::reference;
    case Target::named: return RouteKind::single;
    case Target::keyed: return route.shards.empty() ? RouteKind::single : RouteKind::scatter;
    case Target::scatter: return RouteKind::scatter;
    case Target::refused: return RouteKind::refused;
  }
  return RouteKind::refused;
}

void RouteCounts::count_refused(std::string_view reason, std::string_view hint, std::string_view sql) {
  kinds_[static_cast<std::size_t>(RouteKind::refused)].add();
  std::lock_guard lock(mutex_);
  auto known = refusals_.find(reason);
  if (known == refusals_.end()) {
    if (refusals_.size() >= kReasons) {
      reason = kOtherReasons;
      hint = sql = {};
    }
    known = refusals_.try_emplace(std::string(reason)).first;
    if (known->second.statements == 0) known->second = {0, std::string(hint), router::redacted(sql, kExampleBytes)};
  }
  ++known->second.statements;
}

void RouteCounts::add_refusals_to(RefusalsByReason& sums) const {
  std::lock_guard lock(mutex_);
  for (const auto& [reason, refusals] : refusals_) {
    Refusals& sum = sums[reason];
    if (sum.statements == 0) sum = {0, refusals.hint, refusals.example};
    sum.statements += refusals.statements;
  }
}

}  // namespace weir::proxy
