#include "migrate/route.hpp"

#include <iomanip>
#include <pqxx/transaction>

#include "migrate/session.hpp"
#include "router/client/catalog_loader.hpp"
#include "router/client/conninfo.hpp"
#include "router/explain.hpp"
#include "router/key_fill.hpp"
#include "router/router.hpp"
#include "router/scatter_plan.hpp"
#include "router/write_plan.hpp"
#include "schema/bucket_map.hpp"

namespace weir::migrate {

namespace {

using router::KeySource;

std::shared_ptr<const schema::Catalog> catalog_of(const config::Database& database, bool connect) {
  if (!connect) return schema::Catalog::offline(database);
  Session home(database, database.shards.front().name, database.shards.front().primary);
  pqxx::transaction<pqxx::repeatable_read, pqxx::read_only> tx{*home};
  return client::load_catalog(database, tx);
}

schema::BucketMap map_of(const config::Database& database) {
  if (!database.sharding) return {};
  auto map = schema::BucketMap::from(database);
  if (!map) throw Failure(map.error().message);
  return std::move(map).value();
}

std::string_view name_of(router::Target target) {
  switch (target) {
    case router::Target::transaction:
      return "transaction control: the session's shard";
    case router::Target::home:
      return "home shard";
    case router::Target::no_table:
      return "no table: home shard, or the transaction's";
    case router::Target::any:
      return "any shard (reference tables only)";
    case router::Target::named:
      return "the shard that a hint names";
    case router::Target::keyed:
      return "the shard of its key";
    case router::Target::scatter:
      return "every shard";
    case router::Target::refused:
      return "refused";
  }
  return "?";
}

void line(std::ostream& out, std::string_view name, std::string_view value) {
  out << std::left << std::setw(11) << name << value << "\n";
}

// The text a key is read from, and its value where it can be shown: literals with escapes are left to the router.
struct KeyText {
  std::string text;
  std::optional<schema::KeyValue> value;
};

KeyText of_literal(const KeySource& source, const router::Arguments& arguments) {
  const router::Literal& literal = arguments.literals[source.index];
  const std::string text(arguments.sql.substr(literal.offset, literal.length));
  const bool number = literal.kind == router::LiteralClass::int4 || literal.kind == router::LiteralClass::int8 ||
                      literal.kind == router::LiteralClass::numeric;
  if (number) {
    const std::string signed_text = (source.negated ? "-" : "") + text;
    return {signed_text, schema::key_from_number(source.type, signed_text)};
  }
  const std::string inner = text.size() >= 2 ? text.substr(1, text.size() - 2) : "";
  if (literal.kind != router::LiteralClass::string || inner.find('\'') != std::string::npos)
    return {text, std::nullopt};
  return {text, schema::key_from_text(source.type, inner)};
}

KeyText of_parameter(const KeySource& source, const router::Arguments& arguments) {
  const std::string name = "$" + std::to_string(source.index + 1);
  if (source.index >= arguments.parameters.size()) return {name + " (give it with --param)", std::nullopt};
  const router::Parameter& parameter = arguments.parameters[source.index];
  const std::string text = name + " = '" + std::string(as_text(parameter.value)) + "'";
  return {text, schema::key_from_parameter(source.type, source.declared, parameter.binary, parameter.value)};
}

KeyText key_text(const KeySource& source, const router::Arguments& arguments) {
  switch (source.kind) {
    case KeySource::Kind::literal:
      return of_literal(source, arguments);
    case KeySource::Kind::parameter:
      return of_parameter(source, arguments);
    case KeySource::Kind::parameter_array:
      return {"any of $" + std::to_string(source.index + 1), std::nullopt};
    case KeySource::Kind::fixed:
      return {source.value ? source.value->str() : "", source.value};
    case KeySource::Kind::null:
      return {"NULL (no row)", std::nullopt};
    case KeySource::Kind::computed:
      return {"an expression", std::nullopt};
  }
  return {};
}

void print_keys(const config::Database& database, const router::Plan& plan, const router::Arguments& arguments,
                const schema::BucketMap& map, std::ostream& out) {
  for (const auto& binding : plan.bindings) {
    for (const auto& source : binding.values) {
      const KeyText key = key_text(source, arguments);
      std::string text = binding.table + ": " + key.text;
      if (key.value)
        text += " -> bucket " + std::to_string(map.bucket(*key.value)) + " -> shard " +
                database.shards[map.shard_of(*key.value)].name;
      line(out, "key", text);
    }
  }
}

std::string effects_text(const router::Effects& effects) {
  std::string text;
  if (effects.taints) text += "; taints the server connection (DISCARD ALL before another client has it)";
  if (effects.pins) text += "; pins it (the client keeps this connection)";
  if (effects.soft) text += "; pins it while there are enough connections";
  if (effects.needs_clean) text += "; needs a connection without others' sequence values";
  if (effects.sets) text += "; may change settings (the server is asked)";
  if (effects.holds) text += "; pins it while that is there (the server is asked)";
  if (effects.opaque) text += "; runs code that may change settings or pin it (the server is asked)";
  if (effects.releases) text += "; may end a pin (the server is asked)";
  return text.empty() ? "none" : text.substr(2);
}

bool print_refusal(const Error& error, std::ostream& out) {
  line(out, "ERROR", std::string(error.code.view()) + ": " + error.message);
  if (!error.detail.empty()) line(out, "DETAIL", error.detail);
  if (!error.hint.empty()) line(out, "HINT", error.hint);
  return false;
}

std::string role_text(const config::Database& database, const config::Shard& shard, const router::Plan& plan) {
  if (plan.primary) return "primary (" + client::conninfo_label(shard.primary) + "): a hint";
  if (!plan.read_only) return "primary (" + client::conninfo_label(shard.primary) + "): not proven read-only";
  if (shard.replicas.empty())
    return "primary (" + client::conninfo_label(shard.primary) + "): the shard has no replica";
  if (database.reads.consistency == config::Consistency::primary)
    return "primary (" + client::conninfo_label(shard.primary) + "): reads.consistency = \"primary\"";
  return "replica outside a transaction, where one is healthy and fresh enough; else primary";
}

void print_shard(const config::Database& database, const router::Plan& plan, const router::Route& route,
                 std::ostream& out) {
  const config::Shard& shard = database.shards[route.shard];
  line(out, "shard", route.any_shard ? "any" : shard.name + " (" + client::conninfo_label(shard.primary) + ")");
  line(out, "role", role_text(database, shard, plan));
}

std::optional<std::uint64_t> rows_of(const router::ScatterPlan& plan, const router::Arguments& arguments) {
  const auto limit = router::value_of(plan.limit, false, arguments), offset = router::value_of(plan.offset, true, arguments);
  if (!limit || !offset || !*limit) return std::nullopt;
  return **limit + offset->value_or(0);
}

// What the shards would be asked, and what becomes of their rows.
void print_scatter(const config::Database& database, const router::ScatterPlan& plan, const router::Route& route,
                   const router::Arguments& arguments, const router::ExplainPlan* explain, std::ostream& out) {
  std::string shards;
  for (const schema::ShardId shard : route.shards) shards += (shards.empty() ? "" : ", ") + database.shards[shard].name;
  line(out, "shards", shards);
  if (explain != nullptr) line(out, "explain", explain->prefix + "in front of each text, which is not run without ANALYZE");
  const std::string kind = plan.write ? " (" + std::string(router::name_of(plan.write->kind)) + ")" : "";
  line(out, "strategy", std::string(router::name_of(plan.strategy)) + kind + ": " + plan.construct);
  router::Rendering rendering;
  rendering.arguments = &arguments;
  rendering.rows = rows_of(plan, arguments);
  rendering.now = "now";
  if (plan.strategy == router::ScatterPlan::Strategy::stream && plan.shard_sql.empty()) line(out, "each", std::string(arguments.sql));
  if (!plan.shard_sql.empty()) line(out, "each", plan.shard_sql.render(rendering));
  for (const auto& gathered : plan.gathered) line(out, "each", gathered.shard_sql.render(rendering));
  if (!plan.order.empty()) line(out, "merge", "by the last " + std::to_string(plan.order.size()) + " columns");
  if (!plan.finish_sql.empty()) line(out, "finish", plan.finish_sql.render(rendering));
  if (plan.write && !plan.write->text.empty()) line(out, "each", plan.write->text.render(rendering));
  if (plan.write && !plan.write->elsewhere.empty()) line(out, "others", plan.write->elsewhere.render(rendering));
}

// The rows that each shard would be given.
void print_rows(const config::Database& database, const router::Plan& plan, const router::Arguments& arguments,
                const schema::BucketMap& map, const router::Route& route, std::ostream& out) {
  const auto shards = router::shards_of_rows(plan, arguments, map);
  if (!shards) return;
  router::Rendering rendering;
  rendering.arguments = &arguments;
  rendering.now = "now";
  for (const schema::ShardId shard : route.shards) {
    std::vector<std::uint32_t> rows;
    for (std::uint32_t row = 0; row < shards->size(); ++row)
      if ((*shards)[row] == shard) rows.push_back(row);
    line(out, "shard", database.shards[shard].name + ": " + router::text_of_rows(*plan.scatter->write, rows).render(rendering));
  }
}

void print_plan(const router::Plan& plan, std::ostream& out) {
  line(out, "statement", std::string(router::name_of(plan.verb)) + (plan.read_only ? ", read-only" : ""));
  line(out, "target", name_of(plan.target));
  for (const auto& table : plan.tables) line(out, "table", table);
}

// Of an INSERT whose keys the proxy fills in: the text with them. Else empty.
std::string with_keys(const std::string& sql, const router::Plan& plan) {
  const auto edits = plan.fill ? router::find_fill(sql, *plan.fill) : std::nullopt;
  if (!edits) return {};
  return router::filled(sql, *plan.fill, *edits, std::vector<std::string>(router::ids_of(*edits), "1")).sql;
}

void require_self_test() {
  if (const auto tested = router::self_test(); !tested) throw Failure("router self-test: " + tested.error().message);
}

}  // namespace

bool route(const config::Database& served, const RouteRequest& request, std::ostream& out) {
  const config::Database& database = config::described(served);
  require_self_test();
  const auto map = std::make_shared<const schema::BucketMap>(map_of(database));
  router::Router router(catalog_of(database, request.connect), map);
  router::SessionContext session;
  session.search_path = request.search_path;
  const std::string filled = with_keys(request.sql, *router.plan(request.sql, {}, session).plan);
  const std::string& sql = filled.empty() ? request.sql : filled;
  const router::Planned planned = router.plan(sql, {}, session);
  const router::Plan& plan = *planned.plan;

  std::vector<router::Parameter> parameters;
  for (const auto& text : request.parameters) parameters.push_back({false, false, as_bytes(text)});
  const router::Arguments arguments{sql, planned.literals, parameters, {}};

  if (!filled.empty()) line(out, "default_key", "each row gets an id, here 1: " + filled);
  print_plan(plan, out);
  print_keys(database, plan, arguments, *map, out);
  const bool bound = request.parameters.size() >= plan.parameters;
  const auto found = bound ? router.resolve(plan, arguments) : Result<router::Route>(router::Route{});
  if (found && bound && !found->shards.empty()) {
    print_scatter(database, *plan.scatter, *found, arguments, plan.explain.get(), out);
    if (plan.scatter->write && plan.scatter->write->kind == router::WritePlan::Kind::rows)
      print_rows(database, plan, arguments, *map, *found, out);
  } else if (found && bound && plan.target != router::Target::refused) {
    print_shard(database, plan, *found, out);
  }
  line(out, "effects", effects_text(plan.effects));
  for (const auto& why : plan.why) line(out, "why", why);
  if (!request.connect) line(out, "catalog", "the table rules of weir.toml alone; --connect looks at the database");
  if (plan.refusal && (plan.target == router::Target::refused || database.sharding))
    return print_refusal(*plan.refusal, out);
  if (!found) return print_refusal(found.error(), out);
  if (!bound) line(out, "shard", "known at Bind: give --param for $1 to $" + std::to_string(plan.parameters));
  return true;
}

}  // namespace weir::migrate
