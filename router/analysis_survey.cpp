#include "router/analysis_survey.hpp"

#include <algorithm>
#include <string_view>

#include "base/strings.hpp"
#include "router/builtins.hpp"

namespace weir::router {
namespace {

bool is_set_config(const FuncCall& call) { return pg::name_of(call.funcname).name == "set_config"; }

// set_config(name, value, is_local) whose last argument is anything but the literal true.
bool sets_for_session(const FuncCall& call) {
  const pg::ListOf<> arguments(call.args);
  const auto* last = arguments.size() == 3 ? pg::as<A_Const>(arguments[2], T_A_Const) : nullptr;
  return last == nullptr || last->isnull || last->val.node.type != T_Boolean || !last->val.boolval.boolval;
}

// What stands for the name of the setting, without casts. nullptr: no call that PostgreSQL would accept.
const Node* name_argument(const FuncCall& call) {
  const pg::ListOf<> arguments(call.args);
  if (arguments.size() != 3) return nullptr;
  Node* name = arguments[0];
  while (const auto* cast = pg::as<TypeCast>(name, T_TypeCast)) name = cast->arg;
  return name;
}

// Is the name of the setting there to be read: a constant or a parameter?
bool names_its_setting(const FuncCall& call) {
  const Node* name = name_argument(call);
  return pg::is(name, T_A_Const) || pg::is(name, T_ParamRef);
}

// Is it certain that the statements behind it are still read as the router reads them?
bool leaves_reading_alone(const FuncCall& call) {
  const auto* name = pg::as<A_Const>(name_argument(call), T_A_Const);
  if (name == nullptr || name->isnull || name->val.node.type != T_String) return false;
  const std::string setting = ascii_lower(pg::text(name->val.sval.sval));
  return setting != "search_path" && setting != "standard_conforming_strings" && setting != "client_encoding" && setting != "role" &&
         setting != "session_authorization" && !setting.starts_with("weir.");
}

bool names_weirs_own(const FuncCall& call) {
  const auto* name = pg::as<A_Const>(name_argument(call), T_A_Const);
  return name != nullptr && !name->isnull && name->val.node.type == T_String && ascii_lower(pg::text(name->val.sval.sval)).starts_with("weir.");
}

class Surveyor {
 public:
  Surveyor(const schema::Catalog& catalog, Survey& out) : catalog_(catalog), out_(out) {}

  void run(Node* root);
  void call(pg::Name name);

 private:
  struct Pending {
    Node* node;
    std::size_t depth;
  };

  void visit(Node* node);
  void user_call(pg::Name name, const schema::FunctionFacts& facts);
  void builtin_call(std::string_view name, const BuiltinTraits& traits);
  void set_config(const FuncCall& call);
  void hidden(std::string why);
  void suspicious(std::string why, bool may_write = true);
  void operation(const List* parts);
  void equality() { operator_name("="); }
  void operator_name(std::string_view name);
  void type(const TypeName& type);
  void expression(const A_Expr& expr);

