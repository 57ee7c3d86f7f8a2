// A string of several statements that no single shard runs: each is planned by itself, and Scatter runs them in order.
// https://www.postgresql.org/docs/15/protocol-flow.html#PROTOCOL-FLOW-MULTI-STATEMENT
#include "base/strings.hpp"
#include "proxy/proxy.hpp"
#include "proxy/session.hpp"
#include "router/split_text.hpp"

namespace weir::proxy {

using router::Plan;
using router::Target;
using router::Verb;

namespace {

Error not_in_string(std::string_view what) {
  return {sqlstate::kFeatureNotSupported, concat(what, " in one string with statements that need several shards"), "Send the statements one by one."};
}

}  // namespace

// Its statements may need several shards; what is wrong with the string itself is refused as it is.
bool Session::may_run_in_parts(const Plan& plan) const {
  if (plan.verb != Verb::multi || !database_->state->sharded() || transaction_ == Transaction::failed) return false;
  return !plan.refusal || plan.refusal->code == sqlstate::kFeatureNotSupported;
}

// The `index`th of `count` statements. BEGIN may be the first, outside of a block; COMMIT and ROLLBACK the last, of a block.
std::optional<Error> Session::against_part(const Plan& plan, std::size_t index, std::size_t count, bool in_block) const {
  if (auto against = against_hints(plan)) return against;
  if (plan.target == Target::refused) return plan.refusal;
  if (plan.parameters > 0) return Error(SqlState{"42P02"}, "there is no parameter $1");
  if (plan.returns_copy || plan.ends_transaction) return not_in_string("COPY, or PREPARE TRANSACTION,");
  switch (plan.verb) {
    case Verb::empty:
    case Verb::query:
    case Verb::dml:
    case Verb::set_constraints:
    case Verb::utility: return std::nullopt;
    case Verb::begin:
      if (index == 0 && !in_transaction()) return std::nullopt;
      return not_in_string("BEGIN behind other statements, or within a block,");
    case Verb::commit:
    case Verb::rollback:
      if (index + 1 == count && in_block && !plan.chain) return std::nullopt;
      return not_in_string("COMMIT or ROLLBACK, unless it ends a block and the string,");
    case Verb::copy_from:
    case Verb::copy_to:
    case Verb::savepoint:
    case Verb::release_savepoint:
    case Verb::rollback_to_savepoint:
    case Verb::set:
    case Verb::set_local:
    case Verb::set_transaction:
    case Verb::reset:
    case Verb::reset_all:
    case Verb::discard_all:
    case Verb::deallocate:
    case Verb::deallocate_all:
    case Verb::prepare:
    case Verb::execute:
    case Verb::listen:
    case Verb::unlisten:
    case Verb::own_setting:
    case Verb::multi:
    case Verb::unparsable: break;
  }
  return not_in_string(name_of(plan.verb));
}

void Session::count_in_parts(std::string_view sql) {
  const auto pieces = router::split_statements(sql);
  bool in_block = in_transaction();
  for (std::size_t i = 0; i < pieces.size(); ++i) {
    const std::string_view text = pieces[i].in(sql);
    const router::Planned planned = planner().plan(text, {}, context());
    const Plan& plan = *planned.plan;
    if (auto against = against_part(plan, i, pieces.size(), in_block)) return refuse(std::move(*against));
    in_block |= plan.verb == Verb::begin;
    const auto route = planner().resolve(plan, {text, planned.literals, {}, {}, server_encoding_});
    if (!route) return refuse(route.error());
    count_route(plan, *route);
  }
  spread_out();
}

}  // namespace weir::proxy
