// One statement on its shards: every shard gets its part, and the home shard what finishes it.
#include <algorithm>
#include <limits>
#include <utility>

#include "base/strings.hpp"
#include "proxy/proxy.hpp"
#include "proxy/scatter_copy.hpp"
#include "proxy/statement_room.hpp"

namespace weir::proxy {

using router::Rendering;
using router::RowCount;
using router::ScatterPlan;
using router::TextTemplate;
using router::Verb;
using router::merge::Collation;
using router::merge::CollationFacts;
using router::merge::CollationRef;
using router::merge::GatheredRows;
using router::merge::Merger;
using router::merge::SortKey;
using router::merge::ValueOrder;
using router::merge::Window;

namespace {

constexpr std::uint32_t kText = 25;
constexpr std::uint16_t kBinary = 1;

// PostgreSQL 15 tells a database's version of its locale; an older one does not know the function, and its order stays unknown.
constexpr std::string_view kTextOrder =
    "SELECT datlocprovider, datcollate, pg_catalog.pg_database_collation_actual_version(oid) "
    "FROM pg_catalog.pg_database WHERE datname = pg_catalog.current_database()";

// "c/en_US.UTF-8/2.36"
CollationFacts facts_of(std::string_view text_order) {
  const auto first = text_order.find('/');
  const auto last = text_order.rfind('/');
  if (first == std::string_view::npos || first == last) return {'?', {}, {}};
  return {text_order[0], std::string(text_order.substr(first + 1, last - first - 1)), std::string(text_order.substr(last + 1))};
}

// The catalog's word: provider, then (of ICU) its locale, LC_COLLATE, LC_CTYPE.
CollationFacts facts_of_catalog(std::string_view default_collation) {
  if (!default_collation.starts_with("c/")) return {'?', {}, {}};
  const std::string_view rest = default_collation.substr(2);
  return {'c', std::string(rest.substr(0, rest.find('/'))), {}};
}

bool is_text(std::uint32_t type) { return ValueOrder::is_collatable(type); }
bool is_name(std::uint32_t type) { return type == 19; }   // pg_type.dat: bytewise, but for a COLLATE of another kind

bool is_bytewise(std::string_view collation) { return collation == "C" || collation == "POSIX" || collation == "ucs_basic"; }
Error not_known_here(std::string_view collation) {
  return {sqlstate::kFeatureNotSupported, concat("how collation \"", collation, "\" orders text is known to the servers only")};
}

bool uses_now(const ScatterPlan& plan) { return plan.uses_now || (plan.otherwise && plan.otherwise->uses_now); }

// Of a shard's rows; none: all of them, for no LIMIT can say so many.
std::optional<std::uint64_t> rows_that_matter(std::uint64_t limit, std::uint64_t skipped) {
  constexpr auto kMost = static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max());
  return limit > kMost || skipped > kMost - limit ? std::nullopt : std::optional(limit + skipped);
}

}  // namespace

// ---- starting ----

net::Task<bool> Scatter::start(Portal& portal) {
  if (portal.state != Portal::State::bound) co_return true;
  if (running_) {
    const bool settled = co_await settle(false);
    if (!settled) co_return false;
  }
  if (s_.cancel_may_come_) {
    fail({sqlstate::kConnectionFailure, "a cancel may still come to a server of this statement", "Try again."});
    co_return false;
  }
  portal.state = Portal::State::started;
  running_ = &portal;
  tag_.clear();
  if (!may_run(portal)) co_return false;
  if (portal.source->plan->verb == Verb::empty) {
    portal.state = Portal::State::done;
    running_ = nullptr;
  } else if (copies(portal)) {
    const bool started = co_await start_copy(portal);
    if (!started) co_return false;
  } else if (!portal.plan) {
    const bool started = co_await start_as_it_is(portal);
    if (!started) co_return false;
  } else {
    Source& source = *portal.source;
    if (s_.in_transaction() && !s_.spread_ && !std::exchange(isolation_asked_, true)) ask_isolation(home());
    if (!source.checked && !take_kept(portal)) send_check(source);
    if (!types_are_known(source)) {
      const bool checked = co_await await_check(source);
      if (!checked) co_return false;
    }
    if (!parameters_fit(portal)) co_return false;
    if (s_.spread_ && uses_now(*portal.plan)) {
      const bool known = co_await await_begin();
      if (!known) co_return false;
    }
    auto starting = source.plan->explain                                     ? start_explain(portal, *portal.plan)
                    : portal.plan->strategy == ScatterPlan::Strategy::write  ? start_write(portal, *portal.plan)
                    : portal.plan->strategy == ScatterPlan::Strategy::stream ? start_stream(portal, *portal.plan)
                                                                             : start_finish(portal, *portal.plan);
    const bool started = co_await starting;
    if (!started) co_return false;
  }
  confirm(kNone);
  co_return true;
}

