// What a statement's columns are: the client's own text is tried on the home shard, and what the shards say of theirs must be alike before a row
// is passed on.
#include <algorithm>
#include <utility>

#include "base/strings.hpp"
#include "proxy/proxy.hpp"
#include "proxy/scatter.hpp"

namespace weir::proxy {

using router::ScatterPlan;

namespace {
constexpr std::uint32_t kUnknown = 705;

// What the home shard said of a client's own text; kept with its plan (ScatterPlan::described).
struct Described {
  std::vector<std::uint32_t> types;   // of its parameters
  Fields fields;
  InternedRef text;                   // the shards' text of the latest run
};

// Its memory, roughly.
std::size_t size_of(const Described& described) {
  std::size_t bytes = sizeof described + described.types.size() * sizeof(std::uint32_t);
  for (const auto& f : described.fields) bytes += sizeof f + f.name.size();
  return bytes;
}

// A conflict, a want of resources, a lock, a limit or an operator.
bool is_no_fault_of_the_text(std::string_view code) {
  const std::string_view its_class = code.substr(0, 2);
  return its_class == "40" || its_class == "53" || its_class == "54" || its_class == "55" || its_class == "57" || its_class == "58";
}

// What stands in front of its run is not answered yet.
bool is_asked_first(const ScatterLink& link) { return link.step() && *link.step() != ScatterLink::Step::run; }
}  // namespace

// ---- the client's own text ----

void Scatter::send_check(Source& source) {
  ScatterLink& link = checker();
  link.check_failed = false;
  wire::write_parse(link.out(), "", source.sql, source.types);
  wire::write_named(link.out(), 'D', 'S', "");
  wire::write_sync(link.out());
  link.owe(Step::check);
  link.server().unnamed_statement = 0;
  checking_ = &source;
}

net::Task<bool> Scatter::check(Source& source) {
  if (running_) {
    const bool settled = co_await settle(false);
    if (!settled) co_return false;
  }
  if (!source.checked) send_check(source);
  const bool right = co_await await_check(source);
  co_return right;
}

net::Task<bool> Scatter::await_check(Source& source) {
  while (!failed()) {
    const bool begun = !s_.spread_ || !still_asks(s_.spread_->first());
    if (!source.checked) static_cast<void>(still_asks(checker()));
    if ((source.checked && begun) || failed()) break;
    const bool awake = co_await sleep();
    if (!awake) break;
  }
  co_return !failed();
}

// Can the statement go to the shards in the same packet as its check?
bool Scatter::types_are_known(const Source& source) const {
  if (source.checked) return true;
  return source.types.size() >= source.plan->parameters &&
         std::none_of(source.types.begin(), source.types.end(), [](std::uint32_t t) { return t == 0 || t == kUnknown; });
}

bool Scatter::parameters_fit(const Portal& portal) {
  const Source& source = *portal.source;
  if (portal.parameters.size() == source.types.size()) return true;
  fail({sqlstate::kProtocolViolation,
        concat("bind message supplies ", std::to_string(portal.parameters.size()), " parameters, but prepared statement \"", source.name,
               "\" requires ", std::to_string(source.types.size()))});
  return false;
}

bool Scatter::formats_fit(const Portal& portal, std::size_t columns) {
  if (portal.formats.size() < 2 || portal.formats.size() == columns) return true;
  fail({sqlstate::kProtocolViolation, concat("bind message has ", std::to_string(portal.formats.size()), " result formats but query has ",
                                             std::to_string(columns), " columns")});
  return false;
}

// ---- what is kept of it ----

// Where it is proven wrong the batch begins again (run()): nothing may have been passed on, nor may it be part of a transaction that an error
// spoils. And the home shard itself must have a part, or what it says of its tables would not be seen.
bool Scatter::may_keep(const Portal& portal) const {
  const router::Plan& plan = *portal.source->plan;
  return plan.target == router::Target::scatter && plan.verb == router::Verb::query && !plan.explain && !portal.source->filled &&
         portal.shards.front() == schema::kHomeShard;
}

// In place of a check; the shards' own words must confirm it (as_described()).
bool Scatter::take_kept(const Portal& portal) {
  if (!trusts_kept_) portal.plan->described.reset();
  if (s_.spread_ || s_.pinned_ || s_.forwarded_ > 0 || !may_keep(portal) || !portal.plan->described) return false;
  const auto& kept = *static_cast<const Described*>(portal.plan->described.get());
  Source& source = *portal.source;
  source.types = kept.types;
  source.fields = kept.fields;
  source.returns_rows = source.checked = true;
  believes_kept_ = true;
  return true;
}

// `fields`: what the first shard says of its part. A text that the server has remarks on is tried each time.
void Scatter::keep(const Portal& portal, const Fields& fields) {
  const Source& source = *portal.source;
  if (portal.plan->described || source.remarked || !may_keep(portal) || !same_origin(source.fields, fields)) return;
  Described told{source.types, source.fields, nullptr};
  if (size_of(told) <= router::kDescribedBytes) portal.plan->described = std::make_shared<Described>(std::move(told));
}

// The shards' text as a prepared statement of theirs: from the second run of the same one that goes by what is kept, so that what differs in its literals each time does
// not fill the servers. A plan that is kept must not depend on parameters, unless the client has asked for that. Null: it has no name. A text
// that a server will not take by its name is sent again without (doubts_kept()).
InternedRef Scatter::name_on_servers(const Portal& portal, const std::string& sql, std::vector<std::uint32_t> types) const {
  if (!believes_kept_ || sql.size() > router::kDescribedBytes || (!types.empty() && portal.source->name.empty())) return nullptr;
  auto& kept = *static_cast<Described*>(portal.plan->described.get());
  PreparedStatement text;
  text.sql = sql;
  text.types = std::move(types);
  InternedRef interned = s_.intern(text);
  return std::exchange(kept.text, interned) == interned ? interned : nullptr;
}

// Has a statement failed that went by what was kept, and by what another try may mend? None has waited in vain, or been told to stop.
bool Scatter::doubts_kept() {
  if (!failure_ || !believes_kept_ || cancel_wanted_ || closed_ || s_.forwarded_ > 0) return false;
  if (failure_->response)
    if (const auto view = wire::read_error(failure_->response->view()); view && is_no_fault_of_the_text(view->code)) return false;
  trusts_kept_ = false;
  return true;
}

// ---- what the servers say of their columns ----

// Takes what has come of it.
bool Scatter::still_asks(ScatterLink& link) {
  wire::Message row;
  if (is_asked_first(link)) static_cast<void>(next_row(link, row));
  return is_asked_first(link);
}

// All have told their columns, the client's own text has been tried, and a transaction over shards may be one.
net::Task<bool> Scatter::describe_runs(const std::vector<ScatterLink*>& links) {
  for (;;) {
    bool all = true;
    for (ScatterLink* link : links) {
      wire::Message row;
      if (!link->described) static_cast<void>(next_row(*link, row));
      all &= link->described;
    }
    all &= !still_asks(checker());
    if (s_.spread_) all &= !still_asks(s_.spread_->first());
    if (failed()) co_return false;
    if (all) co_return true;
    const bool awake = co_await sleep();
    if (!awake) co_return false;
  }
}

bool Scatter::alike(const std::vector<ScatterLink*>& links, const ScatterPlan& plan) {
  const Fields& first = links.front()->fields;
  if (const auto* field = find_binary_user_type(first)) {
    fail(not_alike(plan, concat("Column \"", field->name, "\" is of a type that each database numbers by itself (OID ", std::to_string(field->type), "), and in binary format.")));
    return false;
  }
  for (const ScatterLink* link : links) {
    auto reason = link->fields.size() == first.size() ? differ(first, link->fields, first.size())
                                                      : concat("one has ", std::to_string(first.size()), " columns, the other ", std::to_string(link->fields.size()));
    if (!reason) continue;
    fail(not_alike(plan, concat("Shards ", s_.shard_name(links.front()->shard()), " and ", s_.shard_name(link->shard()), " differ: ", *reason)));
    return false;
  }
  return true;
}

// The client gets the columns that its own text has; `hidden` ones stand behind them. What was kept of it is confirmed so, too.
bool Scatter::as_described(const Portal& portal, const Fields& fields, const ScatterPlan& plan, std::size_t hidden) {
  const Fields& wanted = portal.source->fields;
  auto reason = fields.size() == wanted.size() + hidden
                    ? differ(wanted, fields, wanted.size())
                    : concat("the statement has ", std::to_string(wanted.size()), " columns, its parts ", std::to_string(fields.size()));
  if (!reason && believes_kept_ && !same_origin(wanted, fields)) reason = "a table of the statement was made anew";
  if (!reason) {
    keep(portal, fields);
    believes_kept_ = false;
    return true;
  }
  fail(not_alike(plan, std::move(*reason)));
  return false;
}

}  // namespace weir::proxy
