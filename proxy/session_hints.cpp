// Manual routing: who may use hints, and SET, RESET and SHOW of weir.shard, weir.key and weir.role, which no server hears of.
#include "base/strings.hpp"
#include "proxy/proxy.hpp"
#include "proxy/session.hpp"
#include "schema/quote.hpp"

namespace weir::proxy {

using router::Plan;
using router::Verb;
using Kind = router::OwnSetting::Kind;

namespace {

constexpr std::uint32_t kText = 25;

std::string_view tag_of(Kind kind) {
  switch (kind) {
    case Kind::show: return "SHOW";
    case Kind::reset: return "RESET";
    case Kind::set:
    case Kind::set_local: return "SET";
  }
  return "SET";
}

}  // namespace

// None: it has no hint, or its user may give one.
std::optional<Error> Session::against_hints(const Plan& plan) const {
  if (!plan.hinted && !plan.named && !plan.primary) return std::nullopt;
  const config::User* user = worker_.topology()->settings->find_user(user_);
  if (user && user->route_hints) return std::nullopt;
  return Error(sqlstate::kInsufficientPrivilege, concat("user \"", user_, "\" may not say where statements run"),
               "Set route_hints = true for the user in users.toml, or leave out weir.* settings and comments that begin with \"weir:\".");
}

// A statement that runs in one place only is prepared there, too: its tables may be nowhere else.
void Session::note_place(const Plan& plan) {
  if (!plan.named) return;
  const auto route = planner().resolve(plan, {{}, {}, {}, {}, server_encoding_});
  if (!route) return refuse(route.error());
  if (work_->decision.prepares_on && *work_->decision.prepares_on != route->shard)
    return refuse({sqlstate::kFeatureNotSupported,
                   concat("statements that hints place on shards ", shard_name(*work_->decision.prepares_on), " and ", shard_name(route->shard), " are prepared together"),
                   "Send a Sync between them."});
  work_->decision.prepares_on = route->shard;
}

void Session::answer_in_place(Op& op, char how) {
  raw_ = false;
  if (work_->decision.error) return;
  if (is_aborted()) return refuse(transaction_is_aborted());
  if (op.plan->refusal) return refuse(*op.plan->refusal);
  op.local = how;
}

void Session::bind_own_setting(Op& op, const wire::BindView& bind, const PreparedStatement& statement, Portal& portal) {
  answer_in_place(op);
  if (work_->decision.error) return;
  if (bind.parameters != statement.types.size())
    return refuse({sqlstate::kProtocolViolation,
                   concat("bind message supplies ", std::to_string(bind.parameters), " parameters, but prepared statement \"", bind.statement,
                          "\" requires ", std::to_string(statement.types.size()))});
  if (bind.result_formats > 0) portal.format = wire::load16(bind.result_format_bytes.data());
}

// What the proxy answers to a message about one of these settings.
void Session::write_own_setting(const Op& op, ByteBuffer& out) {
  const std::string_view nothing{};
  const Plan& plan = *op.plan;
  const bool shows = plan.own->kind == Kind::show;
  const auto describe = [&](std::uint16_t format) {
    const wire::FieldDescription column{plan.setting, 0, 0, kText, -1, -1, format};
    shows ? wire::write_row_description(out, {&column, 1}) : wire::write_message(out, 'n', nothing);
  };
  switch (op.type) {
    case 'P': return wire::write_message(out, '1', nothing);
    case 'B': return wire::write_message(out, '2', nothing);
    case 'D':
      if (op.local == kOwnSetting) wire::write_message(out, 't', std::string_view("\0\0", 2));
      return describe(op.local == kOwnBinaryPortal ? 1 : 0);
    case 'Q':
      if (shows) describe(0);
      return run_own_setting(plan, out);
    default: return run_own_setting(plan, out);
  }
}

// As PostgreSQL: outside of a transaction block SET LOCAL has no effect, and a warning.
void Session::run_own_setting(const Plan& plan, ByteBuffer& out) {
  const router::OwnSetting& own = *plan.own;
  if (own.kind == Kind::show) {
    const RouteSettings* route = settings_.route();
    const std::optional<std::string> value(route ? route->value(plan.setting) : std::string{});
    wire::write_data_row(out, {&value, 1});
  } else if (own.kind == Kind::set_local && !in_transaction()) {
    wire::write_notice(out, wire::Severity::warning, {sqlstate::kNoActiveTransaction, "SET LOCAL can only be used in transaction blocks"});
  } else {
    settings_.make_route().apply(plan.setting, own);
  }
  wire::write_command_complete(out, tag_of(own.kind));
}

// A start-up parameter: read as the value of a SET.
Result<void> Session::start_own_setting(std::string_view name, std::string_view value) {
  const router::PlanRef plan = planner().plan(concat("SET ", name, " = ", schema::quote_literal(value)), {}, {}).plan;
  if (auto against = against_hints(*plan)) return std::move(*against);
  if (plan->refusal) return *plan->refusal;
  if (!plan->own) return Error(sqlstate::kInvalidParameter, concat("start-up parameter ", name, " cannot be read"), "");
  static_cast<void>(settings_.make_route().start(plan->setting, plan->own->value));
  return {};
}

}  // namespace weir::proxy
