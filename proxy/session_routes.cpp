// Counting where statements go, or would go: nothing here changes what is done with them.
#include "proxy/session.hpp"
#include "router/key_fill.hpp"

namespace weir::proxy {

using router::Plan;
using router::Target;

// sharding.mode = "observe": by the rules that are not yet in force. `plan` is null where nothing is observed.
void Session::observe_route(const Plan* plan, const router::Arguments& arguments) {
  if (!plan || !database_->observer || !plan->prepared.empty()) return;   // of EXECUTE, what it runs is counted
  if (plan->fill) return observe_filled(*plan, arguments);
  router::Route route;
  if (plan->target == Target::keyed || plan->target == Target::refused) {
    auto found = database_->observer->resolve(*plan, arguments);
    if (!found) return count_refusal(*plan, found.error(), arguments.sql);
    route = std::move(*found);
  }
  add_route(*plan, route);
}

// An INSERT whose key the proxy would give: counted for the shard of some id, as its own would be any.
void Session::observe_filled(const Plan& plan, const router::Arguments& arguments) {
  const std::string id = std::to_string(worker_.loop().now().time_since_epoch().count());
  const auto sql = router::filled_with(arguments.sql, *plan.fill, id);
  if (!sql) return count_refusal(plan, *plan.refusal, arguments.sql);
  const router::Planned planned = database_->observer->plan(*sql, arguments.declared, context());
  const auto route = database_->observer->resolve(*planned.plan, {*sql, planned.literals, arguments.parameters, arguments.declared, arguments.server_encoding});
  route ? add_route(*planned.plan, *route) : count_refusal(*planned.plan, route.error(), arguments.sql);
}

// sharding.mode = "route": as it is done.
void Session::count_route(const Plan& plan, const router::Route& route) {
  if (database_->state->sharded() && plan.prepared.empty()) add_route(plan, route);
}

void Session::add_route(const Plan& plan, const router::Route& route) {
  const RouteKind kind = kind_of(plan, route);
  database_->stats->routes.count(kind, route.shard);
  if (kind == RouteKind::single || kind == RouteKind::home) count_transaction_shard(route.shard);
}

void Session::count_refusal(const Plan& plan, const Error& error, std::string_view sql) {
  const bool parsed = plan.verb != router::Verb::unparsable;
  database_->stats->routes.count_refused(parsed ? std::string_view(error.message) : RouteCounts::kNotParsed, error.hint, sql);
}

// Transactions that come to a second shard, each once.
void Session::count_transaction_shard(schema::ShardId shard) {
  if (!counted_shard_) {
    counted_shard_ = shard;
  } else if (*counted_shard_ != shard && !counted_spanning_) {
    counted_spanning_ = true;
    database_->stats->routes.count_spanning_transaction();
  }
}

}  // namespace weir::proxy
