// Names of output columns, as FigureColname() of src/backend/parser/parse_target.c makes them up.
#include "router/scatter_context.hpp"

namespace weir::router {
namespace {

// How sure a name is: PostgreSQL lets a cast's type name stand only where nothing better is found.
enum class Strength : std::uint8_t { none, weak, strong, unknown };
struct Figured {
  Strength strength = Strength::none;
  std::string name{};
};

Figured strong(std::string_view name) { return {Strength::strong, std::string(name)}; }

std::string_view last_name(const List* parts) {
  std::string_view name;
  for (Node* part : pg::ListOf<>(parts))
    if (pg::is(part, T_String)) name = pg::text(part);
  return name;
}

std::string_view name_of(SQLValueFunctionOp op) {
  switch (op) {
    case SVFOP_CURRENT_DATE:
      return "current_date";
    case SVFOP_CURRENT_TIME:
    case SVFOP_CURRENT_TIME_N:
      return "current_time";
    case SVFOP_CURRENT_TIMESTAMP:
    case SVFOP_CURRENT_TIMESTAMP_N:
      return "current_timestamp";
    case SVFOP_LOCALTIME:
    case SVFOP_LOCALTIME_N:
      return "localtime";
    case SVFOP_LOCALTIMESTAMP:
    case SVFOP_LOCALTIMESTAMP_N:
      return "localtimestamp";
    default:
      return {};
  }
}

Figured figure(const Node* node);

// The first output column of the subquery, whatever it is called.
Figured figure_subquery(const Node* query) {
  const auto* select = pg::as<SelectStmt>(query, T_SelectStmt);
  while (select != nullptr && select->op != SETOP_NONE) select = select->larg;
  if (select == nullptr) return {Strength::unknown};
  if (select->valuesLists != nullptr) return strong("column1");
  const pg::ListOf<ResTarget> targets(select->targetList);
  if (targets.size() == 0 || is_star(targets[0]->val)) return {Strength::unknown};
  const auto name = output_name(*targets[0]);
  return name ? strong(*name) : Figured{Strength::unknown};
}

Figured figure_link(const SubLink& link) {
  switch (link.subLinkType) {
    case EXISTS_SUBLINK:
      return strong("exists");
    case ARRAY_SUBLINK:
      return strong("array");
    case EXPR_SUBLINK:
      return figure_subquery(link.subselect);
    default:
      return {};
  }
}

Figured figure_cast(const TypeCast& cast) {
  Figured inner = figure(cast.arg);
  if (inner.strength == Strength::strong || inner.strength == Strength::unknown || cast.typeName == nullptr) return inner;
  return {Strength::weak, std::string(last_name(cast.typeName->names))};
}

Figured figure_case(const CaseExpr& expr) {
  Figured inner = figure(reinterpret_cast<Node*>(expr.defresult));
  return inner.strength == Strength::strong || inner.strength == Strength::unknown ? inner
                                                                                   : Figured{Strength::weak, "case"};
}

Figured figure_indirection(const A_Indirection& indirection) {
  const std::string_view name = last_name(indirection.indirection);
  return name.empty() ? figure(indirection.arg) : strong(name);
}

Figured figure(const Node* node) {
  if (node == nullptr) return {};
  switch (node->type) {
    case T_ColumnRef: {
      const std::string_view name = last_name(reinterpret_cast<const ColumnRef*>(node)->fields);
      return is_star(node) || name.empty() ? Figured{Strength::unknown} : strong(name);
    }
    case T_A_Indirection:
      return figure_indirection(*reinterpret_cast<const A_Indirection*>(node));
    case T_FuncCall:
      return strong(last_name(reinterpret_cast<const FuncCall*>(node)->funcname));
    case T_A_Expr:
      return reinterpret_cast<const A_Expr*>(node)->kind == AEXPR_NULLIF ? strong("nullif") : Figured{};
    case T_TypeCast:
      return figure_cast(*reinterpret_cast<const TypeCast*>(node));
    case T_CollateClause:
      return figure(reinterpret_cast<const CollateClause*>(node)->arg);
    case T_GroupingFunc:
      return strong("grouping");
    case T_SubLink:
      return figure_link(*reinterpret_cast<const SubLink*>(node));
    case T_CaseExpr:
      return figure_case(*reinterpret_cast<const CaseExpr*>(node));
    case T_A_ArrayExpr:
      return strong("array");
    case T_RowExpr:
      return strong("row");
    case T_CoalesceExpr:
      return strong("coalesce");
    case T_MinMaxExpr:
      return strong(reinterpret_cast<const MinMaxExpr*>(node)->op == IS_GREATEST ? "greatest" : "least");
    case T_SQLValueFunction: {
      const std::string_view name = name_of(reinterpret_cast<const SQLValueFunction*>(node)->op);
      return name.empty() ? Figured{Strength::unknown} : strong(name);
    }
    case T_XmlExpr:
    case T_XmlSerialize:
      return {Strength::unknown};
    default:
      return {};
  }
}

}  // namespace

std::optional<std::string> output_name(const ResTarget& target) {
  if (target.name != nullptr) return std::string(target.name);
  Figured figured = figure(target.val);
  if (figured.strength == Strength::unknown) return std::nullopt;
  if (figured.strength == Strength::none) return "?column?";
  return std::move(figured.name);
}

}  // namespace weir::router
