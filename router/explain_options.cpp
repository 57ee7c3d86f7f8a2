#include "router/explain_options.hpp"

#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/strings.hpp"
#include "router/classify.hpp"
#include "schema/quote.hpp"

namespace weir::router {
namespace {

// An option as text: none: no value is written.
std::optional<std::string> value_of(const DefElem& option) {
  if (option.arg == nullptr) return std::nullopt;
  if (const auto* integer = pg::as<Integer>(option.arg, T_Integer)) return std::to_string(integer->ival);
  return std::string(pg::text(option.arg));
}

std::string written(std::string_view name, const std::optional<std::string>& value) {
  const std::string option = name == "analyze" ? "ANALYZE" : schema::quote_ident(name);
  return value ? concat(option, " ", schema::quote_literal(*value)) : option;
}

// They want ANALYZE, or tell of it.
bool tells_of_running(std::string_view name) {
  return name == "analyze" || name == "wal" || name == "timing" || name == "buffers" || name == "summary";
}

std::string prefix_of(const std::vector<std::string>& options) {
  std::string list;
  for (const std::string& option : options) list += concat(list.empty() ? "EXPLAIN (" : ", ", option);
  return list.empty() ? "EXPLAIN " : list + ") ";
}

}  // namespace

Result<ExplainPlan> explain_plan(const ExplainStmt& stmt) {
  ExplainPlan plan;
  std::vector<std::string> all, finish;
  std::string format = "text";
  for (const DefElem* option : pg::ListOf<DefElem>(stmt.options)) {
    const std::string name = ascii_lower(pg::text(option->defname));
    const auto value = value_of(*option);
    if (name == "format") format = ascii_lower(value.value_or(""));
    all.push_back(written(name, value));
    if (!tells_of_running(name)) finish.push_back(all.back());
  }
  if (format == "xml" || format == "yaml")
    return Error(sqlstate::kFeatureNotSupported, concat("EXPLAIN (FORMAT ", format, ") of a statement over several shards"),
                 "Use FORMAT TEXT or FORMAT JSON.");
  plan.json = format == "json";
  plan.executes = runs(stmt);
  plan.prefix = prefix_of(all);
  plan.finish_prefix = prefix_of(finish);
  return plan;
}

}  // namespace weir::router
