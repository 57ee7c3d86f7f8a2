// Writes over several shards (router/write_plan.hpp): each shard gets its part at Execute, and nothing of the answer goes out before all have done it.
#include <algorithm>
#include <charconv>
#include <utility>

#include "base/strings.hpp"
#include "proxy/proxy.hpp"
#include "proxy/scatter.hpp"
#include "router/merge/row_view.hpp"

namespace weir::proxy {

using router::ScatterPlan;
using router::TextTemplate;
using router::WritePlan;

namespace {

// Told apart by this, two shards on one server have one set of roles.
constexpr std::string_view kServerIdentity = "SELECT system_identifier FROM pg_catalog.pg_control_system()";

// "INSERT 0 5": the words before the count, and the count. None: it has none.
std::optional<std::pair<std::string_view, std::uint64_t>> count_in(std::string_view tag) {
  const auto space = tag.rfind(' ');
  if (space == std::string_view::npos) return std::nullopt;
  std::uint64_t count = 0;
  const auto [end, error] = std::from_chars(tag.data() + space + 1, tag.data() + tag.size(), count);
  if (error != std::errc{} || end != tag.data() + tag.size()) return std::nullopt;
  return std::pair(tag.substr(0, space), count);
}

std::string joined_names(const std::vector<std::string>& names) {
  std::string out;
  for (const std::string& name : names) out += concat(out.empty() ? "" : ", ", name);
  return out;
}

}  // namespace

bool Scatter::is_one_by_one(const Portal& portal) {
  return portal.plan && portal.plan->write && portal.plan->write->kind == WritePlan::Kind::one_by_one;
}

bool Scatter::is_same_everywhere(const Portal& portal) {
  if (!portal.plan || !portal.plan->write) return false;
  return portal.plan->write->kind == WritePlan::Kind::same || portal.plan->write->kind == WritePlan::Kind::schema;
}

// The next message executes what this one only describes.
bool Scatter::is_executed_next(const Portal& portal) const {
  if (op_ + 1 >= s_.work_->ops.size() || s_.work_->ops[op_ + 1].type != 'E') return false;
  return wire::read_execute(body_of(s_.work_->ops[op_ + 1]))->portal == portal.name;
}

// What a write returns, without running it.
net::Task<bool> Scatter::describe_write(Portal& portal) {
  const bool right = co_await check(*portal.source);
  if (!right || !parameters_fit(portal)) co_return false;
  const Source& source = *portal.source;
  if (source.returns_rows && !formats_fit(portal, source.fields.size())) co_return false;
  portal.returns_rows = source.returns_rows;
  portal.fields = source.fields;
  for (std::size_t i = 0; i < portal.fields.size(); ++i)
    portal.fields[i].format = portal.formats.empty() ? 0 : portal.formats[portal.formats.size() == 1 ? 0 : i];
  co_return true;
}

// Where the catalog does not know what this transaction has made of a reference table: a column's new default may be each shard's own.
std::optional<Error> Scatter::behind_ddl(const Portal& portal) const {
  const bool inserts = portal.plan->write->kind == WritePlan::Kind::same && portal.plan->construct.starts_with("INSERT");
  if (!inserts || !s_.spread_ || !s_.spread_->changes_schema() || (s_.own_router_ && !s_.own_schema_stale_)) return std::nullopt;
  return Error(sqlstate::kFeatureNotSupported, concat(portal.plan->construct, " behind DDL in the same transaction cannot be routed"), "COMMIT the DDL first.");
}

net::Task<bool> Scatter::start_write(Portal& portal, const ScatterPlan& plan) {
  const WritePlan& write = *plan.write;
  if (const auto reason = behind_ddl(portal)) {
    fail(*reason);
    co_return false;
  }
  portal.links = links_of(portal);
  portal.window = {};
  portal.merger.reset();
  portal.cuts = false;
  portal.tag.clear();
  portal.order.clear();
  portal.turn = 0;
  if (portal.source->checked && portal.source->returns_rows && !formats_fit(portal, portal.source->fields.size())) co_return false;
  if (write.once_a_server) {
    const bool known = co_await keep_one_link_a_server(portal);
    if (!known) co_return false;
  }
  if (write.kind == WritePlan::Kind::one_by_one) {
    const bool done = co_await run_one_by_one(portal, write);
    co_return done;
  }
  // Who is ahead of another with the same rows is so on the first shard: none waits for the other in a circle.
  const std::ptrdiff_t ahead = is_same_everywhere(portal) && portal.links.size() > 1 ? 1 : 0;
  const std::vector<ScatterLink*> before(portal.links.begin(), portal.links.begin() + ahead);
  const std::vector<ScatterLink*> rest(portal.links.begin() + ahead, portal.links.end());
  if (ahead > 0) {
    const bool begun = co_await run_writes(portal, plan, before);
    if (!begun) co_return false;
  }
  const bool done = co_await run_writes(portal, plan, rest);
  if (!done) co_return false;
  const ScatterLink& first = *portal.links.front();
  portal.returns_rows = first.returns_rows;
  if (first.returns_rows && (!alike(portal.links, plan) || !as_described(portal, first.fields, plan, 0))) co_return false;
  portal.fields = portal.source->fields;
  for (std::size_t i = 0; i < portal.fields.size() && i < first.fields.size(); ++i) portal.fields[i].format = first.fields[i].format;
  co_return true;
}

// To every shard of `links` its part. Every one has a row to give behind this, or is done: none of them fails any more but by its
// constraints at COMMIT.
net::Task<bool> Scatter::run_writes(Portal& portal, const ScatterPlan& plan, const std::vector<ScatterLink*>& links) {
  if (!send_writes(portal, plan, links)) co_return false;
  const bool described = co_await describe_runs(links);
  while (described && !failed()) {
    bool all = true;
    for (ScatterLink* link : links) {
      wire::Message row;
      const bool has_row = !link->complete && next_row(*link, row);
      all &= has_row || link->complete;
    }
    if (all || failed()) break;
    const bool awake = co_await sleep();
    if (!awake) break;
  }
  co_return !failed();
}

bool Scatter::send_writes(Portal& portal, const ScatterPlan& plan, const std::vector<ScatterLink*>& links) {
  const WritePlan& write = *plan.write;
  const router::Arguments arguments = arguments_of(portal);
  const auto rendering = rendering_of(portal, plan, arguments);
  if (!rendering) return false;
  if (write.kind == WritePlan::Kind::rows) return send_rows(portal, write, arguments, *rendering);
  for (ScatterLink* link : links) send_write(*link, portal, write, *rendering);
  return true;
}

// What a shard runs, where that does not depend on rows.
void Scatter::send_write(ScatterLink& link, const Portal& portal, const WritePlan& write, const router::Rendering& rendering) {
  const bool elsewhere = link.shard() != schema::kHomeShard && !write.elsewhere.empty();
  const TextTemplate& text = elsewhere ? write.elsewhere : write.text;
  plain_text_ = text.empty();
  if (plain_text_)
    send_run_as_it_is(link, portal);
  else
    send_run(link, run_of(portal, text, text.render(rendering), portal.formats));
}

bool Scatter::send_rows(Portal& portal, const WritePlan& write, const router::Arguments& arguments, const router::Rendering& rendering) {
  plain_text_ = false;
  const auto texts = texts_of_rows(portal, write, arguments);
  for (std::size_t i = 0; texts && i < portal.links.size(); ++i) send_run(*portal.links[i], run_of(portal, (*texts)[i], (*texts)[i].render(rendering), portal.formats));
  return texts.has_value();
}

// Of each link, with its rows only; portal.order says whose each row is. None: it failed.
std::optional<std::vector<TextTemplate>> Scatter::texts_of_rows(Portal& portal, const WritePlan& write, const router::Arguments& arguments) {
  const auto shards = router::shards_of_rows(*portal.source->plan, arguments, s_.planner().map());
  if (!shards) return fail(shards.error()), std::nullopt;
  std::vector<std::vector<std::uint32_t>> rows(portal.links.size());
  for (std::uint32_t row = 0; row < shards->size(); ++row) {
    const auto at = std::find(portal.shards.begin(), portal.shards.end(), (*shards)[row]);
    if (at == portal.shards.end() || row >= write.rows.size())
      return fail({sqlstate::kInternal, "the rows of an INSERT do not fit its plan", "report this"}), std::nullopt;
    const auto link = static_cast<std::uint32_t>(at - portal.shards.begin());
    rows[link].push_back(row);
    portal.order.push_back(link);
  }
  std::vector<TextTemplate> texts;
  for (const auto& own : rows) texts.push_back(router::text_of_rows(write, own));
  return texts;
}

// ---- rows of RETURNING ----

// In the order of the client's rows. A shard that has fewer left some out.
Scatter::Rows Scatter::take_in_turns(Portal& portal, std::uint32_t max_rows) {
  wire::Message row;
  while (portal.turn < portal.order.size()) {
    ScatterLink& link = *portal.links[portal.order[portal.turn]];
    if (!next_row(link, row)) {
      if (failed()) return Rows::over;
      if (!link.complete) return Rows::awaited;
      ++portal.turn;
      continue;
    }
    ++portal.turn;
    send_row(portal, row, nullptr);
    link.pop();
    if (max_rows != 0 && portal.rows == max_rows) return Rows::suspended;
    if (pending_.size() >= kPiece) return Rows::output_full;
  }
  return Rows::over;
}

// The first shard's; the others' are the same.
Scatter::Rows Scatter::take_first(Portal& portal, std::uint32_t max_rows) {
  wire::Message row;
  for (std::size_t i = 1; i < portal.links.size(); ++i)
    while (next_row(*portal.links[i], row)) portal.links[i]->pop();
  ScatterLink& first = *portal.links.front();
  while (!failed() && next_row(first, row)) {
    send_row(portal, row, nullptr);
    first.pop();
    if (max_rows != 0 && portal.rows == max_rows) return Rows::suspended;
    if (pending_.size() >= kPiece) return Rows::output_full;
  }
  return failed() || first.complete ? Rows::over : Rows::awaited;
}

// ---- the tag ----

bool Scatter::take_tags(Portal& portal) {
  const WritePlan& write = *portal.plan->write;
  portal.tag = portal.links.front()->tag;
  if (write.kind == WritePlan::Kind::schema || write.kind == WritePlan::Kind::one_by_one) return true;
  std::uint64_t sum = 0;
  for (const ScatterLink* link : portal.links) {
    const auto first = count_in(portal.tag), own = count_in(link->tag);
    const bool equal = first && own && own->first == first->first && (write.kind != WritePlan::Kind::same || *own == *first);
    if (!equal) {
      Error error(SqlState("XX001"), concat("shards ", s_.shard_name(portal.links.front()->shard()), " and ", s_.shard_name(link->shard()),
                                                   " answered \"", portal.tag, "\" and \"", link->tag, "\" to one statement"),
                  "Their rows of a reference table were not the same: compare them, and make them so.");
      return fail(std::move(error)), false;
    }
    sum += own->second;
  }
  if (write.kind == WritePlan::Kind::same) return true;
  portal.tag = concat(count_in(portal.tag)->first, " ", std::to_string(sum));
  return true;
}

// ---- roles: once a server ----

net::Task<bool> Scatter::keep_one_link_a_server(Portal& portal) {
  std::vector<std::string> identities(portal.links.size());
  Run run;
  wire::write_parse(run.parse, "", kServerIdentity, {});
  write_rest_of_run(run.rest, "", {}, {});
  for (ScatterLink* link : portal.links) send_run(*link, run);
  for (bool complete = false; !complete;) {
    complete = true;
    for (std::size_t i = 0; i < portal.links.size(); ++i) {
      wire::Message row;
      router::merge::RowView view;
      while (!failed() && next_row(*portal.links[i], row)) {
        if (view.read(row.body) && view.columns() == 1 && view[0]) identities[i] = as_text(*view[0]);
        portal.links[i]->pop();
      }
      complete &= portal.links[i]->at_rest();
    }
    if (failed()) co_return false;
    if (complete) break;
    const bool awake = co_await sleep();
    if (!awake) co_return false;
  }
  std::vector<ScatterLink*> kept;
  for (std::size_t i = 0; i < identities.size(); ++i)
    if (std::find(identities.begin(), identities.begin() + static_cast<std::ptrdiff_t>(i), identities[i]) == identities.begin() + static_cast<std::ptrdiff_t>(i))
      kept.push_back(portal.links[i]);
  portal.links = std::move(kept);
  co_return true;
}

// ---- one shard after the other ----

net::Task<bool> Scatter::run_one_by_one(Portal& portal, const WritePlan& write) {
  const router::Arguments arguments = arguments_of(portal);
  const auto rendering = rendering_of(portal, *portal.plan, arguments);
  if (!rendering) co_return false;
  std::vector<std::string> done;
  for (ScatterLink* link : portal.links) {
    link->left.taints = true;
    send_write(*link, portal, write, *rendering);
    while (!failed() && !link->at_rest()) {
      wire::Message row;
      while (!failed() && next_row(*link, row)) link->pop();
      if (failed() || link->at_rest()) break;
      const bool awake = co_await sleep();
      if (!awake) break;
    }
    if (failed()) {
      tell_how_far(portal, write, done);
      co_return false;
    }
    done.emplace_back(s_.shard_name(link->shard()));
  }
  portal.returns_rows = false;
  co_await s_.await_schema();
  co_return !failed();
}

// What was done stays done: the client must know where.
void Scatter::tell_how_far(const Portal& portal, const WritePlan& write, const std::vector<std::string>& done) {
  s_.worker_.proxy().schema_may_have_changed(s_.database_->name);
  if (!failure_) return;
  failure_->lost = false;   // what may have been done is not sent again
  Error error = failure_->own ? *failure_->own : Error(sqlstate::kInternal, "the statement failed");
  if (failure_->response)
    if (const auto view = wire::read_error(failure_->response->view())) {
      error = Error(SqlState::parse(view->code), std::string(view->message));
      error.detail = view->detail;
    }
  std::vector<std::string> not_done;
  for (std::size_t i = done.size() + 1; i < portal.links.size(); ++i) not_done.emplace_back(s_.shard_name(portal.links[i]->shard()));
  error.detail += concat(error.detail.empty() ? "" : " ", "It failed on shard ", s_.shard_name(portal.links[done.size()]->shard()),
                         done.empty() ? "" : concat("; done on: ", joined_names(done)),
                         not_done.empty() ? "." : concat("; not tried on: ", joined_names(not_done), "."));
  error.hint = write.again;
  failure_->response.reset();
  failure_->own = std::move(error);
}

// ---- behind DDL ----

void Session::schema_loaded() {
  if (schema_loads_ > 0) --schema_loads_;
  waiter_.notify();
}

net::Task<> Session::await_schema() {
  constexpr Duration kSchemaTime = std::chrono::seconds(3);
  if (schema_loads_ == 0) {
    ++schema_loads_;
    worker_.proxy().load_schema(database_->name, worker_.index(), id_);
  }
  net::Timer timer(waiter_);
  timer.arm(Deadline::after(worker_.loop().now(), kSchemaTime));
  while (schema_loads_ > 0 && !timer.fired() && !client_gone()) co_await waiter_.wait();
  schema_loads_ = 0;
}

}  // namespace weir::proxy
