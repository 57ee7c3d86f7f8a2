// Conditions: what the conjuncts of WHERE and ON say about columns.
#include <algorithm>

#include "router/analysis_bind.hpp"

namespace weir::router {

void Binder::conditions(Node* expr, const Condition& where) {
  std::vector<Node*> pending;
  if (expr != nullptr) pending.push_back(expr);
  while (!pending.empty()) {
    Node* conjunct = pending.back();
    pending.pop_back();
    const auto* logic = pg::as<BoolExpr>(conjunct, T_BoolExpr);
    if (logic == nullptr) {
      equalities(conjunct, where);
    } else if (logic->boolop == AND_EXPR) {
      for (Node* arg : pg::ListOf<>(logic->args)) pending.push_back(arg);
    } else if (logic->boolop == OR_EXPR) {
      disjunction(*logic, where);
    }
  }
}

void Binder::equalities(Node* conjunct, const Condition& where) {
  Facts facts;
  facts_of(conjunct, where, facts);
  learn(facts, where);
  const auto* expr = pg::as<A_Expr>(conjunct, T_A_Expr);
  if (expr == nullptr || expr->kind != AEXPR_OP || !reader_.is_builtin_operator(expr->name, "=")) return;
  const auto left = column(expr->lexpr, where);
  const auto right = left ? column(expr->rexpr, where) : std::nullopt;
  if (left && right) carry(*left, *right, where);
}

bool Binder::may_bind(const ColumnAt& at, const Condition& where) {
  return at.level == where.level && at.item >= where.begin && at.item < where.end;
}

void Binder::learn(const Facts& facts, const Condition& where) {
  for (const auto& [at, values] : facts)
    if (may_bind(at, where)) graph_.constant(node_of(at), values);
}

// left = right holds for the rows that matter of every item that the condition may bind.
void Binder::carry(const ColumnAt& left, const ColumnAt& right, const Condition& where) {
  const auto l = type_of(left), r = type_of(right);
  if (!l || !r || family_of(*l) != family_of(*r)) return;
  if (catalog_.has_user_operator("=")) return;
  if (may_bind(right, where)) graph_.implies(node_of(left), node_of(right));
  if (may_bind(left, where)) graph_.implies(node_of(right), node_of(left));
}

std::optional<ColumnAt> Binder::column(Node* expr, const Condition& where) {
  const auto* ref = pg::as<ColumnRef>(expr, T_ColumnRef);
  if (ref == nullptr) return std::nullopt;
  const Resolved resolved = resolve_column(*ref, *where.level, *where.visible);
  return resolved.state == Lookup::found ? std::optional(resolved.at) : std::nullopt;
}

// A key type whose "=" means equal bytes.
std::optional<schema::KeyType> Binder::type_of(const ColumnAt& at) {
  const schema::Column& column = column_of(at);
  if (!column.collation_deterministic) return std::nullopt;
  return schema::key_type_of(column.type);
}

KeyGraph::Node Binder::node_of(const ColumnAt& at) {
  auto& nodes = at.level->items[at.item].nodes;
  const auto found = nodes.find(at.column);
  if (found != nodes.end()) return found->second;
  const KeyGraph::Node node = graph_.add();
  nodes.emplace(at.column, node);
  return node;
}

void Binder::compare(Node* left, Node* right, const Condition& where, Facts& facts) {
  for (const auto& [column_side, value_side] : {std::pair(left, right), std::pair(right, left)}) {
    const auto at = column(column_side, where);
    const auto type = at ? type_of(*at) : std::nullopt;
    if (!type) continue;
    if (auto source = reader_.read(value_side, *type)) {
      facts.emplace_back(*at, std::vector<KeySource>{std::move(*source)});
      return;
    }
  }
}

// Columns that equal one of some constants or parameters if the conjunct is true.
void Binder::facts_of(Node* conjunct, const Condition& where, Facts& facts) {
  const auto* expr = pg::as<A_Expr>(conjunct, T_A_Expr);
  if (expr == nullptr || !reader_.is_builtin_operator(expr->name, "=")) return;
  if (expr->kind == AEXPR_OP) {
    const auto* left = pg::as<RowExpr>(expr->lexpr, T_RowExpr);
    const auto* right = pg::as<RowExpr>(expr->rexpr, T_RowExpr);
    if (left == nullptr || right == nullptr) return compare(expr->lexpr, expr->rexpr, where, facts);
    const pg::ListOf<> l(left->args), r(right->args);
    for (std::size_t i = 0; l.size() == r.size() && i < l.size(); ++i) compare(l[i], r[i], where, facts);
    return;
  }
  if (expr->kind != AEXPR_IN && expr->kind != AEXPR_OP_ANY) return;
  const auto at = column(expr->lexpr, where);
  const auto type = at ? type_of(*at) : std::nullopt;
  if (!type) return;
  auto values = expr->kind == AEXPR_IN ? reader_.read_in_list(reinterpret_cast<List*>(expr->rexpr), *type)
                                       : reader_.read_any(expr->rexpr, *type);
  if (values) facts.emplace_back(*at, std::move(*values));
}

namespace {

bool same(const ColumnAt& a, const ColumnAt& b) {
  return a.level == b.level && a.item == b.item && a.column == b.column;
}

}  // namespace

// A column that every arm of an OR fixes has one of all their values.
void Binder::disjunction(const BoolExpr& expr, const Condition& where) {
  std::optional<Facts> common;
  for (Node* arm : pg::ListOf<>(expr.args)) {
    Facts facts;
    const auto* logic = pg::as<BoolExpr>(arm, T_BoolExpr);
    if (logic != nullptr && logic->boolop == AND_EXPR) {
      for (Node* conjunct : pg::ListOf<>(logic->args)) facts_of(conjunct, where, facts);
    } else {
      facts_of(arm, where, facts);
    }
    if (!common) {
      common = std::move(facts);
      continue;
    }
    std::erase_if(*common, [&facts](auto& known) {
      const auto found =
          std::find_if(facts.begin(), facts.end(), [&](const auto& f) { return same(f.first, known.first); });
      if (found == facts.end()) return true;
      known.second.insert(known.second.end(), found->second.begin(), found->second.end());
      return false;
    });
  }
  if (common) learn(*common, where);
}

}  // namespace weir::router
