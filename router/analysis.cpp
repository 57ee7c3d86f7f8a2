#include "router/analysis.hpp"

#include <algorithm>
#include <string>
#include <utility>

#include "base/strings.hpp"
#include "router/analysis_hint.hpp"
#include "router/analysis_statement.hpp"
#include "router/hint.hpp"
#include "router/pg_tree.hpp"

namespace weir::router {
namespace {

bool is_transaction_control(Verb verb) {
  switch (verb) {
    case Verb::begin:
    case Verb::commit:
    case Verb::rollback:
    case Verb::savepoint:
    case Verb::release_savepoint:
    case Verb::rollback_to_savepoint:
      return true;
    default:  // every other verb leaves the transaction as it is
      return false;
  }
}

// Does the session know all that it leaves behind (Plan::steps)? LISTEN, in a string that a server runs as it is, that server's session has, too.
bool is_followed(Verb verb) { return verb == Verb::set || verb == Verb::reset || verb == Verb::reset_all || verb == Verb::unlisten; }

void take_effects(Plan& into, const Plan& part) {
  if (!is_followed(part.verb)) into.effects.add(part.effects);
  into.returns_copy |= part.returns_copy;
  into.ends_transaction |= part.ends_transaction || is_transaction_control(part.verb);
  into.parameters = std::max(into.parameters, part.parameters);
  into.why.insert(into.why.end(), part.why.begin(), part.why.end());
  for (const std::string& table : part.tables)
    if (std::find(into.tables.begin(), into.tables.end(), table) == into.tables.end()) into.tables.push_back(table);
}

// Both targets at once, if one shard has both. From the least to the most particular: transaction, no_table, any, then
// home or keyed.
bool join_targets(Target& into, Target part) {
  const auto rank = [](Target t) {
    switch (t) {
      case Target::transaction:
        return 0;
      case Target::no_table:
        return 1;
      case Target::any:
        return 2;
      case Target::home:
        return 3;
      case Target::named:
      case Target::keyed:
        return 4;
      case Target::scatter:
      case Target::refused:
        return 5;
    }
    return 5;
  };
  const bool apart = (into == Target::home && part == Target::keyed) || (into == Target::keyed && part == Target::home);
  if (!apart && rank(part) > rank(into)) into = part;
  return !apart;
}

std::string_view text_of(const RawStmt& raw, std::string_view sql) {
  const auto start = static_cast<std::size_t>(std::max(raw.stmt_location, 0));
  if (start >= sql.size()) return {};
  return raw.stmt_len > 0 ? sql.substr(start, static_cast<std::size_t>(raw.stmt_len)) : sql.substr(start);
}

Plan empty_plan(bool sharded) {
  Plan plan;
  plan.target = sharded ? Target::no_table : Target::home;
  plan.why.push_back("nothing but blanks and comments");
  return plan;
}

// A catalog that knows nothing, for a caller that has none: a plain database.
const schema::Catalog& no_catalog() {
  static const config::Database plain;
  static const std::shared_ptr<const schema::Catalog> catalog = schema::Catalog::offline(plain);
  return *catalog;
}

Plan hinted(Plan plan, std::string_view statement, const AnalysisInput& input) {
  place_by_hints(plan, statement, input);
  return plan;
}

Plan analyse_text(const AnalysisInput& input) {
  const bool sharded = input.catalog->sharded();
  if (input.sql.find('\0') != std::string_view::npos)
    return unparsable(sharded, Error(sqlstate::kProtocolViolation, "the statement contains a zero byte",
                                     "Send text without zero bytes."));
  const pg::ParsedText parsed{std::string(input.sql)};
  if (!parsed.ok())
    return hinted(unparsable(
        sharded, Error(sqlstate::kFeatureNotSupported, concat("the statement is not understood: ", parsed.error()),
                       "Weir reads SQL as PostgreSQL 15 does. If a newer server accepts this, run it there directly.")), input.sql, input);
  const auto statements = parsed.statements();
  if (statements.empty()) return hinted(empty_plan(sharded), input.sql, input);
  if (statements.size() == 1)
    return hinted(analyse_statement(statements[0]->stmt, text_of(*statements[0], input.sql), input), input.sql, input);
  std::vector<Plan> plans;
  AnalysisInput part = input;
  part.alone = false;
  std::size_t hints = 0;
  for (const RawStmt* raw : statements) {
    const std::string_view text = text_of(*raw, input.sql);
    plans.push_back(hinted(analyse_statement(raw->stmt, text, part), text, part));
    hints += count_hints(text);
  }
  Plan all = combine(std::move(plans), sharded);
  if (hints == count_hints(input.sql)) return all;
  return hinted(std::move(all), input.sql, input);   // one stands behind the last statement: that is an error
}

}  // namespace

namespace {

Plan step_of(const Plan& plan) {
  Plan step;
  step.verb = plan.verb;
  step.setting = plan.setting;
  step.chain = plan.chain;
  step.ends_transaction = plan.ends_transaction;
  step.changes_schema = plan.changes_schema;
  step.effects = plan.effects;
  return step;
}

// By search_path the statements behind it are read. (Of how text is read, the server reads the whole string before any of it runs.)
bool sets_search_path(const Plan& plan) {
  return (plan.verb == Verb::set || plan.verb == Verb::set_local) && plan.setting == "search_path";
}

void add_restores(Restores& restores, const Plan& plan) {
  restores.reset |= plan.verb == Verb::reset_all || (plan.verb == Verb::reset && plan.setting == "search_path");
  restores.end |= plan.verb == Verb::commit || plan.verb == Verb::rollback;
  restores.savepoint |= plan.verb == Verb::rollback_to_savepoint;
  restores.schema |= plan.changes_schema == SchemaChange::any;
}

bool is_read_by_search_path(const Plan& plan) {
  return (plan.target != Target::transaction && plan.verb != Verb::empty) || plan.verb == Verb::set_constraints;
}

}  // namespace

namespace {

// What hints and settings of Weir's own ask for, where a string of several statements runs as a whole.
std::optional<Error> against_hints(Plan& all, const Plan& part) {
  constexpr const char* kAlone = "Send its statements one by one.";
  if (part.verb == Verb::own_setting)
    return Error(sqlstate::kFeatureNotSupported, concat(part.setting, " in one string with other statements"), kAlone);
  if (part.hinted && part.refusal) return part.refusal;
  const bool elsewhere = part.target == Target::keyed || part.target == Target::home;
  const bool first = all.target == Target::transaction || all.target == Target::no_table || all.target == Target::any;
  const bool differs = part.target == Target::named ? (all.named ? all.named != part.named : !first) : elsewhere && all.named;
  if (part.named) all.named = part.named;
  if (!differs) return std::nullopt;
  return Error(sqlstate::kFeatureNotSupported, "hints that name one place for some statements of a string of several", kAlone);
}

}  // namespace

Plan combine(std::vector<Plan> plans, bool sharded) {
  Plan all;
  all.verb = Verb::multi;
  all.target = Target::transaction;
  all.read_only = true;
  std::optional<Error> of_hints;
  bool sets = false;
  Restores restores;
  for (std::size_t i = 0; i < plans.size(); ++i) {
    Plan& plan = plans[i];
    if (plan.verb == Verb::unparsable) return std::move(plan);
    for (PreparedUse& use : plan.prepared) {
      use.statement = static_cast<std::uint32_t>(i);
      all.prepared.push_back(std::move(use));
    }
    all.steps.push_back(step_of(plan));
    if (plan.verb == Verb::listen || plan.verb == Verb::unlisten) all.channels.push_back({plan.verb, plan.setting});
    take_effects(all, plan);
    all.read_only &= plan.read_only;
    if (plan.refusal && !all.refusal) all.refusal = std::move(plan.refusal);
    if (sets && is_read_by_search_path(plan) && !all.refusal)
      all.refusal = Error(sqlstate::kFeatureNotSupported, "SET search_path in one string with statements behind it", "Send it alone.");
    if (is_read_by_search_path(plan)) all.restores = restores;
    sets |= sets_search_path(plan);
    add_restores(restores, plan);
    all.hinted |= plan.hinted;
    all.primary |= plan.primary;
    if (auto against = against_hints(all, plan); against && !of_hints) of_hints = std::move(against);
    if (!join_targets(all.target, plan.target) && !all.refusal)
      all.refusal = Error(sqlstate::kFeatureNotSupported,
                          "one string of several statements names sharded tables and what is on the home shard only",
                          "Send the statements one by one.");
    all.bindings.insert(all.bindings.end(), std::make_move_iterator(plan.bindings.begin()),
                        std::make_move_iterator(plan.bindings.end()));
  }
  if (!sharded) {
    all.target = Target::home;
    all.refusal.reset();
  }
  if (of_hints) all.refusal = std::move(of_hints);
  if (all.refusal) {
    all.target = Target::refused;
    all.bindings.clear();
  }
  if (all.target == Target::transaction) all.target = Target::no_table;  // it has to run somewhere
  return all;
}

Plan analyse(const AnalysisInput& input) {
  AnalysisInput known = input;
  if (known.catalog == nullptr) known.catalog = &no_catalog();
  Plan plan = analyse_text(known);
  plan.literals = static_cast<std::uint16_t>(std::min<std::size_t>(input.literals.size(), 65535));
  return plan;
}

}  // namespace weir::router
