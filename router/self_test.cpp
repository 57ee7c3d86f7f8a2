// The C tree is read by PostgreSQL's server headers, the library that fills it in was built with its own. Each probe
// parses a fixed statement both ways: what the C tree says by the names of the headers, the library's own JSON must
// say, too.
#include <optional>
#include <string>
#include <string_view>

#include "base/strings.hpp"
#include "router/pg_tree.hpp"
#include "router/router.hpp"

namespace weir::router {
namespace {

struct Probe {
  const char* node;  // the JSON's name of the node that has the tag
  NodeTag tag;
  const char* sql;
  const char* json = "";                 // must stand in the JSON
  bool (*holds)(const Node*) = nullptr;  // must hold of the first node with the tag
};

template <class T>
const T& at(const Node* node) {
  return *reinterpret_cast<const T*>(node);
}

#define WEIR_FIELD(Type, condition) \
  [](const Node* n) {               \
    const auto& x = at<Type>(n);    \
    return condition;               \
  }

bool first_option_is(const Node* node, std::string_view name) {
  const auto& stmt = at<TransactionStmt>(node);
  const pg::ListOf<DefElem> options(stmt.options);
  return options.size() == 1 && pg::text(options[0]->defname) == name && pg::is(options[0]->arg, T_A_Const);
}

const Probe
    kProbes[] =
        {
            {"SelectStmt", T_SelectStmt, "SELECT 1", "\"op\":\"SETOP_NONE\"",
             WEIR_FIELD(SelectStmt, x.op == SETOP_NONE)},
            {"SelectStmt", T_SelectStmt, "SELECT 1 UNION ALL SELECT 2", "\"op\":\"SETOP_UNION\",\"all\":true",
             WEIR_FIELD(SelectStmt, x.op == SETOP_UNION && x.all && x.larg != nullptr && x.rarg != nullptr)},
            {"SelectStmt", T_SelectStmt, "SELECT 1 INTERSECT SELECT 2", "\"op\":\"SETOP_INTERSECT\"",
             WEIR_FIELD(SelectStmt, x.op == SETOP_INTERSECT)},
            {"SelectStmt", T_SelectStmt, "SELECT 1 EXCEPT SELECT 2", "\"op\":\"SETOP_EXCEPT\"",
             WEIR_FIELD(SelectStmt, x.op == SETOP_EXCEPT)},
            {"SelectStmt", T_SelectStmt, "VALUES (1, 2), (3, 4)", "\"valuesLists\"",
             WEIR_FIELD(SelectStmt, pg::ListOf<>(x.valuesLists).size() == 2)},
            {"LockingClause", T_LockingClause, "SELECT 1 FROM a FOR UPDATE OF a", "\"lockedRels\"",
             WEIR_FIELD(LockingClause, pg::ListOf<>(x.lockedRels).size() == 1)},
            {"IntoClause", T_IntoClause, "SELECT 1 INTO TEMP t", "\"relpersistence\":\"t\"",
             WEIR_FIELD(IntoClause, x.rel->relpersistence == 't')},
            {"WithClause", T_WithClause, "WITH RECURSIVE a AS (SELECT 1) SELECT 1", "\"recursive\":true",
             WEIR_FIELD(WithClause, x.recursive)},
            {"CommonTableExpr", T_CommonTableExpr, "WITH a AS (SELECT 1) SELECT 1", "\"ctename\":\"a\"",
             WEIR_FIELD(CommonTableExpr, pg::text(x.ctename) == "a" && pg::is(x.ctequery, T_SelectStmt))},
            {"InsertStmt", T_InsertStmt, "INSERT INTO a (b) VALUES (1) ON CONFLICT DO UPDATE SET c = 1",
             "\"ONCONFLICT_UPDATE\"",
             WEIR_FIELD(InsertStmt, x.onConflictClause->action == ONCONFLICT_UPDATE &&
                                        pg::ListOf<>(x.cols).size() == 1 && pg::is(x.selectStmt, T_SelectStmt))},
            {"UpdateStmt", T_UpdateStmt, "UPDATE a SET b = 1 FROM c WHERE d", "\"whereClause\"",
             WEIR_FIELD(UpdateStmt, pg::text(x.relation->relname) == "a" && pg::is(x.whereClause, T_ColumnRef) &&
                                        pg::ListOf<>(x.fromClause).size() == 1)},
            {"DeleteStmt", T_DeleteStmt, "DELETE FROM a USING b WHERE c", "\"usingClause\"",
             WEIR_FIELD(DeleteStmt, pg::ListOf<>(x.usingClause).size() == 1 && pg::is(x.whereClause, T_ColumnRef))},
            {"MergeStmt", T_MergeStmt, "MERGE INTO a USING b ON c WHEN MATCHED THEN DELETE", "\"mergeWhenClauses\"",
             WEIR_FIELD(MergeStmt, pg::is(x.sourceRelation, T_RangeVar) && pg::is(x.joinCondition, T_ColumnRef))},
            {"MergeWhenClause", T_MergeWhenClause, "MERGE INTO a USING b ON c WHEN MATCHED THEN DELETE",
             "\"commandType\":\"CMD_DELETE\"", WEIR_FIELD(MergeWhenClause, x.commandType == CMD_DELETE)},
            {"MultiAssignRef", T_MultiAssignRef, "UPDATE a SET (b, c) = (SELECT 1, 2)"},
            {"SetToDefault", T_SetToDefault, "UPDATE a SET b = DEFAULT"},
            {"CurrentOfExpr", T_CurrentOfExpr, "DELETE FROM a WHERE CURRENT OF c"},

            {"RangeVar", T_RangeVar, "SELECT 1 FROM s.a AS b (c)", "\"schemaname\":\"s\"",
             WEIR_FIELD(RangeVar, pg::text(x.schemaname) == "s" && pg::text(x.relname) == "a" &&
                                      pg::text(x.alias->aliasname) == "b" &&
                                      pg::ListOf<>(x.alias->colnames).size() == 1)},
            {"RangeSubselect", T_RangeSubselect, "SELECT 1 FROM LATERAL (SELECT 1) a", "\"lateral\":true",
             WEIR_FIELD(RangeSubselect, x.lateral&& pg::is(x.subquery, T_SelectStmt))},
            {"RangeFunction", T_RangeFunction, "SELECT 1 FROM f(1)", "\"functions\"",
             WEIR_FIELD(RangeFunction, pg::ListOf<>(x.functions).size() == 1)},
            {"RangeTableSample", T_RangeTableSample, "SELECT 1 FROM a TABLESAMPLE system (1)", "\"method\""},
            {"RangeTableFunc", T_RangeTableFunc, "SELECT 1 FROM xmltable('/a' PASSING b COLUMNS c int)", "\"docexpr\""},
            {"JoinExpr", T_JoinExpr, "SELECT 1 FROM a JOIN b ON c", "\"jointype\":\"JOIN_INNER\"",
             WEIR_FIELD(JoinExpr, x.jointype == JOIN_INNER && pg::is(x.quals, T_ColumnRef))},
            {"JoinExpr", T_JoinExpr, "SELECT 1 FROM a LEFT JOIN b USING (c)", "\"jointype\":\"JOIN_LEFT\"",
             WEIR_FIELD(JoinExpr, x.jointype == JOIN_LEFT && pg::ListOf<>(x.usingClause).size() == 1)},
            {"JoinExpr", T_JoinExpr, "SELECT 1 FROM a RIGHT JOIN b ON c", "\"jointype\":\"JOIN_RIGHT\"",
             WEIR_FIELD(JoinExpr, x.jointype == JOIN_RIGHT)},
            {"JoinExpr", T_JoinExpr, "SELECT 1 FROM a NATURAL FULL JOIN b",
             "\"jointype\":\"JOIN_FULL\",\"isNatural\":true",
             WEIR_FIELD(JoinExpr, x.jointype == JOIN_FULL && x.isNatural)},

            {"A_Expr", T_A_Expr, "SELECT a = 1", "\"kind\":\"AEXPR_OP\"", WEIR_FIELD(A_Expr, x.kind == AEXPR_OP)},
            {"A_Expr", T_A_Expr, "SELECT a = ANY (b)", "\"kind\":\"AEXPR_OP_ANY\"",
             WEIR_FIELD(A_Expr, x.kind == AEXPR_OP_ANY)},
            {"A_Expr", T_A_Expr, "SELECT a = ALL (b)", "\"kind\":\"AEXPR_OP_ALL\"",
             WEIR_FIELD(A_Expr, x.kind == AEXPR_OP_ALL)},
            {"A_Expr", T_A_Expr, "SELECT a IN (1, 2)", "\"kind\":\"AEXPR_IN\"",
             WEIR_FIELD(A_Expr, x.kind == AEXPR_IN && pg::is(x.rexpr, T_List))},
            {"A_Expr", T_A_Expr, "SELECT a IS DISTINCT FROM b", "\"kind\":\"AEXPR_DISTINCT\"",
             WEIR_FIELD(A_Expr, x.kind == AEXPR_DISTINCT)},
            {"A_Expr", T_A_Expr, "SELECT a IS NOT DISTINCT FROM b", "\"kind\":\"AEXPR_NOT_DISTINCT\"",
             WEIR_FIELD(A_Expr, x.kind == AEXPR_NOT_DISTINCT)},
            {"A_Expr", T_A_Expr, "SELECT nullif(a, b)", "\"kind\":\"AEXPR_NULLIF\"",
             WEIR_FIELD(A_Expr, x.kind == AEXPR_NULLIF)},
            {"A_Expr", T_A_Expr, "SELECT a BETWEEN 1 AND 2", "\"kind\":\"AEXPR_BETWEEN\"",
             WEIR_FIELD(A_Expr, x.kind == AEXPR_BETWEEN)},
            {"A_Expr", T_A_Expr, "SELECT a NOT BETWEEN SYMMETRIC 1 AND 2", "\"kind\":\"AEXPR_NOT_BETWEEN_SYM\"",
             WEIR_FIELD(A_Expr, x.kind == AEXPR_NOT_BETWEEN_SYM)},
            {"A_Expr", T_A_Expr, "SELECT a LIKE b", "\"kind\":\"AEXPR_LIKE\"",
             WEIR_FIELD(A_Expr, x.kind == AEXPR_LIKE)},
            {"A_Expr", T_A_Expr, "SELECT a SIMILAR TO b", "\"kind\":\"AEXPR_SIMILAR\"",
             WEIR_FIELD(A_Expr, x.kind == AEXPR_SIMILAR)},
            {"BoolExpr", T_BoolExpr, "SELECT a AND b AND c", "\"boolop\":\"AND_EXPR\"",
             WEIR_FIELD(BoolExpr, x.boolop == AND_EXPR && pg::ListOf<>(x.args).size() == 3)},
            {"BoolExpr", T_BoolExpr, "SELECT a OR b", "\"boolop\":\"OR_EXPR\"",
             WEIR_FIELD(BoolExpr, x.boolop == OR_EXPR)},
            {"BoolExpr", T_BoolExpr, "SELECT NOT a", "\"boolop\":\"NOT_EXPR\"",
             WEIR_FIELD(BoolExpr, x.boolop == NOT_EXPR)},
            {"SubLink", T_SubLink, "SELECT a IN (SELECT 1)", "\"subLinkType\":\"ANY_SUBLINK\"",
             WEIR_FIELD(
                 SubLink, x.subLinkType == ANY_SUBLINK && pg::is(x.subselect, T_SelectStmt) && x.testexpr != nullptr)},
            {"SubLink", T_SubLink, "SELECT EXISTS (SELECT 1)", "\"subLinkType\":\"EXISTS_SUBLINK\"",
             WEIR_FIELD(SubLink, x.subLinkType == EXISTS_SUBLINK)},
            {"ColumnRef", T_ColumnRef, "SELECT a.b", "\"fields\"",
             WEIR_FIELD(ColumnRef, pg::ListOf<>(x.fields).size() == 2)},
            {"ColumnRef", T_ColumnRef, "SELECT a.*", "\"A_Star\"",
             WEIR_FIELD(ColumnRef, pg::ListOf<>(x.fields).size() == 2 && pg::is(pg::ListOf<>(x.fields)[1], T_A_Star))},
            {"ParamRef", T_ParamRef, "SELECT $3", "\"number\":3", WEIR_FIELD(ParamRef, x.number == 3)},
            {"A_Const", T_A_Const, "SELECT 42", "{\"ival\":42}",
             WEIR_FIELD(A_Const, !x.isnull && x.val.node.type == T_Integer && x.val.ival.ival == 42 &&
                                     x.location == 7)},
            {"A_Const", T_A_Const, "SELECT 1.5", "{\"fval\":\"1.5\"}",
             WEIR_FIELD(A_Const, x.val.node.type == T_Float && pg::text(x.val.fval.fval) == "1.5")},
            {"A_Const", T_A_Const, "SELECT 'x'", "{\"sval\":\"x\"}",
             WEIR_FIELD(A_Const, x.val.node.type == T_String && pg::text(x.val.sval.sval) == "x")},
            {"A_Const", T_A_Const, "SELECT B'1'", "{\"bsval\":\"b1\"}",
             WEIR_FIELD(A_Const, x.val.node.type == T_BitString)},
            {"A_Const", T_A_Const, "SELECT true", "\"boolval\"", WEIR_FIELD(A_Const, x.val.node.type == T_Boolean)},
            {"A_Const", T_A_Const, "SELECT NULL", "\"isnull\":true", WEIR_FIELD(A_Const, x.isnull)},
            // Folded, with its location at the minus: analysis_key.cpp counts on it.
            {"A_Const", T_A_Const, "SELECT  -7", "\"location\":8",
             WEIR_FIELD(A_Const, x.val.node.type == T_Integer && x.val.ival.ival == -7 && x.location == 8)},
            {"FuncCall", T_FuncCall, "SELECT s.f(1)", "\"funcname\"",
             WEIR_FIELD(FuncCall, pg::name_of(x.funcname).schema == "s" && pg::name_of(x.funcname).name == "f")},
            {"TypeCast", T_TypeCast, "SELECT a::varchar(3)[]", "\"typmods\"",
             WEIR_FIELD(
                 TypeCast,
                 x.typeName->typmods != nullptr && pg::ListOf<>(x.typeName->arrayBounds).size() == 1 &&
                     pg::
                             name_of(x.typeName->names)
                                 .name == "varchar")},
            {"CollateClause", T_CollateClause, "SELECT a COLLATE \"C\""},
            {"RowExpr", T_RowExpr, "SELECT (a, b)", "\"args\"", WEIR_FIELD(RowExpr, pg::ListOf<>(x.args).size() == 2)},
            {"A_ArrayExpr", T_A_ArrayExpr, "SELECT ARRAY[1, 2]", "\"elements\"",
             WEIR_FIELD(A_ArrayExpr, pg::ListOf<>(x.elements).size() == 2)},
            {"A_Indirection", T_A_Indirection, "SELECT (a).b", "\"indirection\""},
            {"CaseExpr", T_CaseExpr, "SELECT CASE a WHEN 1 THEN 2 END", "\"arg\"",
             WEIR_FIELD(CaseExpr, x.arg != nullptr)},
            {"CoalesceExpr", T_CoalesceExpr, "SELECT coalesce(a, b)"},
            {"MinMaxExpr", T_MinMaxExpr, "SELECT greatest(a, b)"},
            {"SQLValueFunction", T_SQLValueFunction, "SELECT current_date"},
            {"XmlExpr", T_XmlExpr, "SELECT xmlelement(name a)"},
            {"XmlSerialize", T_XmlSerialize, "SELECT xmlserialize(content a AS text)"},
            {"NullTest", T_NullTest, "SELECT a IS NULL"},
            {"BooleanTest", T_BooleanTest, "SELECT a IS TRUE"},
            {"GroupingFunc", T_GroupingFunc, "SELECT grouping(a) FROM b GROUP BY a"},
            {"GroupingSet", T_GroupingSet, "SELECT 1 FROM b GROUP BY ROLLUP (a)"},
            {"NamedArgExpr", T_NamedArgExpr, "SELECT f(a => 1)"},
            {"A_Indices", T_A_Indices, "SELECT (a)[1]"},
            {"SortBy", T_SortBy, "SELECT 1 ORDER BY a USING <", "\"useOp\"", WEIR_FIELD(SortBy, x.useOp != nullptr)},
            {"WindowDef", T_WindowDef, "SELECT f(1) OVER (PARTITION BY a)"},
            {"ResTarget", T_ResTarget, "SELECT 1 AS a", "\"name\":\"a\"",
             WEIR_FIELD(ResTarget, pg::text(x.name) == "a")},

            {"TransactionStmt", T_TransactionStmt, "BEGIN READ ONLY", "\"kind\":\"TRANS_STMT_BEGIN\"",
             [](const Node* n) {
               return at<TransactionStmt>(n).kind == TRANS_STMT_BEGIN && first_option_is(n, "transaction_read_only");
             }},
            {"TransactionStmt", T_TransactionStmt, "START TRANSACTION", "\"kind\":\"TRANS_STMT_START\"",
             WEIR_FIELD(TransactionStmt, x.kind == TRANS_STMT_START)},
            {"TransactionStmt", T_TransactionStmt, "COMMIT AND CHAIN", "\"kind\":\"TRANS_STMT_COMMIT\",\"chain\":true",
             WEIR_FIELD(TransactionStmt, x.kind == TRANS_STMT_COMMIT && x.chain)},
            {"TransactionStmt", T_TransactionStmt, "ROLLBACK", "\"kind\":\"TRANS_STMT_ROLLBACK\"",
             WEIR_FIELD(TransactionStmt, x.kind == TRANS_STMT_ROLLBACK && !x.chain)},
            {"TransactionStmt", T_TransactionStmt, "SAVEPOINT a", "\"kind\":\"TRANS_STMT_SAVEPOINT\"",
             WEIR_FIELD(TransactionStmt, x.kind == TRANS_STMT_SAVEPOINT && pg::text(x.savepoint_name) == "a")},
            {"TransactionStmt", T_TransactionStmt, "RELEASE a", "\"kind\":\"TRANS_STMT_RELEASE\"",
             WEIR_FIELD(TransactionStmt, x.kind == TRANS_STMT_RELEASE)},
            {"TransactionStmt", T_TransactionStmt, "ROLLBACK TO a", "\"kind\":\"TRANS_STMT_ROLLBACK_TO\"",
             WEIR_FIELD(TransactionStmt, x.kind == TRANS_STMT_ROLLBACK_TO)},
            {"TransactionStmt", T_TransactionStmt, "PREPARE TRANSACTION 'a'", "\"kind\":\"TRANS_STMT_PREPARE\"",
             WEIR_FIELD(TransactionStmt, x.kind == TRANS_STMT_PREPARE)},
            {"VariableSetStmt", T_VariableSetStmt, "SET LOCAL a = 1", "\"kind\":\"VAR_SET_VALUE\"",
             WEIR_FIELD(VariableSetStmt, x.kind == VAR_SET_VALUE && x.is_local && pg::text(x.name) == "a")},
            {"VariableSetStmt", T_VariableSetStmt, "SET a TO DEFAULT", "\"kind\":\"VAR_SET_DEFAULT\"",
             WEIR_FIELD(VariableSetStmt, x.kind == VAR_SET_DEFAULT && !x.is_local)},
            {"VariableSetStmt", T_VariableSetStmt, "SET TRANSACTION READ ONLY", "\"kind\":\"VAR_SET_MULTI\"",
             WEIR_FIELD(VariableSetStmt, x.kind == VAR_SET_MULTI && pg::text(x.name) == "TRANSACTION")},
            {"VariableSetStmt", T_VariableSetStmt, "RESET a", "\"kind\":\"VAR_RESET\"",
             WEIR_FIELD(VariableSetStmt, x.kind == VAR_RESET)},
            {"VariableSetStmt", T_VariableSetStmt, "RESET ALL", "\"kind\":\"VAR_RESET_ALL\"",
             WEIR_FIELD(VariableSetStmt, x.kind == VAR_RESET_ALL)},
            {"VariableShowStmt", T_VariableShowStmt, "SHOW a"},
            {"DiscardStmt", T_DiscardStmt, "DISCARD ALL", "\"target\":\"DISCARD_ALL\"",
             WEIR_FIELD(DiscardStmt, x.target == DISCARD_ALL)},
            {"DiscardStmt", T_DiscardStmt, "DISCARD TEMP", "\"target\":\"DISCARD_TEMP\"",
             WEIR_FIELD(DiscardStmt, x.target == DISCARD_TEMP)},
            {"DeallocateStmt", T_DeallocateStmt, "DEALLOCATE a", "\"name\":\"a\"",
             WEIR_FIELD(DeallocateStmt, pg::text(x.name) == "a")},
            {"PrepareStmt", T_PrepareStmt, "PREPARE a AS SELECT 1", "\"query\"",
             WEIR_FIELD(PrepareStmt, pg::is(x.query, T_SelectStmt))},
            {"ExecuteStmt", T_ExecuteStmt, "EXECUTE a (1)", "\"params\"",
             WEIR_FIELD(ExecuteStmt, pg::ListOf<>(x.params).size() == 1)},
            {"DeclareCursorStmt", T_DeclareCursorStmt, "DECLARE a CURSOR WITH HOLD FOR SELECT 1", "\"query\"",
             WEIR_FIELD(DeclareCursorStmt, (x.options & CURSOR_OPT_HOLD) != 0 && pg::is(x.query, T_SelectStmt))},
            {"ExplainStmt", T_ExplainStmt, "EXPLAIN (ANALYZE) SELECT 1", "\"defname\":\"analyze\"",
             WEIR_FIELD(ExplainStmt, pg::is(x.query, T_SelectStmt) && pg::ListOf<>(x.options).size() == 1)},
            {"CopyStmt", T_CopyStmt, "COPY a FROM STDIN", "\"is_from\":true",
             WEIR_FIELD(CopyStmt, x.is_from && !x.is_program && x.filename == nullptr && x.relation != nullptr)},
            {"CopyStmt", T_CopyStmt, "COPY (SELECT 1) TO PROGRAM 'x'", "\"is_program\":true",
             WEIR_FIELD(CopyStmt,
                        !x.is_from && x.is_program && x.filename != nullptr && pg::is(x.query, T_SelectStmt))},
            {"FetchStmt", T_FetchStmt, "FETCH a"},
            {"ClosePortalStmt", T_ClosePortalStmt, "CLOSE a"},
            {"ConstraintsSetStmt", T_ConstraintsSetStmt, "SET CONSTRAINTS ALL DEFERRED"},
            {"ListenStmt", T_ListenStmt, "LISTEN a"},
            {"UnlistenStmt", T_UnlistenStmt, "UNLISTEN a"},
            {"NotifyStmt", T_NotifyStmt, "NOTIFY a"},
            {"LoadStmt", T_LoadStmt, "LOAD 'a'"},
            {"LockStmt", T_LockStmt, "LOCK a", "\"relations\"",
             WEIR_FIELD(LockStmt, pg::ListOf<>(x.relations).size() == 1)},
            {"DoStmt", T_DoStmt, "DO 'x'"},
            {"CallStmt", T_CallStmt, "CALL a()"},
            {"CheckPointStmt", T_CheckPointStmt, "CHECKPOINT"},

            {"CreateStmt", T_CreateStmt, "CREATE TEMP TABLE a (b int REFERENCES c) INHERITS (d)", "\"inhRelations\"",
             WEIR_FIELD(CreateStmt, x.relation->relpersistence == 't' && pg::ListOf<>(x.inhRelations).size() == 1 &&
                                        pg::ListOf<>(x.tableElts).size() == 1)},
            {"CreateForeignTableStmt", T_CreateForeignTableStmt, "CREATE FOREIGN TABLE a () SERVER b",
             "\"servername\":\"b\"", WEIR_FIELD(CreateForeignTableStmt, pg::text(x.base.relation->relname) == "a")},
            {"CreateTableAsStmt", T_CreateTableAsStmt, "CREATE TABLE a AS SELECT 1", "\"into\"",
             WEIR_FIELD(CreateTableAsStmt, pg::text(x.into->rel->relname) == "a" && pg::is(x.query, T_SelectStmt))},
            {"ViewStmt", T_ViewStmt, "CREATE VIEW a AS SELECT 1", "\"view\"",
             WEIR_FIELD(ViewStmt, pg::text(x.view->relname) == "a" && pg::is(x.query, T_SelectStmt))},
            {"RefreshMatViewStmt", T_RefreshMatViewStmt, "REFRESH MATERIALIZED VIEW a", "\"relation\"",
             WEIR_FIELD(RefreshMatViewStmt, pg::text(x.relation->relname) == "a")},
            {"IndexStmt", T_IndexStmt, "CREATE INDEX ON a (b)", "\"relation\"",
             WEIR_FIELD(IndexStmt, pg::text(x.relation->relname) == "a")},
            {"CreateStatsStmt", T_CreateStatsStmt, "CREATE STATISTICS s ON a, b FROM c", "\"relations\"",
             WEIR_FIELD(CreateStatsStmt, pg::ListOf<>(x.relations).size() == 1)},
            {"CreateSeqStmt", T_CreateSeqStmt, "CREATE SEQUENCE a OWNED BY b.c", "\"defname\":\"owned_by\"",
             WEIR_FIELD(CreateSeqStmt, pg::text(x.sequence->relname) == "a" && pg::ListOf<>(x.options).size() == 1)},
            {"AlterSeqStmt", T_AlterSeqStmt, "ALTER SEQUENCE a CYCLE", "\"sequence\"",
             WEIR_FIELD(AlterSeqStmt, pg::text(x.sequence->relname) == "a")},
            {"CreateTrigStmt", T_CreateTrigStmt, "CREATE TRIGGER a AFTER INSERT ON b EXECUTE FUNCTION c()",
             "\"relation\"", WEIR_FIELD(CreateTrigStmt, pg::text(x.relation->relname) == "b")},
            {"CreatePolicyStmt", T_CreatePolicyStmt, "CREATE POLICY a ON b USING (c)", "\"table\"",
             WEIR_FIELD(CreatePolicyStmt, pg::text(x.table->relname) == "b" && pg::is(x.qual, T_ColumnRef))},
            {"AlterPolicyStmt", T_AlterPolicyStmt, "ALTER POLICY a ON b USING (c)", "\"table\"",
             WEIR_FIELD(AlterPolicyStmt, pg::text(x.table->relname) == "b" && pg::is(x.qual, T_ColumnRef))},
            {"AlterTableStmt", T_AlterTableStmt, "ALTER TABLE a ATTACH PARTITION b DEFAULT",
             "\"objtype\":\"OBJECT_TABLE\"",
             WEIR_FIELD(AlterTableStmt, x.objtype == OBJECT_TABLE && pg::text(x.relation->relname) == "a" &&
                                            pg::ListOf<>(x.cmds).size() == 1 &&
                                            pg::is(pg::ListOf<AlterTableCmd>(x.cmds)[0]->def, T_PartitionCmd))},
            {"RenameStmt", T_RenameStmt, "ALTER INDEX a RENAME TO b", "\"renameType\":\"OBJECT_INDEX\"",
             WEIR_FIELD(RenameStmt, x.renameType == OBJECT_INDEX && x.relation != nullptr)},
            {"AlterObjectSchemaStmt", T_AlterObjectSchemaStmt, "ALTER TABLE a SET SCHEMA b",
             "\"objectType\":\"OBJECT_TABLE\"",
             WEIR_FIELD(AlterObjectSchemaStmt, pg::text(x.relation->relname) == "a")},
            {"DropStmt", T_DropStmt, "DROP TABLE a.b, c", "\"removeType\":\"OBJECT_TABLE\"",
             WEIR_FIELD(DropStmt, x.removeType == OBJECT_TABLE && pg::ListOf<>(x.objects).size() == 2 &&
                                      pg::is(pg::ListOf<>(x.objects)[0], T_List))},
            {"DropStmt", T_DropStmt, "DROP TRIGGER a ON b", "\"removeType\":\"OBJECT_TRIGGER\"",
             WEIR_FIELD(DropStmt, x.removeType == OBJECT_TRIGGER)},
            {"CommentStmt", T_CommentStmt, "COMMENT ON COLUMN a.b IS 'c'", "\"objtype\":\"OBJECT_COLUMN\"",
             WEIR_FIELD(CommentStmt, x.objtype == OBJECT_COLUMN && pg::is(x.object, T_List))},
            {"GrantStmt", T_GrantStmt, "GRANT SELECT ON a TO b",
             "\"targtype\":\"ACL_TARGET_OBJECT\",\"objtype\":\"OBJECT_TABLE\"",
             WEIR_FIELD(GrantStmt, x.targtype == ACL_TARGET_OBJECT && x.objtype == OBJECT_TABLE &&
                                       pg::is(pg::ListOf<>(x.objects)[0], T_RangeVar))},
            {"TruncateStmt", T_TruncateStmt, "TRUNCATE a CASCADE", "\"behavior\":\"DROP_CASCADE\"",
             WEIR_FIELD(TruncateStmt, x.behavior == DROP_CASCADE && pg::ListOf<>(x.relations).size() == 1)},
            {"VacuumStmt", T_VacuumStmt, "ANALYZE a", "\"rels\"",
             WEIR_FIELD(VacuumStmt, pg::ListOf<>(x.rels).size() == 1)},
            {"ClusterStmt", T_ClusterStmt, "CLUSTER a", "\"relation\"", WEIR_FIELD(ClusterStmt, x.relation != nullptr)},
            {"ReindexStmt", T_ReindexStmt, "REINDEX TABLE a", "\"kind\":\"REINDEX_OBJECT_TABLE\"",
             WEIR_FIELD(ReindexStmt, x.kind == REINDEX_OBJECT_TABLE && x.relation != nullptr)},
};

#undef WEIR_FIELD

// The library's own view of a statement; only for the fixed texts above.
std::string json_of(const char* sql) {
  PgQueryParseResult result = pg_query_parse(sql);
  std::string json = result.error != nullptr || result.parse_tree == nullptr ? "" : result.parse_tree;
  pg_query_free_parse_result(result);
  return json;
}

const Node* first_with(Node* root, NodeTag tag) {
  std::vector<Node*> pending{root};
  for (std::size_t i = 0; i < pending.size(); ++i) {
    Node* node = pending[i];
    if (node->type == tag) return node;
    if (pg::walker_knows(node->type)) pg::children_of(node, pending);
  }
  return nullptr;
}

// Top-level fields such as "into" are printed without the node's name.
bool names_node(const std::string& json, std::string_view node) {
  if (json.find(concat("\"", node, "\"")) != std::string::npos) return true;
  return (node == "IntoClause" && json.find("\"intoClause\"") != std::string::npos) ||
         (node == "WithClause" && json.find("\"withClause\"") != std::string::npos) ||
         (node == "WindowDef" && json.find("\"over\"") != std::string::npos);
}

bool passes(const Probe& probe) {
  const std::string json = json_of(probe.sql);  // before: memory contexts do not nest
  const pg::ParsedText parsed{std::string(probe.sql)};
  const auto statements = parsed.statements();
  if (statements.size() != 1) return false;
  const Node* node = first_with(statements[0]->stmt, probe.tag);
  return node != nullptr && names_node(json, probe.node) && json.find(probe.json) != std::string::npos &&
         (probe.holds == nullptr || probe.holds(node));
}

}  // namespace

Result<void> self_test() {
  for (const Probe& probe : kProbes) {
    if (passes(probe)) continue;
    return Error(sqlstate::kInternal,
                 concat("libpg_query does not fit the PostgreSQL headers that Weir was built with: ", probe.node,
                        " of \"", probe.sql, "\""),
                 "Build Weir with libpg_query and postgresql-server-dev of the same major version (15).");
  }
  return {};
}

}  // namespace weir::router