// Until its first server has said when the transaction began.
net::Task<bool> Scatter::await_begin() {
  ScatterLink& link = s_.spread_->first();
  while (s_.spread_->begun_at.empty() && !failed()) {
    link.flush();
    wire::Message row;
    static_cast<void>(next_row(link, row));
    if (!s_.spread_->begun_at.empty() || failed()) break;
    const bool awake = co_await sleep();
    if (!awake) break;
  }
  co_return !failed();
}

net::Task<bool> Scatter::start_copy(Portal& portal) {
  if (!parameters_fit(portal)) co_return false;
  if (portal.plan && s_.in_transaction() && !s_.spread_ && !std::exchange(isolation_asked_, true)) ask_isolation(home());
  if (s_.spread_ && portal.plan && uses_now(*portal.plan)) {
    const bool known = co_await await_begin();
    if (!known) co_return false;
  }
  confirm(kNone);   // there is nothing in its Parse and Bind that a server could object to
  copy_ = std::make_unique<Copy>(*this, portal);
  const bool started = co_await copy_->start();
  if (!started) copy_->abandon();
  co_return started;
}

// A statement of one shard between others.
net::Task<bool> Scatter::start_as_it_is(Portal& portal) {
  plain_text_ = true;
  portal.links = links_of(portal);
  send_run_as_it_is(*portal.links.front(), portal);
  const bool described = co_await describe_runs(portal.links);
  if (!described) co_return false;
  portal.fields = portal.links.front()->fields;
  portal.returns_rows = portal.links.front()->returns_rows;
  co_return true;
}

std::vector<ScatterLink*> Scatter::links_of(const Portal& portal) {
  std::vector<ScatterLink*> links;
  for (const schema::ShardId shard : portal.shards) links.push_back(&link_of(shard));
  return links;
}

// What the texts of one execution are filled with. None: it failed.
std::optional<Rendering> Scatter::rendering_of(Portal& portal, const ScatterPlan& plan, const router::Arguments& arguments) {
  const auto limit = router::value_of(plan.limit, false, arguments);
  const auto offset = router::value_of(plan.offset, true, arguments);
  if (!limit || !offset) return fail(!limit ? limit.error() : offset.error()), std::nullopt;
  const std::uint64_t skipped = offset->value_or(0);
  if (plan.strategy == ScatterPlan::Strategy::stream) portal.window = Window(skipped, limit->value_or(Window::kNoLimit));
  Rendering rendering;
  rendering.arguments = &arguments;
  if (*limit) rendering.rows = rows_that_matter(**limit, skipped);
  rendering.now = s_.spread_ ? std::string_view(s_.spread_->begun_at) : std::string_view(now_);
  return rendering;
}

