// Keys that are computed: arithmetic of integers, whose types decide where it overflows. Anything else does not bind.
#include <utility>

#include "router/analysis_key.hpp"
#include "router/key_expression.hpp"

namespace weir::router {

using schema::KeyType;
using Kind = KeyExpression::Kind;

namespace {

constexpr int kMaxOperators = 32;   // within each other

using Tree = std::shared_ptr<const KeyExpression>;

Tree leaf(KeyType type, KeySource source) {
  auto made = std::make_shared<KeyExpression>();
  made->type = type;
  made->leaf = std::move(source);
  return made;
}

Tree node(Kind kind, KeyType type, Tree left, Tree right = nullptr) {
  auto made = std::make_shared<KeyExpression>();
  made->kind = kind;
  made->type = type;
  made->left = std::move(left);
  made->right = std::move(right);
  return made;
}

// int2 < int4 < int8
KeyType wider(KeyType a, KeyType b) {
  if (a == KeyType::int8 || b == KeyType::int8) return KeyType::int8;
  return a == KeyType::int4 || b == KeyType::int4 ? KeyType::int4 : KeyType::int2;
}

std::optional<KeyType> integer_type(std::uint32_t type) {
  const auto key = schema::key_type_of(type);
  return key && family_of(*key) == KeyFamily::integer ? key : std::nullopt;
}

std::uint32_t oid_of(KeyType type) {
  return type == KeyType::int2 ? schema::oid::kInt2 : type == KeyType::int4 ? schema::oid::kInt4 : schema::oid::kInt8;
}

}  // namespace

std::optional<KeySource> KeyReader::computed(const Node* expr, KeyType type) {
  Tree tree = tree_of(expr, std::nullopt, 0);
  if (tree == nullptr) return std::nullopt;
  KeySource source;
  source.kind = KeySource::Kind::computed;
  source.type = type;
  source.computed = std::move(tree);
  return source;
}

// `other`: what a parameter of no type of its own becomes beside it. Null: not certain.
std::shared_ptr<const KeyExpression> KeyReader::tree_of(const Node* expr, std::optional<KeyType> other, int depth) {
  if (expr == nullptr || depth > kMaxOperators) return nullptr;
  if (const auto* c = pg::as<A_Const>(expr, T_A_Const)) return constant_leaf(*c);
  if (const auto* p = pg::as<ParamRef>(expr, T_ParamRef)) return parameter_leaf(*p, other);
  if (const auto* to = pg::as<TypeCast>(expr, T_TypeCast)) return cast_tree(*to, depth);
  if (const auto* call = pg::as<FuncCall>(expr, T_FuncCall)) return call_tree(*call, depth);
  const auto* op = pg::as<A_Expr>(expr, T_A_Expr);
  if (op == nullptr || op->kind != AEXPR_OP) return nullptr;
  if (op->lexpr == nullptr) {
    Tree only = is_builtin_operator(op->name, "-") ? tree_of(op->rexpr, std::nullopt, depth + 1) : nullptr;
    return only == nullptr ? nullptr : node(Kind::negate, only->type, only);
  }
  constexpr std::pair<const char*, Kind> kOperators[] = {
      {"+", Kind::add}, {"-", Kind::subtract}, {"*", Kind::multiply}, {"/", Kind::divide}, {"%", Kind::modulo}};
  for (const auto& [name, kind] : kOperators)
    if (is_builtin_operator(op->name, name)) return operator_tree(kind, op->lexpr, op->rexpr, depth);
  return nullptr;
}

std::shared_ptr<const KeyExpression> KeyReader::operator_tree(Kind kind, const Node* left, const Node* right, int depth) {
  const bool left_is_free = is_free_parameter(left);
  if (left_is_free && is_free_parameter(right)) return nullptr;
  // The one with a type first: the other becomes that.
  Tree typed = tree_of(left_is_free ? right : left, std::nullopt, depth + 1);
  if (typed == nullptr) return nullptr;
  Tree other = tree_of(left_is_free ? left : right, typed->type, depth + 1);
  if (other == nullptr) return nullptr;
  if (left_is_free) std::swap(typed, other);
  const KeyType type = wider(typed->type, other->type);
  return node(kind, type, std::move(typed), std::move(other));
}

bool KeyReader::is_free_parameter(const Node* expr) const {
  const auto* ref = pg::as<ParamRef>(expr, T_ParamRef);
  return ref != nullptr && declared(ref->number) == 0;
}

// Only numbers: a string beside an integer would be one, but not everywhere.
std::shared_ptr<const KeyExpression> KeyReader::constant_leaf(const A_Const& c) const {
  if (c.isnull || (c.val.node.type != T_Integer && c.val.node.type != T_Float)) return nullptr;
  const bool small = c.val.node.type == T_Integer;
  if (!small && pg::text(c.val.fval.fval).find_first_of(".eE") != std::string_view::npos) return nullptr;
  auto source = constant(c, KeyType::int8, false);
  if (!source) return nullptr;
  if (source->kind == KeySource::Kind::literal && (input_.literals[source->index].kind == LiteralClass::int4) != small) return nullptr;
  return leaf(small ? KeyType::int4 : KeyType::int8, std::move(*source));
}

std::shared_ptr<const KeyExpression> KeyReader::parameter_leaf(const ParamRef& ref, std::optional<KeyType> other) {
  const auto type = declared(ref.number) == 0 ? other : integer_type(declared(ref.number));
  if (!type) return nullptr;
  auto source = parameter(ref, *type, declared(ref.number) == 0 ? oid_of(*type) : 0, false);
  return source ? leaf(*type, std::move(*source)) : nullptr;
}

std::shared_ptr<const KeyExpression> KeyReader::cast_tree(const TypeCast& cast, int depth) {
  const auto target = cast_of(*cast.typeName);
  const auto type = target && !target->array ? integer_type(target->type) : std::nullopt;
  if (!type) return nullptr;
  if (const auto* c = pg::as<A_Const>(cast.arg, T_A_Const); c != nullptr && !c->isnull && c->val.node.type == T_String) {
    auto source = constant(*c, *type, false);
    return source ? leaf(*type, std::move(*source)) : nullptr;
  }
  Tree inner = tree_of(cast.arg, type, depth + 1);
  return inner == nullptr ? nullptr : node(Kind::cast, *type, inner);
}

// abs() and mod()
std::shared_ptr<const KeyExpression> KeyReader::call_tree(const FuncCall& call, int depth) {
  const pg::Name name = pg::name_of(call.funcname);
  const pg::ListOf<> arguments(call.args);
  const bool plain = call.agg_order == nullptr && call.agg_filter == nullptr && call.over == nullptr && !call.agg_star && !call.agg_distinct && !call.func_variadic;
  if (!plain || (name.schema.empty() ? !builtins_first_ : name.schema != "pg_catalog")) return nullptr;
  const auto facts = input_.catalog->find_function(name.schema, name.name);
  if (!facts || facts->user_defined) return nullptr;
  if (name.name == "mod" && arguments.size() == 2) return operator_tree(Kind::modulo, arguments[0], arguments[1], depth);
  if (name.name != "abs" || arguments.size() != 1) return nullptr;
  Tree only = tree_of(arguments[0], std::nullopt, depth + 1);
  return only == nullptr ? nullptr : node(Kind::absolute, only->type, only);
}

}  // namespace weir::router
