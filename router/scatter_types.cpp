#include "router/scatter_types.hpp"

#include <algorithm>
#include <iterator>

#include "base/strings.hpp"
#include "schema/quote.hpp"

namespace weir::router {
namespace {

std::optional<ExactType> exact(std::uint32_t type) {
  switch (type) {
    case schema::oid::kInt2:
      return ExactType::int2;
    case schema::oid::kInt4:
      return ExactType::int4;
    case schema::oid::kInt8:
      return ExactType::int8;
    case schema::oid::kNumeric:
      return ExactType::numeric;
    default:
      return std::nullopt;
  }
}

std::optional<ExactType> exact(const TypeName& type) {
  const pg::Name name = pg::name_of(type.names);
  if (type.setof || type.pct_type || type.arrayBounds != nullptr) return std::nullopt;
  if (name.schema != "pg_catalog") return std::nullopt;  // what the keywords int, bigint, numeric ... become
  if (name.name == "int2") return ExactType::int2;
  if (name.name == "int4") return ExactType::int4;
  if (name.name == "int8") return ExactType::int8;
  if (name.name == "numeric") return ExactType::numeric;
  return std::nullopt;
}

std::optional<ExactType> of_constant(const A_Const& c, const ScatterContext& context) {
  if (c.isnull) return std::nullopt;
  if (const auto literal = context.literal_of(reinterpret_cast<const Node*>(&c))) {
    switch (context.input().literals[*literal].kind) {
      case LiteralClass::int4:
        return ExactType::int4;
      case LiteralClass::int8:
        return ExactType::int8;
      case LiteralClass::numeric:
        return ExactType::numeric;
      default:
        return std::nullopt;
    }
  }
  return c.val.node.type == T_Integer ? std::optional(ExactType::int4) : std::nullopt;
}

using Widest = std::optional<ExactType>;
Widest wider(Widest a, Widest b) { return a && b ? Widest(std::max(*a, *b)) : std::nullopt; }

Widest of_operation(const A_Expr& expr, const ScatterContext& context) {
  const pg::Name op = pg::name_of(expr.name);
  const bool arithmetic = op.schema.empty() && op.name.size() == 1 && std::string_view("+-*/%").find(op.name) != std::string_view::npos;
  if (expr.kind != AEXPR_OP || !arithmetic) return std::nullopt;
  const Widest right = exact_type_of(expr.rexpr, context);
  return expr.lexpr == nullptr ? right : wider(exact_type_of(expr.lexpr, context), right);
}

Widest of_list(const List* list, const ScatterContext& context) {
  Widest type;
  bool first = true;
  for (Node* item : pg::ListOf<>(list)) {
    const auto* constant = pg::as<A_Const>(item, T_A_Const);
    if (constant != nullptr && constant->isnull) continue;
    const Widest next = exact_type_of(item, context);
    type = first ? next : wider(type, next);
    first = false;
  }
  return type;
}

Widest of_case(const CaseExpr& expr, const ScatterContext& context) {
  List* results = nullptr;
  for (const CaseWhen* when : pg::ListOf<CaseWhen>(expr.args)) results = lappend(results, when->result);
  if (expr.defresult != nullptr) results = lappend(results, expr.defresult);
  return of_list(results, context);
}

}  // namespace

std::optional<ExactType> exact_type_of(Node* expr, const ScatterContext& context) {
  if (expr == nullptr) return std::nullopt;
  if (const auto m = context.meaning(expr)) return m->merged ? std::nullopt : exact(m->relation->columns[static_cast<std::size_t>(m->column)].type);
  switch (expr->type) {
    case T_A_Const:
      return of_constant(*reinterpret_cast<A_Const*>(expr), context);
    case T_TypeCast:
      return exact(*reinterpret_cast<TypeCast*>(expr)->typeName);
    case T_A_Expr:
      return of_operation(*reinterpret_cast<A_Expr*>(expr), context);
    case T_CoalesceExpr:
      return of_list(reinterpret_cast<CoalesceExpr*>(expr)->args, context);
    case T_CaseExpr:
      return of_case(*reinterpret_cast<CaseExpr*>(expr), context);
    default:
      return std::nullopt;
  }
}

namespace {

struct NamedType {
  std::uint32_t type;
  std::string_view name;  // of format_type() without modifiers
};
// pg_type.dat
constexpr NamedType kTypes[] = {{16, "boolean"},
                                {17, "bytea"},
                                {20, "bigint"},
                                {21, "smallint"},
                                {23, "integer"},
                                {25, "text"},
                                {114, "json"},
                                {700, "real"},
                                {701, "double precision"},
                                {790, "money"},
                                {650, "cidr"},
                                {829, "macaddr"},
                                {869, "inet"},
                                {1042, "character"},
                                {1042, "bpchar"},
                                {1043, "character varying"},
                                {1082, "date"},
                                {1083, "time without time zone"},
                                {1114, "timestamp without time zone"},
                                {1184, "timestamp with time zone"},
                                {1186, "interval"},
                                {1266, "time with time zone"},
                                {1560, "bit"},
                                {1562, "bit varying"},
                                {1700, "numeric"},
                                {2950, "uuid"},
                                {3614, "tsvector"},
                                {3802, "jsonb"},
                                {3904, "int4range"},
                                {3906, "numrange"},
                                {3908, "tsrange"},
                                {3910, "tstzrange"},
                                {3912, "daterange"},
                                {3926, "int8range"}};

// "timestamp(3) with time zone" to "timestamp with time zone".
std::string without_modifiers(std::string_view name) {
  const auto open = name.find('('), close = name.find(')');
  if (open == std::string_view::npos || close == std::string_view::npos || close < open) return std::string(name);
  return concat(name.substr(0, open), name.substr(close + 1));
}

}  // namespace

std::optional<std::string> cast_of(const schema::Column& column) {
  const std::string plain = without_modifiers(column.type_name);
  const auto found = std::find_if(std::begin(kTypes), std::end(kTypes), [&](const NamedType& t) {
    return t.type == column.type && (plain == t.name || (t.name == "interval" && plain.starts_with("interval ")));
  });
  if (found == std::end(kTypes)) return std::nullopt;
  if (column.collation.empty()) return column.type_name;
  const auto dot = column.collation.find('.');
  if (dot == std::string::npos || column.collation.find('.', dot + 1) != std::string::npos) return std::nullopt;
  return concat(column.type_name, " COLLATE ", schema::quote_ident(column.collation.substr(0, dot)), ".",
                schema::quote_ident(column.collation.substr(dot + 1)));
}

}  // namespace weir::router
