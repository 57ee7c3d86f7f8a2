#include "router/write_insert.hpp"

#include <algorithm>
#include <utility>

#include "base/strings.hpp"
#include "router/scatter_context.hpp"

namespace weir::router {
namespace {

constexpr std::pair<std::string_view, std::string_view> kTimes[] = {
    {"now()", ""},
    {"transaction_timestamp()", ""},
    {"CURRENT_TIMESTAMP", ""},
    {"CURRENT_DATE", "pg_catalog.date"},
    {"LOCALTIMESTAMP", "timestamp without time zone"},
};

const std::pair<std::string_view, std::string_view>* time_of(const schema::Column& column) {
  const auto found = std::find_if(std::begin(kTimes), std::end(kTimes), [&](const auto& t) { return t.first == column.default_expression; });
  return found == std::end(kTimes) ? nullptr : found;
}

// As pg_get_expr() shows constants: 'text'::type, 12.5, '-1'::integer, true, NULL::text. No call, no name but a type's.
bool is_constant(std::string_view expression) {
  std::size_t at = 0;
  if (expression.starts_with('\'')) {
    for (at = 1; at < expression.size(); ++at)
      if (expression[at] == '\'' && (++at >= expression.size() || expression[at] != '\'')) break;
  } else {
    const auto end = expression.find("::");
    const std::string_view word = expression.substr(0, end);
    const bool number = !word.empty() && word.find_first_not_of("0123456789.") == std::string_view::npos;
    if (!number && word != "true" && word != "false" && word != "NULL") return false;
    at = word.size();
  }
  // Casts of a constant are computed when the default is stored; of a text to time it would be 'now', which is.
  const std::string_view rest = expression.substr(std::min(at, expression.size()));
  return rest.empty() || (rest.starts_with("::") && rest.find('\'') == std::string_view::npos);
}

// Every place in the text that a node of the row names lies within the row's parentheses.
bool lies_within(List* row, std::size_t begin, std::size_t end) {
  bool within = true;
  for_each_node(row, [&](Node* node) {
    int at = -1;
    if (const auto* c = pg::as<A_Const>(node, T_A_Const)) at = c->location;
    if (const auto* p = pg::as<ParamRef>(node, T_ParamRef)) at = p->location;
    if (const auto* f = pg::as<FuncCall>(node, T_FuncCall)) at = f->location;
    if (const auto* r = pg::as<ColumnRef>(node, T_ColumnRef)) at = r->location;
    within &= at < 0 || (static_cast<std::size_t>(at) > begin && static_cast<std::size_t>(at) < end);
    return within;
  });
  return within;
}

}  // namespace

DefaultKind default_of(const schema::Column& column) {
  if (!column.has_default) return DefaultKind::constant;
  if (time_of(column) != nullptr) return DefaultKind::time;
  return is_constant(column.default_expression) ? DefaultKind::constant : DefaultKind::own;
}

std::string time_cast(const schema::Column& column) {
  const auto* time = time_of(column);
  return time == nullptr ? std::string() : std::string(time->second);
}

std::vector<int> columns_of(const InsertStmt& stmt, const schema::Relation& relation) {
  std::vector<int> columns;
  for (const ResTarget* column : pg::ListOf<ResTarget>(stmt.cols))
    columns.push_back(column->indirection != nullptr ? -1 : relation.column_index(pg::text(column->name)));
  if (stmt.cols == nullptr)
    for (std::size_t i = 0; i < relation.columns.size(); ++i) columns.push_back(static_cast<int>(i));
  leave_out_ignored(columns, stmt.override, relation);
  return columns;
}

void leave_out_ignored(std::vector<int>& columns, OverridingKind kind, const schema::Relation& relation) {
  if (kind != OVERRIDING_USER_VALUE) return;
  for (int& column : columns)
    if (column >= 0 && relation.columns[static_cast<std::size_t>(column)].is_identity()) column = -1;
}

std::optional<std::vector<RowSpan>> rows_of(const InsertStmt& stmt, const TextParts& text) {
  const auto* values = pg::as<SelectStmt>(stmt.selectStmt, T_SelectStmt);
  if (values == nullptr || values->valuesLists == nullptr) return std::nullopt;
  const auto& tokens = text.tokens();
  std::size_t start = tokens.size(), depth = 0, found = 0;
  for (std::size_t i = 0; i < tokens.size(); ++i) {
    if (tokens[i].kind == TokenKind::open) ++depth;
    if (tokens[i].kind == TokenKind::close) --depth;
    if (depth == 0 && text.is_word(i, "values")) start = i + 1, ++found;
  }
  if (found != 1) return std::nullopt;
  std::vector<RowSpan> rows;
  for (std::size_t i = start; i < tokens.size() && tokens[i].kind == TokenKind::open; ++i) {
    const std::size_t close = text.closing(i);
    if (close == tokens.size()) return std::nullopt;
    rows.push_back({i, close});
    i = close + 1;
    if (i >= tokens.size() || tokens[i].kind != TokenKind::comma) break;
  }
  const pg::ListOf<List> lists(values->valuesLists);
  if (lists.size() != rows.size()) return std::nullopt;
  for (std::size_t i = 0; i < rows.size(); ++i)
    if (!lies_within(lists[i], tokens[rows[i].open].begin(), tokens[rows[i].close].end())) return std::nullopt;
  return rows;
}

std::size_t column_list_end(const InsertStmt& stmt, const TextParts& text) {
  const auto& tokens = text.tokens();
  if (stmt.cols == nullptr || stmt.relation->location < 0) return tokens.size();
  std::size_t i = text.token_at(static_cast<std::size_t>(stmt.relation->location));
  while (i < tokens.size() && tokens[i].kind != TokenKind::open) ++i;
  return i < tokens.size() ? text.closing(i) : i;
}

}  // namespace weir::router
