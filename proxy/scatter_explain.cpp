// EXPLAIN over several shards: every shard explains its part, the home shard the finish, and the client gets one plan of it all.
#include <utility>

#include "base/strings.hpp"
#include "proxy/proxy.hpp"
#include "proxy/scatter.hpp"
#include "router/explain.hpp"
#include "router/merge/row_view.hpp"

namespace weir::proxy {

using router::Explained;
using router::ExplainedPart;
using router::Rendering;
using router::ScatterPlan;
using router::TextTemplate;

net::Task<bool> Scatter::start_explain(Portal& portal, const ScatterPlan& plan) {
  const bool checked = co_await await_check(*portal.source);
  if (!checked || !formats_fit(portal, portal.source->fields.size())) co_return false;
  const router::ExplainPlan& how = *portal.source->plan->explain;
  const router::Arguments arguments = arguments_of(portal);
  const auto rendering = rendering_of(portal, plan, arguments);
  if (!rendering) co_return false;
  Explained explained;
  explained.plan = &plan;
  if (auto limit = router::value_of(plan.limit, false, arguments)) explained.limit = *limit;
  if (auto offset = router::value_of(plan.offset, true, arguments)) explained.offset = *offset;
  plain_text_ = false;
  gathered_.clear();
  if (plan.write) {
    const bool got = co_await explain_write(portal, *plan.write, *rendering, explained.parts);
    if (!got) co_return false;
  }
  if (plan.strategy == ScatterPlan::Strategy::stream) {
    const bool got = co_await explain_parts(links_of(portal), portal, plan.shard_sql, plan.shard_sql.render(*rendering), "", explained.parts);
    if (!got) co_return false;
  }
  for (const router::Gathered& gathered : plan.gathered) {
    const std::string sql = gathered.shard_sql.render(*rendering);
    const bool got = co_await explain_parts(links_of(portal), portal, gathered.shard_sql, sql, gathered.what, explained.parts);
    if (!got) co_return false;
    const bool described = co_await describe_gathered(portal, gathered, plan, sql);
    if (!described) co_return false;
  }
  if (plan.strategy == ScatterPlan::Strategy::finish) {
    const bool got = co_await explain_finish(portal, plan, plan.finish_sql.render(*rendering), how.finish_prefix, explained);
    if (!got) co_return false;
  }
  const bool settled = co_await settle(false);
  if (!settled) co_return false;
  std::vector<std::string> rows = router::explained_rows(explained, how.json);
  portal.explained.assign(std::make_move_iterator(rows.begin()), std::make_move_iterator(rows.end()));
  portal.fields = portal.source->fields;
  for (std::size_t i = 0; i < portal.fields.size(); ++i)   // text and json are the same in both formats
    portal.fields[i].format = portal.formats.empty() ? 0 : portal.formats[portal.formats.size() == 1 ? 0 : i];
  portal.returns_rows = true;
  portal.state = Portal::State::started;
  portal.links.clear();
  co_return true;
}

// A write's parts, which ANALYZE executes, in the order of the write itself.
net::Task<bool> Scatter::explain_write(Portal& portal, const router::WritePlan& write, const Rendering& rendering, std::vector<ExplainedPart>& parts) {
  portal.links = links_of(portal);
  if (write.kind == router::WritePlan::Kind::rows) {
    const auto texts = texts_of_rows(portal, write, *rendering.arguments);
    if (!texts) co_return false;
    for (std::size_t i = 0; i < portal.links.size(); ++i) {   // each has a text of its own
      const std::vector<ScatterLink*> one{portal.links[i]};
      const bool got = co_await explain_parts(one, portal, (*texts)[i], (*texts)[i].render(rendering), "", parts);
      if (!got) co_return false;
    }
    co_return true;
  }
  const std::string sql = write.text.render(rendering);
  std::vector<ScatterLink*> links = portal.links;
  if (is_same_everywhere(portal)) {   // see start_write()
    const std::vector<ScatterLink*> first(links.begin(), links.begin() + 1);
    links.erase(links.begin());
    const bool got = co_await explain_parts(first, portal, write.text, sql, "", parts);
    if (!got) co_return false;
  }
  co_return co_await explain_parts(links, portal, write.text, sql, "", parts);
}

// One text, explained by several shards at once.
net::Task<bool> Scatter::explain_parts(const std::vector<ScatterLink*>& links, Portal& portal, const TextTemplate& text, const std::string& sql, const std::string& what,
                                       std::vector<ExplainedPart>& parts) {
  const Run run = run_of(portal, text, concat(portal.source->plan->explain->prefix, sql), {});
  for (ScatterLink* link : links) send_run(*link, run);
  const bool described = co_await describe_runs(links);
  if (!described) co_return false;
  const std::size_t first = parts.size();
  for (const ScatterLink* link : links) parts.push_back({std::string(s_.shard_name(link->shard())), sql, what, {}});
  co_return co_await take_explained(links, parts, first);
}

// Their rows, into parts[first] and those behind it.
net::Task<bool> Scatter::take_explained(const std::vector<ScatterLink*>& links, std::vector<ExplainedPart>& parts, std::size_t first) {
  for (;;) {
    bool complete = true;
    for (std::size_t i = 0; i < links.size(); ++i) {
      wire::Message row;
      while (!failed() && next_row(*links[i], row)) {
        router::merge::RowView view;
        if (view.read(row.body) && view.columns() == 1 && view[0]) parts[first + i].rows.emplace_back(as_text(*view[0]));
        links[i]->pop();
      }
      complete &= links[i]->at_rest();
    }
    if (failed()) co_return false;
    if (complete) co_return true;
    const bool awake = co_await sleep();
    if (!awake) co_return false;
  }
}

// The finish is explained without rows, but their types must be known.
net::Task<bool> Scatter::describe_gathered(Portal& portal, const router::Gathered& gathered, const ScatterPlan& plan, const std::string& sql) {
  const std::vector<ScatterLink*> one{&home()};
  send_run(home(), run_of(portal, gathered.shard_sql, concat("SELECT * FROM (", sql, "\n) AS weir_g LIMIT 0"), {}));
  const bool described = co_await describe_runs(one);
  if (!described) co_return false;
  std::vector<std::uint32_t> types;
  for (std::size_t i = 0; i < home().fields.size() && i < gathered.columns.size(); ++i) {
    types.push_back(home().fields[i].type);
    if (auto reason = cannot_be_gathered(home().fields[i], gathered.columns[i])) {
      Error error = plan.refusal;
      error.detail = std::move(*reason);
      fail(std::move(error));
      co_return false;
    }
  }
  gathered_.emplace_back(std::move(types));
  co_return co_await gather_rows(one, gathered.what);
}

net::Task<bool> Scatter::explain_finish(Portal& portal, const ScatterPlan& plan, const std::string& sql, std::string_view prefix, Explained& explained) {
  const std::vector<ScatterLink*> one{&home()};
  send_run(home(), run_of(portal, plan.finish_sql, concat(prefix, sql), {}, &plan));
  gathered_.clear();
  const bool described = co_await describe_runs(one);
  if (!described) co_return false;
  std::vector<ExplainedPart> finish{{std::string(s_.shard_name(schema::kHomeShard)), sql, "", {}}};
  const bool got = co_await take_explained(one, finish, 0);
  explained.finish = std::move(finish.front());
  co_return got;
}

// Up to `max_rows` of them (0: all).
void Scatter::send_explained(Portal& portal, std::uint32_t max_rows) {
  while (!portal.explained.empty() && (max_rows == 0 || portal.rows < max_rows)) {
    const std::optional<std::string> row(std::move(portal.explained.front()));
    portal.explained.pop_front();
    wire::write_data_row(pending_, {&row, 1});
    ++portal.rows;
  }
  portal.state = portal.explained.empty() ? Portal::State::done : Portal::State::suspended;
}

}  // namespace weir::proxy