  const schema::Catalog& catalog_;
  Survey& out_;
};

void Surveyor::run(Node* root) {
  std::vector<Pending> pending;
  std::vector<Node*> children;
  if (root != nullptr) pending.push_back({root, 1});
  while (!pending.empty()) {
    const Pending at = pending.back();
    pending.pop_back();
    if (at.depth > kMaxTreeDepth) {
      out_.too_deep = true;
      return;
    }
    if (!pg::walker_knows(at.node->type)) {
      out_.unknown_node = at.node->type;
      continue;
    }
    visit(at.node);
    if (pg::is(at.node, T_LockingClause)) continue;  // its relations are aliases of the FROM list
    children.clear();
    pg::children_of(at.node, children);
    for (Node* child : children) pending.push_back({child, at.depth + 1});
  }
}

void Surveyor::set_config(const FuncCall& call) {
  out_.own_setting |= names_weirs_own(call);
  out_.unread_setting |= !leaves_reading_alone(call);
  if (!sets_for_session(call)) {
    out_.effects.sets_locally = true;
    return;
  }
  out_.effects.sets = true;
  if (names_its_setting(call)) return;
  out_.effects.taints = out_.effects.pins = true;
  out_.why.push_back("set_config() computes the name of the setting");
}

void Surveyor::hidden(std::string why) {
  if (catalog_.hidden_code_traces()) out_.effects.add(kOpaqueEffects);
  suspicious(std::move(why));
}

void Surveyor::suspicious(std::string why, bool may_write) {
  if (may_write) out_.read_only = false;
  if (out_.why.size() < 16) out_.why.push_back(std::move(why));
}

void Surveyor::visit(Node* node) {
  switch (node->type) {
    case T_RangeVar:
      out_.relations.insert(reinterpret_cast<RangeVar*>(node));
      return;
    case T_InsertStmt:
    case T_UpdateStmt:
    case T_DeleteStmt:
    case T_MergeStmt:
      out_.writes = true;
      return;
    case T_IntoClause:
      out_.into = true;
      return;
    case T_LockingClause:
      out_.locking = true;
      return;
    case T_ParamRef: {
      const int number = reinterpret_cast<ParamRef*>(node)->number;
      out_.highest_parameter = std::max(out_.highest_parameter, number);
      ++out_.parameter_uses[number];
      return;
    }
    case T_FuncCall:
      if (is_set_config(*reinterpret_cast<FuncCall*>(node))) set_config(*reinterpret_cast<FuncCall*>(node));
      return call(pg::name_of(reinterpret_cast<FuncCall*>(node)->funcname));
    case T_RangeTableSample: {
      const pg::Name method = pg::name_of(reinterpret_cast<RangeTableSample*>(node)->method);
      if (method.name != "system" && method.name != "bernoulli") call(method);
      return;
    }
    case T_TypeName:
      return type(*reinterpret_cast<TypeName*>(node));
    case T_A_Expr:
      return expression(*reinterpret_cast<A_Expr*>(node));
    case T_SubLink: {
      const auto& link = *reinterpret_cast<SubLink*>(node);
      if (link.operName != nullptr) return operation(link.operName);
      if (link.testexpr != nullptr) equality();
      return;
    }
    case T_SortBy:
      if (const auto* by = reinterpret_cast<SortBy*>(node); by->useOp != nullptr) operation(by->useOp);
      return;
    case T_CaseExpr:
      if (reinterpret_cast<CaseExpr*>(node)->arg != nullptr) equality();
      return;
    case T_JoinExpr:
      if (const auto* join = reinterpret_cast<JoinExpr*>(node); join->isNatural || join->usingClause != nullptr)
        equality();
      return;
    default:
      return;  // every other node only has children
  }
}

void Surveyor::operator_name(std::string_view name) {
  if (catalog_.has_user_operator(name)) hidden(concat("operator ", name, " may be a user-defined one"));
}

void Surveyor::operation(const List* parts) {
  const pg::Name op = pg::name_of(parts);
  if (!op.schema.empty() && op.schema != "pg_catalog")
    return hidden(concat("operator ", op.schema, ".", op.name, " is a user-defined one"));
  if (op.schema.empty()) operator_name(op.name);
}

void Surveyor::expression(const A_Expr& expr) {
  switch (expr.kind) {
    case AEXPR_BETWEEN:
    case AEXPR_NOT_BETWEEN:
    case AEXPR_BETWEEN_SYM:
    case AEXPR_NOT_BETWEEN_SYM:
      for (const std::string_view op : {"<", "<=", ">", ">="}) operator_name(op);
      return;
    default:
      operation(expr.name);
  }
}

void Surveyor::type(const TypeName& type) {
  const pg::Name name = pg::name_of(type.names);
  if (name.schema == "pg_catalog") return;
  const bool known = name.schema.empty() && !catalog_.has_user_type(name.name);
  if (!known) hidden(concat("type ", name.name, " may be a user-defined one"));
}

void Surveyor::user_call(pg::Name name, const schema::FunctionFacts& facts) {
  suspicious(concat(name.name, "() is a user-defined function"), facts.is_volatile || facts.is_procedure);
  if (facts.leaves_trace) out_.effects.add(kOpaqueEffects);
  if (facts.computes_setting) out_.effects.taints = out_.effects.pins = true;
  if (facts.reads_data) out_.reads_data = std::string(name.name);
}

void Surveyor::builtin_call(std::string_view name, const BuiltinTraits& traits) {
  if (!traits.read_only) out_.read_only = false;
  if (traits.home) {
    out_.home = true;
    out_.home_function = std::string(name);
  }
  if (traits.reads_data) out_.reads_data = std::string(name);
  out_.effects.add(traits.effects);
  if (traits.effects.pins || traits.effects.holds || traits.effects.soft) out_.why.push_back(concat(name, "() keeps state in the session"));
}

void Surveyor::call(pg::Name name) {
  const auto facts = catalog_.find_function(name.schema, name.name);
  const bool user = facts && facts->user_defined;
  if (user) user_call(name, *facts);
  const bool may_be_builtin = name.schema.empty() || name.schema == "pg_catalog";
  if (const auto traits = may_be_builtin ? builtin_traits(name.name) : std::nullopt)
    return builtin_call(name.name, *traits);
  if (user) return;
  if (!facts) {
    out_.effects.add(kOpaqueEffects);
    suspicious(concat(name.name, "() is not in the catalog"));
    if (out_.reads_data.empty()) out_.reads_data_unknown = true;
    out_.reads_data = std::string(name.name);
  } else if (facts->is_volatile) {
    out_.effects.add(kOpaqueEffects);
    suspicious(concat(name.name, "() is volatile"));
  }
}

}  // namespace

void survey(Node* root, const schema::Catalog& catalog, Survey& out) { Surveyor(catalog, out).run(root); }

}  // namespace weir::router
