#include "router/classify.hpp"

#include <array>

#include "base/strings.hpp"

namespace weir::router {
namespace {

// BEGIN READ ONLY. Of several the last counts, as in PostgreSQL.
bool says_read_only(const List* options) {
  bool read_only = false;
  for (const DefElem* option : pg::ListOf<DefElem>(options)) {
    if (pg::text(option->defname) != "transaction_read_only") continue;
    const auto* value = pg::as<A_Const>(option->arg, T_A_Const);
    read_only = value != nullptr && value->val.node.type == T_Integer && value->val.ival.ival != 0;
  }
  return read_only;
}

void transaction(const TransactionStmt& stmt, Plan& plan) {
  plan.target = Target::transaction;
  plan.setting = pg::text(stmt.savepoint_name);
  plan.chain = stmt.chain;
  switch (stmt.kind) {
    case TRANS_STMT_BEGIN:
    case TRANS_STMT_START:
      plan.verb = Verb::begin;
      plan.begin_read_only = says_read_only(stmt.options);
      return;
    case TRANS_STMT_COMMIT:
      plan.verb = Verb::commit;
      return;
    case TRANS_STMT_ROLLBACK:
      plan.verb = Verb::rollback;
      return;
    case TRANS_STMT_SAVEPOINT:
      plan.verb = Verb::savepoint;
      return;
    case TRANS_STMT_RELEASE:
      plan.verb = Verb::release_savepoint;
      return;
    case TRANS_STMT_ROLLBACK_TO:
      plan.verb = Verb::rollback_to_savepoint;
      return;
    case TRANS_STMT_PREPARE:
    case TRANS_STMT_COMMIT_PREPARED:
    case TRANS_STMT_ROLLBACK_PREPARED:
      plan.verb = Verb::utility;
      plan.setting.clear();
      plan.ends_transaction = stmt.kind == TRANS_STMT_PREPARE;
      return;
  }
}

void set_effects(Plan& plan, Verb verb, Effects effects) {
  plan.verb = verb;
  plan.effects = effects;
}

void variable_set(const VariableSetStmt& stmt, Plan& plan) {
  constexpr Effects kAsked{.sets = true};
  constexpr Effects kReplayed{.taints = true};  // the session knows the setting, and replays it elsewhere
  plan.target = Target::transaction;
  plan.setting = ascii_lower(pg::text(stmt.name));
  switch (stmt.kind) {
    case VAR_SET_VALUE:
      if (stmt.is_local) return set_effects(plan, Verb::set_local, {});
      return set_effects(plan, Verb::set, kReplayed);
    case VAR_SET_DEFAULT:
      if (stmt.is_local) return set_effects(plan, Verb::set_local, {});
      return set_effects(plan, Verb::reset, kReplayed);
    case VAR_RESET:
      return set_effects(plan, Verb::reset, kReplayed);
    case VAR_RESET_ALL:
      plan.setting.clear();
      return set_effects(plan, Verb::reset_all, kReplayed);
    case VAR_SET_MULTI:
      // "transaction", "transaction snapshot", "session characteristics"
      if (plan.setting.starts_with("transaction")) return set_effects(plan, Verb::set_transaction, {});
      return set_effects(plan, Verb::utility, kAsked);
    case VAR_SET_CURRENT:
      return set_effects(plan, Verb::utility, kAsked);
  }
}

}  // namespace

bool classify_control(const Node* stmt, Plan& plan) {
  switch (stmt->type) {
    case T_TransactionStmt:
      transaction(*reinterpret_cast<const TransactionStmt*>(stmt), plan);
      return true;
    case T_VariableSetStmt:
      variable_set(*reinterpret_cast<const VariableSetStmt*>(stmt), plan);
      return true;
    case T_DiscardStmt:
      if (reinterpret_cast<const DiscardStmt*>(stmt)->target != DISCARD_ALL) return false;
      plan.verb = Verb::discard_all;
      plan.target = Target::transaction;
      return true;
    case T_DeallocateStmt: {
      const char* name = reinterpret_cast<const DeallocateStmt*>(stmt)->name;
      plan.verb = name == nullptr ? Verb::deallocate_all : Verb::deallocate;
      plan.setting = pg::text(name);
      plan.target = Target::transaction;
      plan.prepared.push_back({.kind = name == nullptr ? PreparedUse::Kind::deallocate_all : PreparedUse::Kind::deallocate,
                               .name = plan.setting});
      return true;
    }
    case T_ListenStmt:
      plan.verb = Verb::listen;
      plan.setting = pg::text(reinterpret_cast<const ListenStmt*>(stmt)->conditionname);
      plan.target = Target::transaction;
      plan.effects.taints = true;
      plan.channels.push_back({.verb = plan.verb, .name = plan.setting});
      return true;
    case T_UnlistenStmt:
      plan.verb = Verb::unlisten;
      plan.setting = pg::text(reinterpret_cast<const UnlistenStmt*>(stmt)->conditionname);
      plan.target = Target::transaction;
      plan.effects.taints = true;
      plan.channels.push_back({.verb = plan.verb, .name = plan.setting});
      return true;
    case T_ConstraintsSetStmt:
      plan.verb = Verb::set_constraints;
      plan.target = Target::transaction;
      return true;
    case T_VariableShowStmt:
      plan.verb = Verb::query;
      plan.target = Target::no_table;  // the session's settings are replayed where it runs
      return true;
    default:
      return false;
  }
}

bool is_temporary(const RangeVar& var) {
  return var.relpersistence == 't' || pg::text(var.schemaname).starts_with("pg_temp");
}

namespace {

bool is_space(char c) { return c == ' ' || c == '\t' || c == '\n' || c == '\r' || c == '\f' || c == '\v'; }
bool is_letter(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); }

// Blanks and comments at the front are left out.
std::string_view skip_blanks(std::string_view sql) {
  for (;;) {
    while (!sql.empty() && (is_space(sql[0]) || sql[0] == ';' || sql[0] == '(')) sql.remove_prefix(1);
    if (sql.starts_with("--")) {
      const auto end = sql.find('\n');
      sql.remove_prefix(end == std::string_view::npos ? sql.size() : end);
    } else if (sql.starts_with("/*")) {
      const auto end = sql.find("*/", 2);
      sql.remove_prefix(end == std::string_view::npos ? sql.size() : end + 2);
    } else {
      return sql;
    }
  }
}

std::string next_word(std::string_view& sql) {
  sql = skip_blanks(sql);
  std::string word;
  while (!sql.empty() && is_letter(sql[0])) {
    word.push_back(sql[0] >= 'a' ? static_cast<char>(sql[0] - 'a' + 'A') : sql[0]);
    sql.remove_prefix(1);
  }
  return word;
}

}  // namespace

std::string construct_of(std::string_view sql) {
  std::string first = next_word(sql);
  if (first.empty()) return "this statement";
  constexpr std::array<std::string_view, 7> kTwoWords{"CREATE",  "ALTER",    "DROP",  "REFRESH",
                                                      "COMMENT", "REASSIGN", "IMPORT"};
  constexpr std::array<std::string_view, 8> kBetween{"OR",     "REPLACE",  "TEMP",  "TEMPORARY",
                                                     "UNIQUE", "UNLOGGED", "LOCAL", "GLOBAL"};
  bool two = false;
  for (const std::string_view word : kTwoWords) two |= word == first;
  while (two) {
    const std::string word = next_word(sql);
    bool between = false;
    for (const std::string_view b : kBetween) between |= b == word;
    if (between) continue;
    return word.empty() ? first : concat(first, " ", word);
  }
  return first;
}

}  // namespace weir::router
