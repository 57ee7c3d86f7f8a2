#include "router/scatter_rows.hpp"

#include <utility>

#include "base/strings.hpp"
#include "router/scatter_types.hpp"

namespace weir::router {
namespace {

std::string column_name(std::size_t i) { return concat("c", std::to_string(i + 1)); }

}  // namespace

std::string GatheredRows::add(Node* value, GatheredColumn column, std::string cast) {
  columns_.push_back({value, column, std::move(cast)});
  return concat("weir_g.", column_name(columns_.size() - 1));
}

std::optional<std::string> GatheredRows::add_value(Node* value) {
  const auto collation = context_.collation_of(value);
  if (const auto m = context_.meaning(value); m && !m->merged) {
    const schema::Column& column = m->relation->columns[static_cast<std::size_t>(m->column)];
    if (!column.collation.empty()) return std::nullopt;
    if (auto cast = cast_of(column)) return add(value, {true, true}, std::move(*cast));
  }
  return add(value, {false, collation && collation->empty()});
}

List* GatheredRows::targets() const {
  List* list = nullptr;
  for (std::size_t i = 0; i < columns_.size(); ++i)
    list = lappend(list, pg::make_target(columns_[i].value, column_name(i)));
  return list;
}

Node* GatheredRows::item() {
  auto* rows = pg::make<RangeVar>(T_RangeVar);
  rows->relname = pg::make_text(concat(kGatheredName, "0"));
  rows->inh = true;
  rows->relpersistence = 'p';
  rows->location = -1;
  rows->alias = pg::make<Alias>(T_Alias);
  rows->alias->aliasname = pg::make_text("weir_g");
  return reinterpret_cast<Node*>(rows);
}

std::uint32_t GatheredRows::first_parameter() const {
  return static_cast<std::uint32_t>(context_.survey().highest_parameter) + 1;
}

// "(SELECT weir_u.c1::text AS c1, weir_u.c2 AS c2 FROM unnest($1, $2) AS weir_u(c1, c2))"
std::string GatheredRows::relation() const {
  std::string list, arrays, names;
  for (std::size_t i = 0; i < columns_.size(); ++i) {
    const std::string name = column_name(i), comma = i == 0 ? "" : ", ";
    const std::string cast = columns_[i].cast.empty() ? "" : concat("::", columns_[i].cast);
    list += concat(comma, "weir_u.", name, cast, " AS ", name);
    arrays += concat(comma, "$", std::to_string(first_parameter() + i));
    names += concat(comma, name);
  }
  return concat("(SELECT ", list, " FROM unnest(", arrays, ") AS weir_u(", names, "))");
}

Gathered GatheredRows::gathered(std::string what) const {
  Gathered out;
  out.first_parameter = first_parameter();
  for (const Entry& entry : columns_) out.columns.push_back(entry.column);
  out.what = std::move(what);
  return out;
}

}  // namespace weir::router