net::Task<bool> Scatter::start_stream(Portal& portal, const ScatterPlan& plan) {
  const std::size_t hidden = plan.order.size();
  const bool all_binary = portal.formats.size() == 1 && portal.formats[0] == kBinary;
  if (hidden > 0 && !all_binary && !portal.source->checked) {   // the hidden ones are binary: it must be known where they begin
    const bool checked = co_await await_check(*portal.source);
    if (!checked) co_return false;
  }
  const router::Arguments arguments = arguments_of(portal);
  const auto rendering = rendering_of(portal, plan, arguments);
  if (!rendering) co_return false;
  const std::size_t visible = portal.source->fields.size();
  if (portal.source->checked && !formats_fit(portal, visible)) co_return false;
  const bool own_text = plan.shard_sql.empty();
  const std::string sql = plan.shard_sql.render(*rendering);
  plain_text_ = own_text || sql == portal.source->sql;
  portal.links = links_of(portal);
  const bool by_locale = orders_by_locale(plan);
  const Run run = own_text ? Run{} : run_of(portal, plan.shard_sql, sql, all_binary ? portal.formats : formats_with_hidden(portal.formats, visible, hidden));
  for (ScatterLink* link : portal.links) {
    if (by_locale && link->server().text_order.empty()) ask_text_order(*link);
    if (own_text)
      send_run_as_it_is(*link, portal);
    else
      send_run(*link, run);
  }
  const bool described = co_await describe_runs(portal.links);
  if (!described || !alike(portal.links, plan) || !as_described(portal, portal.links.front()->fields, plan, hidden)) co_return false;
  const Source& source = *portal.source;
  portal.fields = source.fields;
  for (std::size_t i = 0; i < portal.fields.size(); ++i) portal.fields[i].format = portal.links.front()->fields[i].format;
  portal.returns_rows = true;
  portal.cuts = hidden > 0;
  portal.merger.reset();
  if (plan.order.empty()) co_return true;
  auto keys = sort_keys(portal, plan);
  if (keys) {
    portal.merger.emplace(std::move(*keys), portal.links.size());
    co_return true;
  }
  if (!plan.otherwise) {
    fail(not_alike(plan, keys.error().message));
    co_return false;
  }
  const bool settled = co_await settle(false);
  if (!settled) co_return false;
  portal.state = Portal::State::started;
  running_ = &portal;
  co_return co_await start_finish(portal, *plan.otherwise);
}

// ---- a finish on the home shard ----

net::Task<bool> Scatter::start_finish(Portal& portal, const ScatterPlan& plan) {
  const router::Arguments arguments = arguments_of(portal);
  const auto rendering = rendering_of(portal, plan, arguments);
  if (!rendering) co_return false;
  portal.window = {};
  portal.merger.reset();
  plain_text_ = false;
  gathered_.clear();
  for (const router::Gathered& gathered : plan.gathered) {
    const bool got = co_await gather(portal, gathered, plan, gathered.shard_sql.render(*rendering));
    if (!got) co_return false;
  }
  portal.links = {&home()};
  send_run(home(), run_of(portal, plan.finish_sql, plan.finish_sql.render(*rendering), portal.formats, &plan));
  gathered_.clear();
  const bool described = co_await describe_runs(portal.links);
  const Fields& fields = home().fields;
  if (!described || !as_described(portal, fields, plan, 0)) co_return false;
  portal.fields = portal.source->fields;
  for (std::size_t i = 0; i < portal.fields.size(); ++i) portal.fields[i].format = fields[i].format;
  portal.returns_rows = true;
  portal.cuts = false;
  co_return true;
}

net::Task<bool> Scatter::gather(Portal& portal, const router::Gathered& gathered, const ScatterPlan& plan, const std::string& sql) {
  const std::vector<ScatterLink*> links = links_of(portal);
  const std::uint16_t binary[] = {kBinary};
  const Run run = run_of(portal, gathered.shard_sql, sql, binary);
  for (ScatterLink* link : links) send_run(*link, run);
  const bool described = co_await describe_runs(links);
  if (!described || !alike(links, plan)) co_return false;
  const Fields& fields = links.front()->fields;
  if (fields.size() != gathered.columns.size()) {
    fail(not_alike(plan, concat("the rows of ", gathered.what, " have ", std::to_string(fields.size()), " columns")));
    co_return false;
  }
  std::vector<std::uint32_t> types;
  for (std::size_t i = 0; i < fields.size(); ++i) {
    types.push_back(fields[i].type);
    if (auto reason = cannot_be_gathered(fields[i], gathered.columns[i])) {
      fail(not_alike(plan, std::move(*reason)));
      co_return false;
    }
  }
  gathered_.emplace_back(std::move(types));
  const bool got = co_await gather_rows(links, gathered.what);
  co_return got;
}

