// The log of a transaction: what another server would have to be told to be in the same state. Until a shard is known (held) it is all that
// the client said; later only what counts: savepoints that stand, SETs that were not undone. Kept on sharded databases alone.
#include <algorithm>

#include "base/strings.hpp"
#include "proxy/proxy.hpp"
#include "proxy/session.hpp"

namespace weir::proxy {

using router::Plan;
using router::Verb;

namespace {

constexpr std::size_t kNone = ~std::size_t{0};

// A setting made in a way that Weir does not know, or a BEGIN behind other statements of its string.
constexpr const char* kUnknown = "";

}  // namespace

void Session::log_statement(const Plan& plan, std::string sql) {
  if (!database_->state->sharded()) return;
  switch (plan.verb) {
    case Verb::begin:
      if (work_->held.empty()) work_->held.push_back(std::move(sql));
      return;
    case Verb::savepoint:
    case Verb::set_local:
    case Verb::set_transaction:
    case Verb::set_constraints:
    case Verb::set:
    case Verb::reset:
    case Verb::reset_all:
      if (!work_->held.empty()) work_->held.push_back(changes_reading(plan.setting) ? kUnknown : std::move(sql));
      return;
    case Verb::release_savepoint: {
      const std::size_t from = find_savepoint(plan.setting);
      if (from == kNone) return;
      std::size_t to = from;
      for (std::size_t i = from; i < work_->held.size(); ++i)
        if (planner().plan(work_->held[i], {}, context()).plan->verb != Verb::savepoint) std::swap(work_->held[to++], work_->held[i]);
      work_->held.resize(to);
      return;
    }
    case Verb::rollback_to_savepoint:
      if (const std::size_t at = find_savepoint(plan.setting); at != kNone) work_->held.resize(at + 1);
      return;
    case Verb::commit:
    case Verb::rollback:
      if (plan.chain) work_->held = held_characteristics();
      return;
    case Verb::query:
      if (plan.path && !work_->held.empty()) work_->held.push_back(std::move(sql));
      [[fallthrough]];
    case Verb::dml:
    case Verb::utility:
      if ((plan.ends_transaction || plan.effects.sets || plan.effects.sets_locally) && !work_->held.empty()) log_unknown();
      return;
    case Verb::multi:   // step by step
    case Verb::empty:
    case Verb::copy_from:
    case Verb::copy_to:
    case Verb::discard_all:
    case Verb::own_setting:
    case Verb::deallocate:
    case Verb::deallocate_all:
    case Verb::prepare:
    case Verb::execute:
    case Verb::listen:
    case Verb::unlisten:
    case Verb::unparsable: return;
  }
}

// From here on no other server can be brought to the state of the transaction.
void Session::log_unknown() {
  if (database_->state->sharded() && (work_->held.empty() || !work_->held.back().empty())) work_->held.emplace_back(kUnknown);
}

// The newest of that name in the log; kNone: there is none.
std::size_t Session::find_savepoint(std::string_view name) const {
  for (std::size_t i = work_->held.size(); i > 0; --i) {
    const router::PlanRef plan = planner().plan(work_->held[i - 1], {}, context()).plan;
    if (plan->verb == Verb::savepoint && plan->setting == name) return i - 1;
  }
  return kNone;
}

// Can another server be brought to the state of the transaction?
bool Session::log_is_whole() const {
  return !work_->held.empty() && std::none_of(work_->held.begin(), work_->held.end(), [](const std::string& sql) { return sql.empty(); });
}

// What makes another transaction with the isolation level and the like of this one: its BEGIN, and each SET TRANSACTION that no
// ROLLBACK TO undid.
std::vector<std::string> Session::held_characteristics() const {
  std::vector<std::string> found{work_->held.empty() ? "BEGIN" : work_->held.front()};
  std::vector<std::pair<std::string, std::size_t>> savepoints;
  for (std::size_t i = 1; i < work_->held.size(); ++i) {
    const router::PlanRef plan = planner().plan(work_->held[i], {}, context()).plan;
    const bool sets = plan->verb == Verb::set_transaction || (plan->verb == Verb::set_local && plan->setting.starts_with("transaction_"));
    if (sets) found.push_back(work_->held[i]);
    if (plan->verb == Verb::savepoint) savepoints.emplace_back(plan->setting, found.size());
    if (plan->verb != Verb::rollback_to_savepoint) continue;
    const auto to = std::find_if(savepoints.rbegin(), savepoints.rend(), [&](const auto& s) { return s.first == plan->setting; });
    if (to == savepoints.rend()) continue;
    found.resize(to->second);
    savepoints.erase(to.base(), savepoints.end());
  }
  return found;
}

}  // namespace weir::proxy
