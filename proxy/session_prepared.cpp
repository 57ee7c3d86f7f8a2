// Prepared statements in SQL: PREPARE, EXECUTE, DEALLOCATE, EXPLAIN EXECUTE and CREATE TABLE AS EXECUTE.
//
// They share one namespace with the protocol's statements (StatementNames). PREPARE becomes a Parse under the name that servers know;
// in EXECUTE the name, and nothing else, is replaced in the client's text. A server that lacks the statement is sent its Parse first, in the
// same packet. https://www.postgresql.org/docs/15/sql-prepare.html
#include <cctype>
#include <cstdlib>

#include "base/strings.hpp"
#include "proxy/proxy.hpp"
#include "proxy/scatter_checks.hpp"
#include "proxy/session.hpp"
#include "router/key_expression.hpp"
#include "router/scatter_plan.hpp"

namespace weir::proxy {

using router::Plan;
using router::PreparedPlace;
using router::PreparedUse;
using router::Target;
using router::Verb;
using Kind = PreparedUse::Kind;

namespace {

Error unknown_statement(std::string_view name) {
  return {sqlstate::kInvalidStatementName, concat("prepared statement \"", name, "\" does not exist")};
}

Error duplicate_statement(std::string_view name) {
  return {sqlstate::kDuplicatePreparedStatement, concat("prepared statement \"", name, "\" already exists")};
}

Error not_readable() {
  return {sqlstate::kFeatureNotSupported, "the name of a prepared statement is written in a way that Weir does not read",
          "Write it as a plain word or in double quotes, and a function's BEGIN ATOMIC body in a string of its own."};
}

std::string as_literal(std::string_view text) {
  std::string out = "E'";
  for (const char c : text) {
    if (c == '\'' || c == '\\') out += c;
    out += c;
  }
  return out + "'";
}

// "int, numeric(10,2)" at its outer commas.
std::vector<std::string_view> split_types(std::string_view names) {
  std::vector<std::string_view> parts;
  std::size_t from = 0;
  int depth = 0;
  bool quoted = false;
  for (std::size_t i = 0; i < names.size(); ++i) {
    if (names[i] == '"') quoted = !quoted;
    if (quoted) continue;
    if (names[i] == '(' || names[i] == '[') ++depth;
    if (names[i] == ')' || names[i] == ']') --depth;
    if (names[i] == ',' && depth == 0) {
      parts.push_back(names.substr(from, i - from));
      from = i + 1;
    }
  }
  parts.push_back(names.substr(from));
  return parts;
}

// Needs a parameter of EXECUTE that only a server can compute.
bool binds_unknown(const Plan& plan, const PreparedUse& use) {
  bool unknown = false;
  for (const router::Binding& binding : plan.bindings)
    for (const router::KeySource& source : binding.values) {
      router::for_each_leaf(source, [&](const router::KeySource& leaf) {
        const bool parameter = leaf.kind == router::KeySource::Kind::parameter || leaf.kind == router::KeySource::Kind::parameter_array;
        unknown |= parameter && (leaf.index >= use.arguments.size() || !use.arguments[leaf.index].known);
      });
    }
  return unknown;
}

}  // namespace

// ---- planning ----

// The server's transaction has failed, and nothing in the batch ends it.
bool Session::is_aborted() const { return transaction_ == Transaction::failed && !ends_failed_transaction(); }

bool Session::fits_client(std::string_view name, const PreparedStatement& statement) {
  const std::size_t more = kStatementOverhead + name.size() + statement.sql.size();
  if (names_.bytes() + more <= kMaxClientPreparedBytes) return true;
  refuse({sqlstate::kConfigurationLimit,
          concat("the prepared statements of this client take more than ", std::to_string(kMaxClientPreparedBytes), " bytes"),
          "DEALLOCATE statements that are no longer used."});
  return false;
}

void Session::plan_prepared_query(Op& op, std::string_view sql) {
  raw_ = false;
  if (is_aborted()) return refuse(transaction_is_aborted());
  switch (op.plan->verb) {
    case Verb::prepare: return plan_prepare(op, sql);
    case Verb::deallocate:
    case Verb::deallocate_all: return plan_deallocate(op);
    default: static_cast<void>(name_on_server(op, sql));
  }
}

void Session::plan_prepare(Op& op, std::string_view sql) {
  const std::string& name = op.plan->prepared.front().name;
  const auto places = router::find_prepared(sql, op.plan->prepared);
  if (!places) return refuse(not_readable());
  if (names_.find(name)) return refuse(duplicate_statement(name));
  const PreparedPlace& place = places->front();
  auto statement = std::make_shared<PreparedStatement>();
  statement->sql = place.query.in(sql);
  statement->type_names = place.types.in(sql);
  if (!fits_client(name, *statement)) return;
  replan(*statement);
  if (statement->plan->target == Target::refused) return refuse(*statement->plan->refusal);
  if (statement->plan->target == Target::scatter) return refuse(statement->plan->scatter->refusal);
  if (statement->type_names.empty()) {
    op.interned = intern(*statement);
    if (!op.interned) return refuse(too_many_texts());
    statement->id = op.interned->id;
  } else {
    if (mid_sequence_ || (transaction_ == Transaction::held && set_locally_))
      return refuse({sqlstate::kFeatureNotSupported, "PREPARE with parameter types cannot be sent here, before their OIDs are known",
                     "Send it behind a Sync, and not directly behind BEGIN and SET LOCAL."});
    unresolved_types_ = true;
  }
  op.prepared = std::make_unique<PreparedText>();
  op.prepared->edits.push_back({0, 0, static_cast<std::ptrdiff_t>(characters_in(sql.substr(0, place.query.offset)))});
  op.statement = statement;
  op.name = name;
  names_.add(name, {op.statement, op.interned});
}

// Within a pipeline: what follows sees the name gone.
void Session::plan_deallocate(Op& op) {
  op.local = 'C';
  op.name = op.plan->setting;
  if (op.plan->verb == Verb::deallocate_all) {
    op.prepared = std::make_unique<PreparedText>();
    op.prepared->before_deallocate_all = std::make_unique<StatementNames>(std::exchange(names_, {}));
    return;
  }
  const auto* entry = names_.find(op.name);
  if (!entry) return refuse(unknown_statement(op.name));
  op.statement = entry->statement;
  op.interned = entry->interned;
  names_.remove(op.name);
}

// The Close or DEALLOCATE did not happen.
void Session::restore_names(Op& op) {
  const bool removed = op.type == 'C' || (op.plan && op.plan->verb == Verb::deallocate && op.local == 'C');
  if (removed && op.statement) names_.add(op.name, {op.statement, op.interned});
  if (op.prepared && op.prepared->before_deallocate_all) names_ = std::move(*std::exchange(op.prepared->before_deallocate_all, nullptr));
}

// What `name` means at this place of the text, planned for the session's present settings.
std::optional<StatementNames::Entry> Session::find_for_use(const PreparedText& text, std::string_view name) {
  for (auto use = text.uses.rbegin(); use != text.uses.rend(); ++use) {
    if (use->kind == Kind::deallocate_all) return std::nullopt;
    if (use->name != name || use->kind == Kind::execute) continue;
    if (use->kind == Kind::deallocate) return std::nullopt;
    return StatementNames::Entry{use->prepared, use->interned};
  }
  Op op;
  op.statement = nullptr;
  if (!names_.find(name)) return std::nullopt;
  if (!find_statement(op, name)) return std::nullopt;
  return StatementNames::Entry{op.statement, op.interned};
}

// PREPARE in a string of several: the server runs it as it is, under a name that is this text's alone.
bool Session::prepare_in_text(PreparedText::Use& use, const PreparedPlace& place, std::string_view sql) {
  auto statement = std::make_shared<PreparedStatement>();
  statement->sql = place.query.in(sql);
  statement->type_names = place.types.in(sql);
  if (!fits_client(use.name, *statement)) return false;
  replan(*statement);
  unresolved_types_ |= !statement->type_names.empty();
  use.interned = intern_statement(concat("text ", std::to_string(worker_.next_unnamed())), statement->sql, {});
  if (!use.interned) {
    refuse(too_many_texts());
    return false;
  }
  statement->id = use.interned->id;
  use.prepared = std::move(statement);
  return true;
}

// One name in the text. False: refused.
bool Session::plan_use(PreparedText& text, const PreparedUse& planned, const PreparedPlace& place, std::string_view sql, bool alone) {
  PreparedText::Use use;
  use.kind = planned.kind;
  use.statement = planned.statement;
  use.name = planned.name;
  if (use.kind != Kind::deallocate_all) {
    const auto known = find_for_use(text, use.name);
    if (work_->decision.error) return false;
    if (use.kind == Kind::prepare) {
      if (known) return refuse(duplicate_statement(use.name)), false;
      if (!prepare_in_text(use, place, sql)) return false;
    } else if (known && known->interned) {
      use.prepared = known->statement;
      use.interned = known->interned;
      if (use.kind == Kind::execute && use.prepared->filled)
        return refuse({sqlstate::kFeatureNotSupported, concat("EXECUTE of prepared statement \"", use.name, "\", whose rows lack their sharding key"),
                       "Bind and execute it by the protocol, as drivers do."}),
               false;
      if (use.kind == Kind::execute && use.prepared->plan->path)
        return refuse({sqlstate::kFeatureNotSupported, concat("EXECUTE of prepared statement \"", use.name, "\", which sets search_path"), "Use SET search_path."}),
               false;
      if (use.kind == Kind::execute) count_in_executed(*use.prepared, planned);
    } else if (known) {
      return refuse({sqlstate::kFeatureNotSupported, concat("prepared statement \"", use.name, "\" cannot be executed here"),
                     "EXECUTE runs queries, not EXECUTE, PREPARE or DEALLOCATE; a statement prepared in the same pipeline runs behind its Sync."}),
             false;
    } else if (alone || is_server_statement_name(use.name)) {
      return refuse(unknown_statement(use.name)), false;
    }
  }
  text.uses.push_back(std::move(use));
  return !work_->decision.error;
}

// The same text with the names that servers know. False: refused.
bool Session::name_on_server(Op& op, std::string_view sql) {
  const auto places = router::find_prepared(sql, op.plan->prepared);
  if (!places) return refuse(not_readable()), false;
  const bool alone = op.plan->verb != Verb::multi;
  if (!alone && database_->state->sharded())
    return refuse({sqlstate::kFeatureNotSupported, "PREPARE, EXECUTE or DEALLOCATE in one string with other statements", "Send it alone."}), false;
  auto text = std::make_unique<PreparedText>();
  std::size_t at = 0;
  for (std::size_t i = 0; i < places->size(); ++i) {
    const PreparedPlace& place = (*places)[i];
    if (!plan_use(*text, op.plan->prepared[i], place, sql, alone)) return false;
    const PreparedText::Use& use = text->uses.back();
    if (!use.interned) continue;
    text->sql += sql.substr(at, place.name.offset - at);
    const std::string name = server_statement_name(use.interned->id);
    const auto shift = static_cast<std::ptrdiff_t>(characters_in(place.name.in(sql))) - static_cast<std::ptrdiff_t>(name.size());
    text->edits.push_back({characters_in(text->sql), name.size(), shift});
    text->sql += name;
    at = place.name.offset + place.name.size;
  }
  text->sql += sql.substr(at);
  op.prepared = std::move(text);
  return true;
}

// Where the executed statement runs, with the arguments that the text gives it.
void Session::count_in_executed(const PreparedStatement& statement, const PreparedUse& use) {
  const Plan& plan = *statement.plan;
  if (plan.target == Target::keyed && binds_unknown(plan, use))
    return refuse({sqlstate::kFeatureNotSupported, concat("EXECUTE ", use.name, " gives the sharding key as an expression"),
                   "Write the key's value as a plain number or string, or use the protocol's prepared statements, as drivers do."});
  auto& parameters = worker_.parameters;
  parameters.clear();
  for (const PreparedUse::Argument& a : use.arguments)
    parameters.push_back({a.is_null, false, {reinterpret_cast<const std::uint8_t*>(a.text.data()), a.text.size()}});
  const router::Arguments arguments{statement.sql, statement.literals, parameters, statement.types, server_encoding_};
  observe_route(statement.observed.get(), arguments);
  count_in(plan, &arguments);
}

// ---- planning: the extended protocol ----

// Its Parse says nothing that a server must hear: PREPARE and DEALLOCATE are ours, and what EXECUTE means is known when it is bound.
void Session::plan_prepared_parse(Op& op) {
  raw_ = false;
  if (is_aborted()) return refuse(transaction_is_aborted());
  op.local = '1';
  if (op.statement) {
    names_.add(op.name, {op.statement, nullptr});
  } else {
    has_unnamed_ = true;
    unnamed_->id = worker_.next_unnamed();
  }
}

// The op is about the client's EXECUTE under the name that servers have for what it executes: a statement of its own to them.
void Session::execute_as(Op& op, const PreparedStatement& statement) {
  if (!name_on_server(op, statement.sql)) return;
  auto renamed = std::make_shared<PreparedStatement>(statement);
  renamed->sql = op.prepared->sql;
  op.interned = intern(*renamed);
  if (!op.interned) return refuse(too_many_texts());
  renamed->id = op.interned->id;
  op.statement = std::move(renamed);
}

// As in PostgreSQL, that is no error before it runs.
bool Session::executes_unknown(const Plan& plan) const {
  return !runs_in_proxy(plan) && !names_.find(plan.prepared.front().name);
}

void Session::plan_prepared_bind(Op& op, const wire::BindView& bind, const PreparedStatement& statement) {
  raw_ = false;
  if (is_aborted()) return refuse(transaction_is_aborted());
  Portal* const portal = bind_portal(bind.portal, op.plan, statement.sql);
  if (!portal) return;
  if (executes_unknown(*op.plan)) {
    portal->executes_name = op.plan->prepared.front().name;
  } else if (!runs_in_proxy(*op.plan)) {
    op.name = bind.statement;   // for errors: the server is told another
    execute_as(op, statement);
    if (work_->decision.error) return;
    portal->executes = op.prepared->uses.front().interned;
    portal->executes_name = op.prepared->uses.front().name;
    const router::Arguments none{statement.sql, {}, {}, {}, server_encoding_};
    return count_in(*op.plan, &none);
  }
  if (bind.parameters != statement.types.size())
    return refuse({sqlstate::kProtocolViolation,
                   concat("bind message supplies ", std::to_string(bind.parameters), " parameters, but prepared statement \"", bind.statement,
                          "\" requires ", std::to_string(statement.types.size()))});
  op.local = '2';
}

void Session::plan_prepared_describe(Op& op, const PreparedStatement& statement) {
  raw_ = false;
  if (is_aborted()) return refuse(transaction_is_aborted());
  if (runs_in_proxy(*op.plan) || (op.plan->verb == Verb::execute && executes_unknown(*op.plan)))
    op.local = 't';
  else
    execute_as(op, statement);
}

void Session::plan_prepared_execute(Op& op, const Portal& portal) {
  raw_ = false;
  if (is_aborted()) return refuse(transaction_is_aborted());
  work_->decision.runs = true;
  if (op.plan->verb == Verb::prepare) {
    work_->decision.read_only = false;
    return plan_prepare(op, *portal.sql);
  }
  if (runs_in_proxy(*op.plan)) return plan_deallocate(op);
  op.prepared = std::make_unique<PreparedText>();
  PreparedText::Use use;
  use.name = portal.executes_name;
  use.interned = portal.executes;
  const auto* entry = names_.find(use.name);
  if (!entry || entry->interned != use.interned) return refuse(unknown_statement(use.name));
  use.prepared = entry->statement;
  op.prepared->uses.push_back(std::move(use));
}

// ---- parameter types by name ----

// Asks the leased server for the OIDs of the types that PREPARE (...) names.
net::Task<Result<std::vector<std::uint32_t>>> Session::types_by_name(std::string_view names) {
  std::string sql = "SELECT ";
  for (const std::string_view name : split_types(names)) {
    if (sql.back() == 'd') sql += ", ";
    sql += concat(as_literal(name), "::pg_catalog.regtype::pg_catalog.oid");
  }
  std::vector<std::string> row;
  own_row_ = &row;
  const auto asked = co_await run_own(sql);
  own_row_ = nullptr;
  if (!asked) co_return asked.error();
  std::vector<std::uint32_t> types;
  for (const std::string& oid : row) types.push_back(static_cast<std::uint32_t>(std::strtoul(oid.c_str(), nullptr, 10)));
  if (database_->state->sharded())
    for (const std::uint32_t type : types)
      if (type >= kFirstUserType)
        co_return Error(sqlstate::kFeatureNotSupported, concat("PREPARE (", names, ") names a type that is not PostgreSQL's own"),
                        "Its OID differs from shard to shard: leave the type out, or cast the parameter in the query.");
  co_return types;
}

// Everything in the batch that means `statement`.
void Session::types_are_known(PreparedStatement& statement, std::vector<std::uint32_t> types) {
  statement.types = std::move(types);
  statement.type_names.clear();
  replan(statement);
}

net::Task<Result<void>> Session::resolve_types() {
  unresolved_types_ = false;
  for (std::size_t i = 0; i < work_->ops.size(); ++i) {
    if (work_->ops[i].prepared)
      for (std::size_t u = 0; u < work_->ops[i].prepared->uses.size(); ++u) {
        const PreparedRef statement = work_->ops[i].prepared->uses[u].prepared;
        if (!statement || statement->type_names.empty()) continue;
        auto types = co_await types_by_name(statement->type_names);
        if (!types) co_return types.take_error();
        types_are_known(*statement, *types);
        work_->ops[i].prepared->uses[u].interned->types = statement->types;
      }
    const PreparedRef statement = work_->ops[i].statement;
    if (!statement || statement->type_names.empty()) continue;
    auto types = co_await types_by_name(statement->type_names);
    if (!types) co_return types.take_error();
    types_are_known(*statement, *types);
    const InternedRef interned = intern(*statement);
    if (!interned) co_return too_many_texts();
    statement->id = interned->id;
    for (Op& op : work_->ops)
      if (op.statement == statement) op.interned = interned;
    names_.add(work_->ops[i].name, {statement, interned});
  }
  co_return Result<void>{};
}

}  // namespace weir::proxy