net::Task<bool> Scatter::gather_rows(const std::vector<ScatterLink*>& links, const std::string& what) {
  for (;;) {
    bool complete = true;
    for (ScatterLink* link : links) {
      wire::Message row;
      while (!failed() && next_row(*link, row)) {
        take_gathered(row, what);
        link->pop();
      }
      complete &= link->at_rest();
    }
    if (failed()) co_return false;
    if (complete) co_return true;
    const bool awake = co_await sleep();
    if (!awake) co_return false;
  }
}

void Scatter::take_gathered(const wire::Message& row, const std::string& what) {
  if (auto added = gathered_.back().add(row.body); !added) return fail(added.take_error());
  std::size_t bytes = 0;
  for (const GatheredRows& rows : gathered_) bytes += rows.bytes();
  if (bytes <= kMaxGathered) return;
  fail({SqlState("53200"), concat("the rows of several shards (", what, ") that this statement puts together take more than ",
                                       std::to_string(kMaxGathered >> 20), " MB"),
        "Narrow it down with a WHERE, or GROUP BY fewer values; Weir holds no more than that for one statement."});
}

// ---- to the servers ----

void Scatter::ask_text_order(ScatterLink& link) {
  wire::write_query(link.out(), kTextOrder);
  link.owe(Step::text_order);
  link.server().unnamed_statement = 0;
}

// Of the transaction that the client has begun. And when that was.
void Scatter::ask_isolation(ScatterLink& link) {
  wire::write_query(link.out(),
                    "SELECT pg_catalog.current_setting('transaction_isolation'), "
                    "pg_catalog.to_char(pg_catalog.timezone('UTC', pg_catalog.now()), 'YYYY-MM-DD HH24:MI:SS.US') || '+00'");
  link.owe(Step::isolation);
  link.server().unnamed_statement = 0;
}

// Parameters that a text does not use must still have a type.
Scatter::Run Scatter::run_of(const Portal& portal, const TextTemplate& text, const std::string& sql, std::span<const std::uint16_t> formats,
                             const ScatterPlan* finishes) const {
  const std::vector<std::uint16_t>& used = text.parameters();
  std::vector<std::uint32_t> types = portal.source->types;
  std::vector<wire::BindValue> values(types.size());
  for (std::size_t i = 0; i < types.size(); ++i) {
    const bool is_used = std::binary_search(used.begin(), used.end(), static_cast<std::uint16_t>(i + 1));
    const router::Parameter& p = portal.parameters[i];
    values[i] = is_used ? wire::BindValue{p.is_null, p.binary, p.value} : wire::BindValue{true, false, {}};
    if (!is_used) types[i] = kText;
  }
  std::deque<ByteBuffer> arrays;
  for (std::size_t g = 0; finishes && g < finishes->gathered.size(); ++g) {
    const GatheredRows& rows = gathered_[g];
    const std::size_t first = finishes->gathered[g].first_parameter - 1;
    if (types.size() < first + rows.columns()) {
      types.resize(first + rows.columns(), kText);
      values.resize(types.size(), wire::BindValue{true, false, {}});
    }
    for (std::size_t i = 0; i < rows.columns(); ++i) {
      rows.write_array(i, arrays.emplace_back());
      types[first + i] = array_type_of(rows.type(i));
      values[first + i] = {false, true, arrays.back().view()};
    }
  }
  Run run;
  if (&text == &portal.plan->shard_sql) run.text = name_on_servers(portal, sql, types);
  const std::string name = run.text ? server_statement_name(run.text->id) : std::string();
  wire::write_parse(run.parse, name, sql, types);
  write_rest_of_run(run.rest, name, values, formats);
  return run;
}

