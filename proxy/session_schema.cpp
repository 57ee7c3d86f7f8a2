// What DDL of a transaction has made is known to nobody else before COMMIT. Behind it the session reads the catalog on the transaction's own server of
// the home shard, and plans by it (own_router_, with a plan cache of its own) until the transaction ends or goes back to a savepoint.
#include <algorithm>

#include "base/strings.hpp"
#include "proxy/catalogs.hpp"
#include "proxy/proxy.hpp"
#include "proxy/session.hpp"
#include "proxy/spread.hpp"
#include "schema/quote.hpp"

namespace weir::proxy {

using router::Plan;
using router::Verb;

namespace {

constexpr std::size_t kOwnCache = 256 << 10;   // bytes of plans; few are made

// What is set for the queries is undone with the savepoint; an error of one of them spoils nothing.
constexpr std::string_view kBegin = "SAVEPOINT \"weir.catalog\"; SET LOCAL statement_timeout = 0; SET LOCAL quote_all_identifiers = off; "
                                    "SELECT pg_catalog.set_config('client_encoding', pg_catalog.current_setting('server_encoding'), true)";
constexpr std::string_view kPath = "SET LOCAL search_path = ";
constexpr std::string_view kEnd = "ROLLBACK TO SAVEPOINT \"weir.catalog\"; RELEASE SAVEPOINT \"weir.catalog\"";

// Statements that are understood without the catalog.
bool is_plain(Verb verb) {
  constexpr Verb kPlain[] = {Verb::empty,     Verb::begin,     Verb::commit,          Verb::rollback,        Verb::savepoint, Verb::release_savepoint,
                             Verb::set_local, Verb::set,       Verb::set_transaction, Verb::reset,           Verb::reset_all, Verb::rollback_to_savepoint,
                             Verb::deallocate, Verb::deallocate_all};
  return std::find(std::begin(kPlain), std::end(kPlain), verb) != std::end(kPlain);
}

std::string path_of(const std::vector<std::string>& schemas) {
  std::string path;
  for (const std::string& schema : schemas) path += concat(path.empty() ? "" : ", ", schema::quote_ident(schema));
  return path.empty() ? "''" : path;
}

template <class Rows>
Result<void> add_rows(schema::CatalogBuilder& builder, std::size_t query, const Rows& rows) {
  for (const auto& cells : rows) {
    schema::CatalogRow row;
    for (const auto& cell : cells) row.push_back(cell ? std::optional<std::string_view>(*cell) : std::nullopt);
    if (auto added = builder.add_row(query, row); !added) return added;
  }
  return Result<void>{};
}

}  // namespace

// A statement of the client's ran, or is about to. It may stand in a string whose BEGIN nobody has confirmed yet: outside of a block the end of its
// transaction forgets this.
void Session::note_schema_change(const Plan& plan) {
  if (!database_->state->sharded()) return;
  const bool changes = plan.changes_schema != router::SchemaChange::none;
  own_schema_stale_ |= changes || (plan.verb == Verb::rollback_to_savepoint && has_own_schema());
  if (plan.verb != Verb::commit && plan.verb != Verb::rollback) return;
  const bool has_changed = own_schema_stale_ || has_own_schema();
  forget_own_schema();
  own_schema_stale_ = has_changed;   // for leave_transaction(); or for another transaction, of the same string or by AND CHAIN
}

void Session::forget_own_schema() {
  own_schema_stale_ = false;
  own_schema_unknown_.reset();
  own_router_.reset();
}

bool Session::must_learn_schema() {
  if (own_router_ && &own_router_->map() != database_->state->map.get()) own_schema_stale_ = true;   // a reload
  const bool has_begun = transaction_ == Transaction::open || (spread_ && spread_->implicit());
  if (!own_schema_stale_ || !has_begun || failed_locally_) return false;
  refresh_context();
  return std::any_of(work_->ops.begin(), work_->ops.end(), [this](const Op& op) { return needs_catalog(op); });
}

bool Session::needs_catalog(const Op& op) {
  const ByteView body = input_.subspan(op.offset + wire::kHeader, op.size - wire::kHeader);
  const auto plan_of = [this](std::string_view sql) { return planner().plan(sql, {}, context()).plan; };
  router::PlanRef plan;
  if (op.type == 'Q') {
    if (const auto sql = wire::read_query(body)) plan = plan_of(*sql);
  } else if (op.type == 'P') {
    if (const auto parse = wire::read_parse(body)) plan = plan_of(parse->query);
  } else if (op.type == 'B') {
    const auto bind = wire::read_bind(body);
    if (!bind) return false;
    const auto* named = names_.find(bind->statement);
    plan = bind->statement.empty() ? unnamed().plan : named ? named->statement->plan : nullptr;
  }
  return plan && !is_plain(plan->verb);
}

// Where it fails, nothing but more DDL is planned by what was known before it.
net::Task<> Session::learn_schema() {
  auto catalog = co_await load_own_catalog();
  forget_own_schema();
  if (!catalog)
    own_schema_unknown_ = Error(sqlstate::kFeatureNotSupported, concat("what this transaction's DDL has made cannot be told: ", catalog.error().message), "COMMIT the DDL first.");
  if (!spread_ && !server_) fail_open_transaction();   // its server was lost
  if (catalog && *catalog) own_router_ = std::make_unique<router::Router>(std::move(*catalog), database_->state->map, router::RouterSettings{.cache_bytes = kOwnCache});
}

// May it name what nobody knows?
std::optional<Error> Session::against_unknown_schema(const Plan& plan) const {
  if ((!in_transaction() && !spread_) || !own_schema_unknown_ || plan.target == router::Target::no_table) return std::nullopt;
  const bool names = plan.verb == Verb::query || plan.verb == Verb::dml || plan.verb == Verb::copy_from || plan.verb == Verb::copy_to || plan.verb == Verb::multi;
  return names ? std::optional(*own_schema_unknown_) : std::nullopt;
}

// Null: there is no server that could be asked.
net::Task<Result<std::shared_ptr<const schema::Catalog>>> Session::load_own_catalog() {
  const bool at_home = spread_ ? spread_->find(schema::kHomeShard) != nullptr : server_ && server_shard_ == schema::kHomeShard;
  if (!at_home) co_return std::shared_ptr<const schema::Catalog>();
  const TopologyRef topology = database_->topology;   // the catalog points into its settings
  const DatabaseState& state = *database_->state;
  schema::CatalogBuilder builder(*state.config);
  const std::vector<std::string> path = database_->router->catalog().default_search_path();
  const auto& queries = schema::catalog_queries();
  Result<void> read{};
  for (const std::string& schema : path)
    if (read) read = builder.add_row(0, {schema});
  auto begun = co_await ask_in_transaction(kBegin);
  if (begun) begun = co_await ask_in_transaction(concat(kPath, path_of(path)));
  if (!begun) read = begun.take_error();
  for (std::size_t q = 1; q < queries.size() && read; ++q) {
    auto rows = co_await ask_in_transaction(queries[q].sql);
    read = rows ? add_rows(builder, q, *rows) : Result<void>(rows.take_error());
  }
  auto ended = co_await ask_in_transaction(kEnd);
  if (!read) co_return read.take_error();
  if (!ended) co_return ended.take_error();
  auto catalog = builder.finish(database_->router->catalog().epoch());
  if (!catalog) co_return catalog.take_error();
  co_return keep_alive({std::move(*catalog), nullptr, {}, 0, 0}, *topology, state).catalog;
}

net::Task<Result<Session::OwnRows>> Session::ask_in_transaction(std::string_view sql) {
  OwnRows rows;
  own_rows_ = &rows;
  Result<void> asked{};
  if (spread_)
    asked = co_await spread_->ask_own(*spread_->find(schema::kHomeShard), sql);
  else if (server_)
    asked = co_await run_own(sql);
  else
    asked = Error(sqlstate::kConnectionFailure, "the server connection was lost");
  own_rows_ = nullptr;
  if (!asked) co_return asked.take_error();
  co_return rows;
}

}  // namespace weir::proxy
