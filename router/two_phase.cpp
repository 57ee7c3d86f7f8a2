#include "router/two_phase.hpp"

#include <algorithm>
#include <charconv>
#include <utility>

#include "base/strings.hpp"
#include "router/gid.hpp"
#include "schema/quote.hpp"

namespace weir::router {
namespace {

constexpr SqlState kUniqueViolation{"23505"}, kUndefinedObject{"42704"}, kUndefinedFunction{"42883"}, kUndefinedSchema{"3F000"};

std::optional<std::uint64_t> number(const std::optional<std::string>& text) {
  std::uint64_t value = 0;
  if (!text) return std::nullopt;
  const auto [end, bad] = std::from_chars(text->data(), text->data() + text->size(), value);
  if (bad != std::errc{} || end != text->data() + text->size()) return std::nullopt;
  return value;
}

std::string_view last_tag(const ServerReply& reply) { return reply.tags.empty() ? std::string_view{} : reply.tags.back(); }
bool did(const ServerReply& reply, std::string_view tag) { return !reply.error && last_tag(reply) == tag; }

Error connection_lost(const std::string& shard) {
  Error e(sqlstate::kConnectionFailure, concat("the connection to shard ", shard, " was lost before the transaction was committed; it was rolled back"),
          "Run the transaction again.");
  e.transaction_spoilt = true;
  return e;
}

Error outcome_unknown(const std::string& shard) {
  Error e(sqlstate::kTransactionResolutionUnknown,
          concat("the connection to shard ", shard, " was lost as it committed: whether the transaction was committed is not known"),
          "It is committed on all shards or rolled back on all: look at what it wrote before it is run again.");
  e.outcome_known = false;
  return e;
}

// What weir.decide() itself failed with, in words of use to a client.
Error decide_error(const std::string& shard, const Error& said) {
  if (said.code == kUniqueViolation)
    return {sqlstate::kSerializationFailure, "the transaction was undecided for so long that recovery has rolled it back", "Run the transaction again."};
  Error e = said;
  if (said.code == kUndefinedFunction || said.code == kUndefinedSchema)
    e.hint = concat("Schema weir of shard ", shard, " is of an earlier version: run `weirctl init -c weir.toml`.");
  return e;
}

}  // namespace

TwoPhase::TwoPhase(TwoPhaseSettings settings, TimePoint now)
    : cluster_(std::move(settings.cluster)), random_(settings.random), begun_(now) {
  unsigned first = 0;
  std::size_t writers = 0;
  for (std::size_t i = 0; i < settings.shards.size(); ++i) {
    const unsigned written = settings.shards[i].first_write;
    members_.push_back({settings.shards[i].name, written != 0});
    if (written == 0) continue;
    ++writers;
    const unsigned order = settings.shards[i].cannot_prepare ? 0 : written;
    if (writers > 1 && first <= order) continue;
    first = order;
    decider_ = i;
  }
  begin(writers, settings.decider_xid);
}

void TwoPhase::begin(std::size_t writers, std::optional<std::uint64_t> xid) {
  if (writers == 0) return commit_readers(begun_);
  if (writers > 1 && xid) return prepare(*xid, begun_);
  if (writers > 1) return send(decider_, "SELECT pg_catalog.txid_current()");
  step_ = Step::committing_writer;
  send(decider_, "COMMIT");
}

std::vector<TwoPhase::Send> TwoPhase::take_sends() { return std::exchange(sends_, {}); }

Deadline TwoPhase::deadline() const {
  if (step_ == Step::identifying || step_ == Step::preparing) return Deadline{begun_ + kUndecidedAtMost};
  if (step_ == Step::deciding || step_ == Step::committing_writer) return Deadline::never();
  return patience_;
}

bool TwoPhase::reusable(std::size_t shard) const { return members_[shard].line == Line::idle && members_[shard].part != Part::open; }

// ---- what every step needs ----

bool TwoPhase::busy() const {
  return std::any_of(members_.begin(), members_.end(), [](const Member& m) { return m.line == Line::busy; });
}

void TwoPhase::send(std::size_t shard, std::string sql) {
  members_[shard].line = Line::busy;
  sends_.push_back({shard, std::move(sql)});
}

void TwoPhase::take_state(Member& member, char status) {
  if (status == 'I' && member.part == Part::open) member.part = Part::ended;
}

// The first failure is the one that is told.
void TwoPhase::fail(Error error, std::optional<std::size_t> shard) {
  failed_ = true;
  if (outcome_.error) return;
  outcome_.error = std::move(error);
  outcome_.error_shard = shard;
}

void TwoPhase::fail(std::size_t shard, const ServerReply& reply) {
  if (reply.error) return fail(*reply.error, shard);
  failed_ = true;
  if (last_tag(reply) == "ROLLBACK") return;   // the block had failed before: no error, as of PostgreSQL's COMMIT
  fail(Error(sqlstate::kInternal, concat("shard ", members_[shard].name, " answered the end of a transaction with \"", last_tag(reply), "\"")));
}

void TwoPhase::finish(Outcome::Kind kind) {
  outcome_.kind = kind;
  outcome_.tag = kind == Outcome::Kind::committed ? "COMMIT" : "ROLLBACK";
  step_ = Step::finished;
}

void TwoPhase::finish_if_done() {
  if (!busy()) finish(failed_ ? Outcome::Kind::rolled_back : Outcome::Kind::committed);
}

void TwoPhase::leave_to_recovery(const Member& member, std::string_view why) {
  outcome_.recovery_needed = true;
  if (failed_) return;
  outcome_.warnings.push_back(concat("the transaction is committed, but shard ", member.name, " ", why,
                                     ": what it wrote there appears once prepared transaction \"", member.gid, "\" is finished, which Weir sees to"));
}

// ---- events ----

void TwoPhase::answered(std::size_t shard, const ServerReply& reply, TimePoint now) {
  members_[shard].line = Line::idle;
  switch (step_) {
    case Step::identifying: return identified(shard, reply, now);
    case Step::preparing: return prepare_answered(shard, reply, now);
    case Step::deciding: return decide_answered(reply, now);
    case Step::phase_two: return end_answered(shard, reply, "COMMIT PREPARED");
    case Step::committing_writer: return writer_answered(shard, reply, now);
    case Step::committing_readers: return end_answered(shard, reply, {});
    case Step::rolling_back: return end_answered(shard, reply, "ROLLBACK PREPARED");
    case Step::finished: return;
  }
}

// An open transaction ends with its connection. Before the decision that is the end of all of it; later it matters no more.
void TwoPhase::lost(std::size_t shard, bool sent, TimePoint now) {
  Member& member = members_[shard];
  const bool under_way = std::exchange(member.line, Line::lost) == Line::busy;
  if (under_way) return lost_under_way(shard, sent, now);
  if (member.part == Part::open) member.part = Part::ended;
  if (step_ == Step::identifying || step_ == Step::preparing) fail(connection_lost(member.name));
}

void TwoPhase::lost_under_way(std::size_t shard, bool sent, TimePoint now) {
  Member& member = members_[shard];
  if (member.part == Part::open) member.part = sent && step_ == Step::preparing ? Part::doubtful : Part::ended;
  switch (step_) {
    case Step::identifying:
      fail(connection_lost(member.name));
      return roll_back(now);
    case Step::preparing:
      fail(connection_lost(member.name));
      return prepares_done(now);
    case Step::deciding:
    case Step::committing_writer:
      if (!sent) {
        fail(connection_lost(member.name));
        return roll_back(now);
      }
      outcome_.error = outcome_unknown(member.name);
      outcome_.recovery_needed = step_ == Step::deciding;
      return finish(Outcome::Kind::unknown);
    case Step::committing_readers:
      if (std::none_of(members_.begin(), members_.end(), [](const Member& m) { return m.wrote; })) fail(connection_lost(member.name));
      return finish_if_done();
    case Step::phase_two:
    case Step::rolling_back:
      if (member.part == Part::prepared) leave_to_recovery(member, "was lost");
      return finish_if_done();
    case Step::finished: return;
  }
}

void TwoPhase::time_passed(TimePoint now) {
  if (finished() || !deadline().passed(now)) return;
  if (step_ != Step::identifying && step_ != Step::preparing) return give_up_waiting();
  for (Member& member : members_) {
    if (member.line != Line::busy) continue;
    member.line = Line::lost;
    member.part = step_ == Step::preparing ? Part::doubtful : Part::ended;
  }
  fail(Error(sqlstate::kSerializationFailure, "the shards did not get ready to commit within an hour; the transaction was rolled back", "Run the transaction again."));
  roll_back(now);
}

void TwoPhase::give_up_waiting() {
  for (Member& member : members_) {
    if (member.line != Line::busy) continue;
    member.line = Line::lost;
    if (member.part == Part::prepared) leave_to_recovery(member, "has not confirmed it within a second");
  }
  finish_if_done();
}

// ---- the steps ----

void TwoPhase::identified(std::size_t shard, const ServerReply& reply, TimePoint now) {
  const auto xid = reply.error ? std::nullopt : number(reply.value);
  take_state(members_[shard], reply.status);
  if (xid && !failed_) return prepare(*xid, now);
  if (!xid) fail(shard, reply);
  roll_back(now);
}

void TwoPhase::prepare(std::uint64_t xid, TimePoint now) {
  step_ = Step::preparing;
  decision_ = make_decision_id(xid, random_);
  for (std::size_t i = 0; i < members_.size(); ++i) {
    if (i == decider_ || !members_[i].wrote) continue;
    auto gid = print_gid({cluster_, members_[decider_].name, decision_, members_[i].name});
    if (!gid) {
      fail(gid.take_error());
      return roll_back(now);
    }
    members_[i].gid = std::move(*gid);
  }
  for (std::size_t i = 0; i < members_.size(); ++i)
    if (!members_[i].gid.empty()) send(i, concat("PREPARE TRANSACTION '", members_[i].gid, "'"));
}

void TwoPhase::prepare_answered(std::size_t shard, const ServerReply& reply, TimePoint now) {
  if (did(reply, "PREPARE TRANSACTION")) {
    members_[shard].part = Part::prepared;
  } else {
    take_state(members_[shard], reply.status);
    fail(shard, reply);
  }
  prepares_done(now);
}

void TwoPhase::prepares_done(TimePoint now) {
  if (busy()) return;
  if (!failed_ && deadline().passed(now)) return time_passed(now);
  failed_ ? roll_back(now) : decide();
}

void TwoPhase::decide() {
  step_ = Step::deciding;
  std::string names;
  for (const Member& member : members_)
    if (member.part == Part::prepared) names += concat(names.empty() ? "" : ", ", schema::quote_literal(member.name));
  send(decider_, concat("SELECT weir.decide('", decision_, "', ARRAY[", names, "]::pg_catalog.text[]); COMMIT"));
}

void TwoPhase::decide_answered(const ServerReply& reply, TimePoint now) {
  take_state(members_[decider_], reply.status);
  if (did(reply, "COMMIT")) return begin_phase_two(now);
  const bool decide_failed = reply.error && reply.tags.empty();   // else it is what COMMIT failed with: a deferred constraint
  const Error told = decide_failed ? decide_error(members_[decider_].name, *reply.error) : Error{};
  if (decide_failed && told.code != reply.error->code)
    fail(told);
  else if (decide_failed)
    fail(told, decider_);
  else
    fail(decider_, reply);
  roll_back(now);
}

void TwoPhase::begin_phase_two(TimePoint now) {
  step_ = Step::phase_two;
  patience_ = Deadline{now + kPhaseTwoPatience};
  for (std::size_t i = 0; i < members_.size(); ++i) {
    const Member& member = members_[i];
    if (member.part == Part::prepared && member.line == Line::lost) leave_to_recovery(member, "was lost");
    if (member.line == Line::lost) continue;
    if (member.part == Part::prepared) send(i, concat("COMMIT PREPARED '", member.gid, "'"));
    if (member.part == Part::open) send(i, "COMMIT");
  }
  finish_if_done();
}

void TwoPhase::writer_answered(std::size_t shard, const ServerReply& reply, TimePoint now) {
  take_state(members_[shard], reply.status);
  if (did(reply, "COMMIT")) return commit_readers(now);
  fail(shard, reply);
  roll_back(now);
}

void TwoPhase::commit_readers(TimePoint now) {
  step_ = Step::committing_readers;
  patience_ = Deadline{now + kPhaseTwoPatience};
  for (std::size_t i = 0; i < members_.size(); ++i)
    if (members_[i].part == Part::open && members_[i].line == Line::idle) send(i, "COMMIT");
  finish_if_done();
}

void TwoPhase::roll_back(TimePoint now) {
  step_ = Step::rolling_back;
  patience_ = Deadline{now + kPhaseTwoPatience};
  for (std::size_t i = 0; i < members_.size(); ++i) {
    const Member& member = members_[i];
    const bool left = member.part == Part::doubtful || (member.part == Part::prepared && member.line == Line::lost);
    if (left) leave_to_recovery(member, "was lost");
    if (member.line == Line::lost) continue;
    if (member.part == Part::prepared) send(i, concat("ROLLBACK PREPARED '", member.gid, "'"));
    if (member.part == Part::open) send(i, "ROLLBACK");
  }
  finish_if_done();
}

// The last thing a shard is asked. One of nothing but reads may still say that it failed; after a decision nothing does.
void TwoPhase::end_answered(std::size_t shard, const ServerReply& reply, std::string_view tag_of_prepared) {
  Member& member = members_[shard];
  const bool only_reads = std::none_of(members_.begin(), members_.end(), [](const Member& m) { return m.wrote; });
  if (member.part == Part::prepared) {
    const bool gone_already = reply.error && reply.error->code == kUndefinedObject;   // recovery was faster
    if (did(reply, tag_of_prepared) || gone_already)
      member.part = Part::ended;
    else
      leave_to_recovery(member, reply.error ? concat("could not finish it (", reply.error->message, ")") : std::string("could not finish it"));
  } else {
    take_state(member, reply.status);
    if (only_reads && step_ == Step::committing_readers && !did(reply, "COMMIT")) fail(shard, reply);
  }
  if (reply.status != 'I') member.line = Line::lost;
  finish_if_done();
}

}  // namespace weir::router
