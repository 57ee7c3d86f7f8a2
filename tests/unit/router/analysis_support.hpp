// What the tests of analyse() share: plans of statements over the test catalog, shown in one line.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "router/analysis.hpp"
#include "router/lexer.hpp"
#include "router/scatter_plan.hpp"
#include "tests/unit/router/test_catalog.hpp"

namespace weir::router::testing {

inline const TestCatalog& sharded_catalog() {
  static const TestCatalog catalog(true);
  return catalog;
}
inline const TestCatalog& plain_catalog() {
  static const TestCatalog catalog(false);
  return catalog;
}

inline Plan plan_of(std::string_view sql, const std::vector<std::uint32_t>& declared = {},
                    const TestCatalog& catalog = sharded_catalog(), bool lifted = true, std::string_view hints = {}) {
  Lifted lift_result;
  if (lifted) lift(sql, true, lift_result);
  AnalysisInput input;
  input.sql = sql;
  input.literals = lift_result.literals;
  input.declared = declared;
  input.catalog = &*catalog;
  input.search_path = {"public"};
  input.hints = hints;
  return analyse(input);
}
inline Plan plain(std::string_view sql) { return plan_of(sql, {}, plain_catalog()); }

inline std::string shown(const KeySource& source, std::string_view sql, const std::vector<Literal>& literals) {
  std::string out = source.negated ? "-" : "";
  switch (source.kind) {
    case KeySource::Kind::literal:
      return out + std::string(sql.substr(literals.at(source.index).offset, literals.at(source.index).length));
    case KeySource::Kind::parameter:
      return out + "$" + std::to_string(source.index + 1);
    case KeySource::Kind::parameter_array:
      return out + "any $" + std::to_string(source.index + 1);
    case KeySource::Kind::fixed:
      return source.value->str();
    case KeySource::Kind::null:
      return "null";
    case KeySource::Kind::computed:
      return "computed";
  }
  return "?";
}

// "orders: 42; works: $1, $2" for a keyed plan, else the target; "refused: ..." with the message.
inline std::string route(std::string_view sql, const std::vector<std::uint32_t>& declared = {}) {
  const Plan plan = plan_of(sql, declared);
  Lifted lifted;
  lift(sql, true, lifted);
  switch (plan.target) {
    case Target::transaction:
      return "transaction";
    case Target::home:
      return "home";
    case Target::no_table:
      return "no table";
    case Target::any:
      return "any";
    case Target::named:
      return "named";
    case Target::scatter:
      return "scatter: " + plan.scatter->refusal.message;
    case Target::refused:
      return "refused: " + (plan.refusal ? plan.refusal->message : "");
    case Target::keyed:
      break;
  }
  std::string out;
  for (const Binding& binding : plan.bindings) {
    out += (out.empty() ? "" : "; ") + binding.table.substr(binding.table.find('.') + 1) + ":";
    for (std::size_t i = 0; i < binding.values.size(); ++i)
      out += (i == 0 ? " " : ", ") + shown(binding.values[i], sql, lifted.literals);
  }
  return out;
}

}  // namespace weir::router::testing
