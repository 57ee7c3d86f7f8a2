#include "router/pg_tree.hpp"

namespace weir::router::pg {

ParsedText::ParsedText(const std::string& sql)
    : context_(pg_query_enter_memory_context()), result_(pg_query_raw_parse(sql.c_str())) {}

ParsedText::~ParsedText() {
  // Both were made by malloc, outside the memory context.
  if (result_.stderr_buffer != nullptr) std::free(result_.stderr_buffer);
  if (result_.error != nullptr) pg_query_free_error(result_.error);
  pg_query_exit_memory_context(context_);
}

std::vector<const RawStmt*> ParsedText::statements() const {
  std::vector<const RawStmt*> out;
  if (!ok()) return out;
  for (Node* n : ListOf<>(result_.tree))
    if (const auto* raw = as<RawStmt>(n, T_RawStmt)) out.push_back(raw);
  return out;
}

Name name_of(const List* parts) {
  const ListOf<> list(parts);
  Name name;
  if (list.size() >= 1) name.name = text(list[list.size() - 1]);
  if (list.size() >= 2) name.schema = text(list[list.size() - 2]);
  return name;
}

// The cases of raw_expression_tree_walker() in src/backend/nodes/nodeFuncs.c of PostgreSQL 15.
bool walker_knows(NodeTag tag) {
  switch (tag) {
    case T_SetToDefault:
    case T_CurrentOfExpr:
    case T_SQLValueFunction:
    case T_Integer:
    case T_Float:
    case T_Boolean:
    case T_String:
    case T_BitString:
    case T_ParamRef:
    case T_A_Const:
    case T_A_Star:
    case T_Alias:
    case T_RangeVar:
    case T_GroupingFunc:
    case T_SubLink:
    case T_CaseExpr:
    case T_RowExpr:
    case T_CoalesceExpr:
    case T_MinMaxExpr:
    case T_XmlExpr:
    case T_NullTest:
    case T_BooleanTest:
    case T_JoinExpr:
    case T_IntoClause:
    case T_List:
    case T_InsertStmt:
    case T_DeleteStmt:
    case T_UpdateStmt:
    case T_MergeStmt:
    case T_MergeWhenClause:
    case T_SelectStmt:
    case T_A_Expr:
    case T_BoolExpr:
    case T_ColumnRef:
    case T_FuncCall:
    case T_NamedArgExpr:
    case T_A_Indices:
    case T_A_Indirection:
    case T_A_ArrayExpr:
    case T_ResTarget:
    case T_MultiAssignRef:
    case T_TypeCast:
    case T_CollateClause:
    case T_SortBy:
    case T_WindowDef:
    case T_RangeSubselect:
    case T_RangeFunction:
    case T_RangeTableSample:
    case T_RangeTableFunc:
    case T_RangeTableFuncCol:
    case T_TypeName:
    case T_ColumnDef:
    case T_IndexElem:
    case T_GroupingSet:
    case T_LockingClause:
    case T_XmlSerialize:
    case T_WithClause:
    case T_InferClause:
    case T_OnConflictClause:
    case T_CommonTableExpr:
      return true;
    default:
      return false;
  }
}

namespace {

bool collect(Node* node, void* out) {
  if (node != nullptr) static_cast<std::vector<Node*>*>(out)->push_back(node);
  return false;
}

// The declaration in nodeFuncs.h has no prototype for the callback; the detour by void (*)() is what gcc lets pass.
using WalkerCallback = bool (*)();
using AnyFunction = void (*)();

void append(const void* node, std::vector<Node*>& out) {
  if (node != nullptr) out.push_back(static_cast<Node*>(const_cast<void*>(node)));
}

// What the walker of PostgreSQL 15 passes over.
void forgotten_children_of(Node* node, std::vector<Node*>& out) {
  if (const auto* cte = as<CommonTableExpr>(node, T_CommonTableExpr)) {
    if (cte->cycle_clause != nullptr) {
      append(cte->cycle_clause->cycle_mark_value, out);
      append(cte->cycle_clause->cycle_mark_default, out);
    }
  } else if (const auto* column = as<RangeTableFuncCol>(node, T_RangeTableFuncCol)) {
    append(column->typeName, out);
  }
}

}  // namespace

void children_of(Node* node, std::vector<Node*>& out) {
  raw_expression_tree_walker(node, reinterpret_cast<WalkerCallback>(reinterpret_cast<AnyFunction>(collect)), &out);
  forgotten_children_of(node, out);
}

}  // namespace weir::router::pg
