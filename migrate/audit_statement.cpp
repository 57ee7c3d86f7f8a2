#include "migrate/audit_statement.hpp"

#include <algorithm>
#include <optional>
#include <span>

#include "base/strings.hpp"
#include "router/key_fill.hpp"
#include "router/scatter_plan.hpp"

namespace weir::migrate {

namespace {

using router::KeySource;
using router::Plan;
using router::Target;

constexpr std::string_view kHidden = "<insufficient privilege>";

bool is_digit(char c) { return c >= '0' && c <= '9'; }

// `'1'` for $1: pg_stat_statements makes texts that do not parse (interval $1), but with a string at that place do.
// Texts of its own making have no strings that could hold a $1.
std::string with_strings_for_parameters(std::string_view sql) {
  std::string out;
  for (std::size_t i = 0; i < sql.size(); ++i) {
    if (sql[i] != '$' || i + 1 == sql.size() || !is_digit(sql[i + 1])) {
      out += sql[i];
      continue;
    }
    out += '\'';
    while (i + 1 < sql.size() && is_digit(sql[i + 1])) out += sql[++i];
    out += '\'';
  }
  return out;
}

// What stands at a key's place: equal texts are equal values, whatever they are.
std::string text_of(const KeySource& source, std::string_view sql, std::span<const router::Literal> literals) {
  const std::string sign = source.negated ? "-" : "";
  switch (source.kind) {
    case KeySource::Kind::literal:
      return sign + std::string(sql.substr(literals[source.index].offset, literals[source.index].length));
    case KeySource::Kind::parameter:
      return concat(sign, "$", std::to_string(source.index + 1));
    case KeySource::Kind::parameter_array:
      return concat("any of $", std::to_string(source.index + 1));
    case KeySource::Kind::fixed:
      return source.value ? source.value->str() : "";
    case KeySource::Kind::null:
      return "NULL";
    case KeySource::Kind::computed:
      return "an expression";
  }
  return "";
}

// Whether all keys of the plan are one value.
bool binds_one_value(const Plan& plan, std::string_view sql, std::span<const router::Literal> literals) {
  std::optional<std::string> first;
  for (const router::Binding& binding : plan.bindings)
    for (const KeySource& source : binding.values) {
      if (source.kind == KeySource::Kind::parameter_array || source.kind == KeySource::Kind::computed) return false;
      const std::string text = text_of(source, sql, literals);
      if (!first) first = text;
      if (*first != text) return false;
    }
  return true;
}

std::string tables_of(const Plan& plan) {
  std::string names;
  for (const std::string& table : plan.tables) names += concat(names.empty() ? "" : ", ", table);
  return names;
}

Verdict judge_home(const Plan& plan) {
  const auto is_catalog = [](const std::string& table) { return table.starts_with("pg_catalog.") || table.starts_with("information_schema."); };
  if (plan.tables.empty()) return {StatementClass::home, "runs on the home shard", ""};
  if (std::all_of(plan.tables.begin(), plan.tables.end(), is_catalog)) return {StatementClass::home, "system catalogs: the home shard's", ""};
  return {StatementClass::home, concat("no rule for ", tables_of(plan)), ""};
}

Verdict judge_keyed(const Plan& plan, std::string_view sql, std::span<const router::Literal> literals) {
  if (binds_one_value(plan, sql, literals)) return {StatementClass::single, concat("one key of ", tables_of(plan)), ""};
  const std::string reason = concat("several keys of ", tables_of(plan));
  if (plan.scatter) return {StatementClass::by_values, reason, "nothing needs doing; keys of one shard cost least"};
  return {StatementClass::by_values, reason,
          "refused where the keys lie on several shards: send one statement for each key, or keep to keys of one shard"};
}

Verdict judge_refused(const Plan& plan) {
  return {StatementClass::refused, plan.refusal ? plan.refusal->message : "it cannot be routed", plan.refusal ? plan.refusal->hint : ""};
}

Verdict judge_plan(const Plan& plan, std::string_view sql, std::span<const router::Literal> literals) {
  switch (plan.target) {
    case Target::transaction:
      return {StatementClass::session, "transaction control and settings", ""};
    case Target::home:
      return judge_home(plan);
    case Target::no_table:
      return {StatementClass::no_table, "touches no table", ""};
    case Target::any:
      return {StatementClass::reference, "reference tables only", ""};
    case Target::named:
      return {StatementClass::single, "a hint names the shard", ""};
    case Target::keyed:
      return judge_keyed(plan, sql, literals);
    case Target::scatter:
      return {StatementClass::scatter, plan.scatter->construct, concat("it costs every shard a statement: bind the key of ", tables_of(plan), " where the application knows it")};
    case Target::refused:
      return judge_refused(plan);
  }
  return {};
}

// An INSERT whose key the proxy gives is judged as it runs then.
Verdict judge_planned(router::Router& router, const router::Planned& planned, std::string_view text, const router::SessionContext& session) {
  const auto filled = planned.plan->fill ? router::filled_with(text, *planned.plan->fill, "1") : std::nullopt;
  if (!filled) return judge_plan(*planned.plan, text, planned.literals);
  const router::Planned again = router.plan(*filled, {}, session);
  return judge_plan(*again.plan, *filled, again.literals);
}

}  // namespace

Verdict judge(router::Router& router, std::string_view text, const router::SessionContext& session) {
  if (text.empty() || text == kHidden)
    return {StatementClass::unknown, "the text is another role's", "audit as a member of pg_read_all_stats"};
  const router::Planned planned = router.plan(text, {}, session);
  if (planned.plan->verb != router::Verb::unparsable) return judge_planned(router, planned, text, session);
  const std::string other = with_strings_for_parameters(text);
  const router::Planned again = router.plan(other, {}, session);
  if (again.plan->verb != router::Verb::unparsable) return judge_planned(router, again, other, session);
  return {StatementClass::unknown, "the text cannot be parsed: cut off, or newer than Weir's parser",
          "run it with `weirctl route` as the application sends it"};
}

}  // namespace weir::migrate