void Scatter::write_rest_of_run(ByteBuffer& out, std::string_view name, std::span<const wire::BindValue> values, std::span<const std::uint16_t> formats) {
  wire::write_bind(out, "", name, values, formats);
  wire::write_named(out, 'D', 'P', "");
  wire::write_execute(out, "", 0);
  wire::write_sync(out);
}

void Scatter::send_run(ScatterLink& link, const Run& run) {
  link.begin_run();
  link.named = run.text ? run.text->id : 0;
  if (link.named != 0 && link.server().prepared.touch(link.named)) {
    s_.database_->stats->prepared_hits.add();
    link.parsed = true;
  } else {
    if (link.named != 0) prepare_on(link.server(), *run.text, link.out());
    link.out().append(run.parse.view());
  }
  link.out().append(run.rest.view());
  link.owe(Step::run);
  link.server().unnamed_statement = 0;
  link.flush();
}

void Scatter::prepare_on(pool::Server& server, const InternedStatement& text, ByteBuffer& out) {
  for (const std::uint64_t id : make_room(server.prepared, s_.worker_.topology()->settings->pool, text.bytes()))
    wire::write_named(out, 'C', 'S', server_statement_name(id));
  s_.database_->stats->server_parses.add();
  server.prepared.add(text.id, text.bytes());
}

void Scatter::send_run_as_it_is(ScatterLink& link, const Portal& portal) {
  std::vector<wire::BindValue> values;
  for (const router::Parameter& p : portal.parameters) values.push_back({p.is_null, p.binary, p.value});
  Run run;
  wire::write_parse(run.parse, "", portal.source->sql, portal.source->types);
  write_rest_of_run(run.rest, "", values, portal.formats);
  send_run(link, run);
}

// ---- sorting ----

// May a column be text in the order of the database's locale, which is not that of its bytes?
bool Scatter::orders_by_locale(const ScatterPlan& plan) const {
  const bool has_default = std::any_of(plan.order.begin(), plan.order.end(), [](const auto& c) { return c.collation.empty(); });
  return has_default && !Collation::open(facts_of_catalog(s_.planner().catalog().default_collation())).ok();
}

Result<std::vector<SortKey>> Scatter::sort_keys(const Portal& portal, const ScatterPlan& plan) const {
  const Fields& fields = portal.links.front()->fields;
  std::vector<SortKey> keys;
  std::size_t column = portal.fields.size();   // the hidden ones stand behind the client's
  for (const router::SortColumn& c : plan.order) {
    const wire::FieldDescription& field = fields[column];
    CollationRef collation;
    if ((is_text(field.type) || is_name(field.type)) && !c.collation_known)
      return Error(sqlstate::kFeatureNotSupported, concat("the collation of sort column \"", field.name, "\" is known to the servers only"));
    if (is_text(field.type)) {
      auto found = collation_of(portal, c.collation);
      if (!found) return found.take_error();
      collation = std::move(*found);
    }
    if (is_name(field.type) && !is_bytewise(c.collation)) return not_known_here(c.collation);
    auto order = ValueOrder::of(field.type, std::move(collation));
    if (!order) return order.take_error();
    keys.push_back({column++, c.descending, c.nulls_first, std::move(*order)});
  }
  return keys;
}

Result<CollationRef> Scatter::collation_of(const Portal& portal, const std::string& named) const {
  if (!s_.server_encoding_) return Error(sqlstate::kFeatureNotSupported, "text is sorted in an encoding that is not the client's");
  if (is_bytewise(named)) return CollationRef(std::make_shared<const Collation>());
  if (!named.empty()) return not_known_here(named);
  if (auto by_bytes = Collation::open(facts_of_catalog(s_.planner().catalog().default_collation()))) return by_bytes;
  const std::string& first = portal.links.front()->server().text_order;
  for (const ScatterLink* link : portal.links)
    if (link->server().text_order != first) return Error(sqlstate::kFeatureNotSupported, "the shards order text by different locales, or versions of them");
  return Collation::open(facts_of(first));
}

}  // namespace weir::proxy
