// Every branch of a distributed commit, step by step. Atomicity over all crash points: two_phase_model_test.cpp.

#include "router/two_phase.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>

namespace weir::router {
namespace {

using Kind = TwoPhase::Outcome::Kind;
using testing::HasSubstr;
using namespace std::chrono_literals;

constexpr const char* kCluster = "9c3f52a0-6d8f-4a52-9e0c-0f3d5a4f7b11";
constexpr const char* kGid1 = "weir:1:9c3f52a06d8f4a529e0c0f3d5a4f7b11:s0:3e8-0000000000002a:s1";
constexpr const char* kGid2 = "weir:1:9c3f52a06d8f4a529e0c0f3d5a4f7b11:s0:3e8-0000000000002a:s2";
constexpr TimePoint kStart{1000h};

ServerReply tag(std::string t, char status = 'I') { return {{std::move(t)}, {}, {}, status}; }
ServerReply error(const char (&code)[6], char status = 'I', std::vector<std::string> tags = {}) { return {std::move(tags), {}, Error(SqlState(code), "no"), status}; }
const ServerReply kXid{{"SELECT 1"}, "1000", {}, 'T'};
const ServerReply kDecided{{"SELECT 1", "COMMIT"}, "", {}, 'I'};

// Shards s0, s1, ...; `writes`: first_write of each.
class Commit {
 public:
  explicit Commit(std::vector<unsigned> writes, std::optional<std::uint64_t> xid = {}) : machine_(settings(std::move(writes), xid), kStart) { take(); }

  // What is under way, by shard.
  std::map<std::size_t, std::string> sent;

  Commit& answer(std::size_t shard, const ServerReply& reply) {
    EXPECT_EQ(sent.erase(shard), 1U) << "nothing was asked of shard " << shard;
    machine_.answered(shard, reply, now);
    return take();
  }
  Commit& lose(std::size_t shard, bool was_sent = true) {
    sent.erase(shard);
    machine_.lost(shard, was_sent, now);
    return take();
  }
  Commit& pass(Duration time) {
    now += time;
    machine_.time_passed(now);
    return take();
  }
  // To the moment the decision has been sent.
  Commit& until_decision() {
    if (sent.contains(0)) answer(0, kXid);
    const auto prepares = sent;
    for (const auto& [shard, sql] : prepares) answer(shard, tag("PREPARE TRANSACTION"));
    return *this;
  }
  const TwoPhase::Outcome& end() {
    EXPECT_TRUE(machine_.finished());
    EXPECT_TRUE(sent.empty());
    return machine_.outcome();
  }
  [[nodiscard]] bool finished() const { return machine_.finished(); }
  [[nodiscard]] bool reusable(std::size_t shard) const { return machine_.reusable(shard); }
  [[nodiscard]] Deadline deadline() const { return machine_.deadline(); }
  unsigned round_trips = 0;
  TimePoint now = kStart;

 private:
  static TwoPhaseSettings settings(std::vector<unsigned> writes, std::optional<std::uint64_t> xid) {
    TwoPhaseSettings s{kCluster, 42, {}, xid};
    for (std::size_t i = 0; i < writes.size(); ++i) s.shards.push_back({"s" + std::to_string(i), writes[i]});
    return s;
  }
  Commit& take() {
    const auto sends = machine_.take_sends();
    if (!sends.empty()) ++round_trips;
    for (const auto& s : sends) EXPECT_TRUE(sent.emplace(s.shard, s.sql).second) << "a second message to shard " << s.shard;
    return *this;
  }
  TwoPhase machine_;
};

std::string code(const TwoPhase::Outcome& o) { return o.error ? std::string(o.error->code.view()) : ""; }

// ---- one shard wrote, or none ----

TEST(TwoPhase, AShardThatCannotBePreparedDecides) {
  TwoPhaseSettings settings{kCluster, 42, {}, {}};
  for (unsigned i = 0; i < 3; ++i) settings.shards.push_back({"s" + std::to_string(i), i + 1, i == 1});
  TwoPhase machine(std::move(settings), kStart);
  const auto asked = machine.take_sends();
  ASSERT_EQ(asked.size(), 1U);
  EXPECT_EQ(asked[0].shard, 1U);
  EXPECT_THAT(asked[0].sql, HasSubstr("txid_current"));
  machine.answered(1, kXid, kStart);
  for (const TwoPhase::Send& send : machine.take_sends()) {
    EXPECT_NE(send.shard, 1U);
    EXPECT_THAT(send.sql, HasSubstr("PREPARE TRANSACTION 'weir:1:9c3f52a06d8f4a529e0c0f3d5a4f7b11:s1:"));
    machine.answered(send.shard, tag("PREPARE TRANSACTION"), kStart);
  }
  const auto decided = machine.take_sends();
  ASSERT_EQ(decided.size(), 1U);
  EXPECT_EQ(decided[0].shard, 1U);
  EXPECT_THAT(decided[0].sql, HasSubstr("COMMIT"));
}

TEST(TwoPhase, WithoutAWriterEveryShardCommitsPlainlyAtOnce) {
  Commit c({0, 0});
  EXPECT_EQ(c.sent, (std::map<std::size_t, std::string>{{0, "COMMIT"}, {1, "COMMIT"}}));
  const auto& o = c.answer(1, tag("COMMIT")).answer(0, tag("COMMIT")).end();
  EXPECT_EQ(o.kind, Kind::committed);
  EXPECT_EQ(o.tag, "COMMIT");
  EXPECT_TRUE(c.reusable(0) && c.reusable(1));
}

TEST(TwoPhase, WithoutAWriterAFailureIsToldAsItIs) {
  EXPECT_EQ(code(Commit({0, 0}).answer(0, error("40001")).answer(1, tag("COMMIT")).end()), "40001");
  EXPECT_EQ(code(Commit({0, 0}).lose(0).answer(1, tag("COMMIT")).end()), "08006");
  EXPECT_EQ(Commit({0, 0}).answer(0, tag("ROLLBACK")).answer(1, tag("COMMIT")).end().tag, "ROLLBACK");
}

TEST(TwoPhase, TheOneWriterCommitsBeforeThoseThatReadSoThatTheirLocksHoldUntilThen) {
  Commit c({0, 1, 0});
  EXPECT_EQ(c.sent, (std::map<std::size_t, std::string>{{1, "COMMIT"}}));
  EXPECT_TRUE(c.deadline().is_never());
  c.answer(1, tag("COMMIT"));
  EXPECT_EQ(c.sent, (std::map<std::size_t, std::string>{{0, "COMMIT"}, {2, "COMMIT"}}));
  const auto& o = c.lose(0).answer(2, error("40001")).end();
  EXPECT_EQ(o.kind, Kind::committed) << "all that was written is";
  EXPECT_FALSE(o.error);
  EXPECT_FALSE(c.reusable(0));
  EXPECT_TRUE(c.reusable(2));
}

TEST(TwoPhase, AReaderThatDoesNotAnswerIsNotWaitedForLong) {
  Commit c({1, 0});
  c.answer(0, tag("COMMIT")).pass(1s);
  c.sent.clear();
  const auto& o = c.end();
  EXPECT_EQ(o.kind, Kind::committed);
  EXPECT_TRUE(o.warnings.empty());
  EXPECT_FALSE(c.reusable(1));
}

TEST(TwoPhase, AFailureOfTheOneWriterRollsTheReadersBack) {
  Commit c({1, 0});
  c.answer(0, error("23503"));
  EXPECT_EQ(c.sent, (std::map<std::size_t, std::string>{{1, "ROLLBACK"}}));
  const auto& o = c.answer(1, tag("ROLLBACK")).end();
  EXPECT_EQ(o.kind, Kind::rolled_back);
  EXPECT_EQ(code(o), "23503");
  EXPECT_EQ(o.error_shard, 0U);
}

TEST(TwoPhase, AFailedBlockOfTheOneWriterIsARollbackWithoutAnError) {
  const auto o = Commit({1, 0}).answer(0, tag("ROLLBACK")).answer(1, tag("ROLLBACK")).end();
  EXPECT_EQ(o.kind, Kind::rolled_back);
  EXPECT_EQ(o.tag, "ROLLBACK");
  EXPECT_FALSE(o.error);
}

TEST(TwoPhase, TheOneWriterLostWithItsCommitUnderWayLeavesTheOutcomeUnknown) {
  const auto o = Commit({1, 0}).lose(0).end();
  EXPECT_EQ(o.kind, Kind::unknown);
  EXPECT_EQ(code(o), "08007");
  EXPECT_FALSE(o.error->outcome_known);
  EXPECT_FALSE(o.recovery_needed);
  EXPECT_EQ(code(Commit({1, 0}).lose(0, false).answer(1, tag("ROLLBACK")).end()), "08006") << "nothing was sent";
}

// ---- the good way ----

TEST(TwoPhase, TakesFourRoundTripsOverTwoShards) {
  Commit c({1, 2});
  EXPECT_EQ(c.sent, (std::map<std::size_t, std::string>{{0, "SELECT pg_catalog.txid_current()"}}));
  c.answer(0, kXid);
  EXPECT_EQ(c.sent, (std::map<std::size_t, std::string>{{1, std::string("PREPARE TRANSACTION '") + kGid1 + "'"}}));
  c.answer(1, tag("PREPARE TRANSACTION"));
  EXPECT_EQ(c.sent, (std::map<std::size_t, std::string>{{0, "SELECT weir.decide('3e8-0000000000002a', ARRAY['s1']::pg_catalog.text[]); COMMIT"}}));
  EXPECT_TRUE(c.deadline().is_never());
  c.answer(0, kDecided);
  EXPECT_EQ(c.sent, (std::map<std::size_t, std::string>{{1, std::string("COMMIT PREPARED '") + kGid1 + "'"}}));
  const auto& o = c.answer(1, tag("COMMIT PREPARED")).end();
  EXPECT_EQ(o.kind, Kind::committed);
  EXPECT_EQ(o.tag, "COMMIT");
  EXPECT_TRUE(o.warnings.empty());
  EXPECT_FALSE(o.recovery_needed);
  EXPECT_EQ(c.round_trips, 4U);
  EXPECT_TRUE(c.reusable(0) && c.reusable(1));
}

TEST(TwoPhase, TakesThreeIfTheDecidersNumberIsKnown) {
  Commit c({1, 2}, 1000);
  c.until_decision().answer(0, kDecided).answer(1, tag("COMMIT PREPARED"));
  EXPECT_EQ(c.end().kind, Kind::committed);
  EXPECT_EQ(c.round_trips, 3U);
}

TEST(TwoPhase, TheFirstThatWroteDecidesAndThoseThatOnlyReadEndAfterTheDecision) {
  Commit c({3, 0, 1, 2});
  c.answer(2, kXid);
  EXPECT_EQ(c.sent.size(), 2U);
  EXPECT_TRUE(c.sent.contains(0) && c.sent.contains(3));
  EXPECT_THAT(c.sent[0], HasSubstr(":s2:3e8-0000000000002a:s0"));
  c.answer(3, tag("PREPARE TRANSACTION")).answer(0, tag("PREPARE TRANSACTION"));
  EXPECT_THAT(c.sent[2], HasSubstr("ARRAY['s0', 's3']"));
  c.answer(2, kDecided);
  EXPECT_EQ(c.sent[1], "COMMIT");
  EXPECT_EQ(c.sent.size(), 3U);
  c.answer(0, tag("COMMIT PREPARED")).answer(1, tag("COMMIT")).answer(3, tag("COMMIT PREPARED"));
  EXPECT_EQ(c.end().kind, Kind::committed);
}

// ---- before the decision ----

TEST(TwoPhase, AnErrorAsTheDeciderIsAskedRollsBackEverything) {
  Commit c({1, 2});
  c.answer(0, error("25P02", 'E'));
  EXPECT_EQ(c.sent, (std::map<std::size_t, std::string>{{0, "ROLLBACK"}, {1, "ROLLBACK"}}));
  EXPECT_EQ(code(c.answer(0, tag("ROLLBACK")).answer(1, tag("ROLLBACK")).end()), "25P02");
}

TEST(TwoPhase, TheDeciderLostAsItIsAskedRollsBackTheOthers) {
  const auto o = Commit({1, 2}).lose(0).answer(1, tag("ROLLBACK")).end();
  EXPECT_EQ(o.kind, Kind::rolled_back);
  EXPECT_EQ(code(o), "08006");
  EXPECT_FALSE(o.recovery_needed);
}

TEST(TwoPhase, AnIdleShardLostBeforeTheDecisionRollsBackEverything) {
  Commit c({1, 2, 0});
  c.lose(2, false).answer(0, kXid);
  EXPECT_EQ(c.sent, (std::map<std::size_t, std::string>{{0, "ROLLBACK"}, {1, "ROLLBACK"}}));
}

TEST(TwoPhase, AFailedPrepareRollsBackThePreparedAndTheOpenOnes) {
  Commit c({1, 2, 3, 0});
  c.answer(0, kXid).answer(1, tag("PREPARE TRANSACTION"));
  EXPECT_EQ(c.sent.size(), 1U) << "the other answer is waited for";
  c.answer(2, error("23503"));
  EXPECT_EQ(c.sent, (std::map<std::size_t, std::string>{{0, "ROLLBACK"}, {1, std::string("ROLLBACK PREPARED '") + kGid1 + "'"}, {3, "ROLLBACK"}}));
  const auto& o = c.answer(0, tag("ROLLBACK")).answer(1, tag("ROLLBACK PREPARED")).answer(3, tag("ROLLBACK")).end();
  EXPECT_EQ(o.kind, Kind::rolled_back);
  EXPECT_EQ(code(o), "23503");
  EXPECT_EQ(o.error_shard, 2U);
  EXPECT_FALSE(o.recovery_needed);
}

TEST(TwoPhase, AFailedBlockAnswersPrepareWithRollbackAndIsNotPrepared) {
  Commit c({1, 2});
  c.answer(0, kXid).answer(1, tag("ROLLBACK"));
  EXPECT_EQ(c.sent, (std::map<std::size_t, std::string>{{0, "ROLLBACK"}}));
  const auto& o = c.answer(0, tag("ROLLBACK")).end();
  EXPECT_EQ(o.tag, "ROLLBACK");
  EXPECT_FALSE(o.error);
}

TEST(TwoPhase, AnUnexpectedTagIsAFailure) {
  Commit c({1, 2});
  c.answer(0, kXid).answer(1, tag("PREPARE", 'T'));
  EXPECT_EQ(c.sent.size(), 2U);
  EXPECT_EQ(code(c.answer(0, tag("ROLLBACK")).answer(1, tag("ROLLBACK")).end()), "XX000");
}

TEST(TwoPhase, ALostPrepareMayHaveHappenedAndIsLeftToRecovery) {
  Commit c({1, 2, 3});
  c.answer(0, kXid).lose(1).answer(2, tag("PREPARE TRANSACTION"));
  EXPECT_EQ(c.sent, (std::map<std::size_t, std::string>{{0, "ROLLBACK"}, {2, std::string("ROLLBACK PREPARED '") + kGid2 + "'"}}));
  const auto& o = c.answer(0, tag("ROLLBACK")).answer(2, tag("ROLLBACK PREPARED")).end();
  EXPECT_EQ(o.kind, Kind::rolled_back);
  EXPECT_EQ(code(o), "08006");
  EXPECT_TRUE(o.recovery_needed);
}

TEST(TwoPhase, APrepareThatWasNeverSentLeavesNothing) {
  EXPECT_FALSE(Commit({1, 2}).answer(0, kXid).lose(1, false).answer(0, tag("ROLLBACK")).end().recovery_needed);
}

TEST(TwoPhase, ThePreparedOneLostBeforeTheDecisionRollsBack) {
  Commit c({1, 2, 3});
  c.answer(0, kXid).answer(1, tag("PREPARE TRANSACTION")).lose(1, false).answer(2, tag("PREPARE TRANSACTION"));
  EXPECT_FALSE(c.sent.contains(1));
  const auto& o = c.answer(0, tag("ROLLBACK")).answer(2, tag("ROLLBACK PREPARED")).end();
  EXPECT_EQ(o.kind, Kind::rolled_back);
  EXPECT_TRUE(o.recovery_needed);
}

TEST(TwoPhase, UndecidedAfterAnHourRollsBack) {
  Commit c({1, 2, 3});
  c.answer(0, kXid).answer(1, tag("PREPARE TRANSACTION"));
  EXPECT_EQ(c.deadline(), Deadline{kStart + 1h});
  c.pass(59min);
  EXPECT_FALSE(c.finished());
  c.sent.erase(2);
  c.pass(1min).answer(0, tag("ROLLBACK")).answer(1, tag("ROLLBACK PREPARED"));
  EXPECT_EQ(c.end().kind, Kind::rolled_back);
  EXPECT_EQ(code(c.end()), "40001");
  EXPECT_TRUE(c.end().recovery_needed) << "the third may be prepared any moment";
  EXPECT_FALSE(c.reusable(2));
}

TEST(TwoPhase, AnAnswerThatComesAfterAnHourDoesNotDecideEither) {
  Commit c({1, 2});
  c.answer(0, kXid);
  c.now += 1h;
  c.answer(1, tag("PREPARE TRANSACTION"));
  EXPECT_THAT(c.sent[1], HasSubstr("ROLLBACK PREPARED"));
}

TEST(TwoPhase, NamesThatDoNotFitRollBackBeforeAnythingIsPrepared) {
  TwoPhase machine({kCluster, 1, {{std::string(63, ':'), 1}, {std::string(63, ':'), 2}}, 7}, kStart);
  const auto sends = machine.take_sends();
  ASSERT_EQ(sends.size(), 2U);
  EXPECT_EQ(sends[0].sql, "ROLLBACK");
  EXPECT_EQ(sends[1].sql, "ROLLBACK");
}

// ---- the decision ----

TEST(TwoPhase, ADecisionThatFailsRollsBack) {
  for (const bool ended : {false, true}) {
    Commit c({1, 2});
    c.until_decision().answer(0, ended ? error("23503", 'I', {"SELECT 1"}) : error("25006", 'E'));
    EXPECT_THAT(c.sent[1], HasSubstr("ROLLBACK PREPARED"));
    EXPECT_EQ(c.sent.contains(0), !ended);
    if (!ended) c.answer(0, tag("ROLLBACK"));
    const auto& o = c.answer(1, tag("ROLLBACK PREPARED")).end();
    EXPECT_EQ(o.kind, Kind::rolled_back);
    EXPECT_EQ(code(o), ended ? "23503" : "25006");
  }
}

TEST(TwoPhase, RecoverysAbortIsTheClientsToTryAgain) {
  const auto o = Commit({1, 2}).until_decision().answer(0, error("23505", 'E')).answer(0, tag("ROLLBACK")).answer(1, error("42704")).end();
  EXPECT_EQ(o.kind, Kind::rolled_back);
  EXPECT_EQ(code(o), "40001");
  EXPECT_FALSE(o.error_shard) << "it is not the server's text that is told";
  EXPECT_FALSE(o.recovery_needed) << "recovery has rolled it back already";
}

TEST(TwoPhase, AUniqueViolationOfCommitItselfIsTheClientsOwn) {
  const auto o = Commit({1, 2}).until_decision().answer(0, error("23505", 'I', {"SELECT 1"})).answer(1, tag("ROLLBACK PREPARED")).end();
  EXPECT_EQ(code(o), "23505");
}

TEST(TwoPhase, ASchemaOfAnEarlierVersionNamesTheCommandThatHelps) {
  const auto o = Commit({1, 2}).until_decision().answer(0, error("42883", 'E')).answer(0, tag("ROLLBACK")).answer(1, tag("ROLLBACK PREPARED")).end();
  EXPECT_EQ(code(o), "42883");
  EXPECT_THAT(o.error->hint, HasSubstr("weirctl init"));
}

TEST(TwoPhase, TheDeciderLostWithTheDecisionUnderWayLeavesTheOutcomeUnknownAndTouchesNothing) {
  Commit c({1, 2});
  const auto& o = c.until_decision().lose(0).end();
  EXPECT_EQ(o.kind, Kind::unknown);
  EXPECT_EQ(code(o), "08007");
  EXPECT_FALSE(o.error->outcome_known);
  EXPECT_TRUE(o.recovery_needed);
  EXPECT_TRUE(c.reusable(1)) << "its session is in no transaction";
}

TEST(TwoPhase, ADecisionThatWasNeverSentRollsBack) {
  const auto o = Commit({1, 2}).until_decision().lose(0, false).answer(1, tag("ROLLBACK PREPARED")).end();
  EXPECT_EQ(o.kind, Kind::rolled_back);
  EXPECT_EQ(code(o), "08006");
}

TEST(TwoPhase, WhatIsLostWhileTheDecisionIsUnderWayDoesNotChangeIt) {
  Commit c({1, 2, 0});
  const auto& o = c.until_decision().lose(1, false).lose(2, false).answer(0, kDecided).end();
  EXPECT_EQ(o.kind, Kind::committed);
  EXPECT_EQ(o.warnings.size(), 1U);
  EXPECT_TRUE(o.recovery_needed);
}

// ---- after it ----

TEST(TwoPhase, NoAnswerWithinASecondIsAWarningAndRecoverysWork) {
  Commit c({1, 2, 3});
  c.until_decision().answer(0, kDecided).answer(1, tag("COMMIT PREPARED"));
  EXPECT_EQ(c.deadline(), Deadline{kStart + 1s});
  c.pass(999ms);
  EXPECT_FALSE(c.finished());
  c.sent.clear();
  const auto& o = c.pass(1ms).end();
  EXPECT_EQ(o.kind, Kind::committed);
  EXPECT_EQ(o.tag, "COMMIT");
  ASSERT_EQ(o.warnings.size(), 1U);
  EXPECT_THAT(o.warnings[0], HasSubstr(kGid2));
  EXPECT_TRUE(o.recovery_needed);
  EXPECT_FALSE(c.reusable(2));
}

TEST(TwoPhase, NoFailureAfterTheDecisionIsAnError) {
  for (const bool gone : {false, true}) {
    Commit c({1, 2, 3});
    c.until_decision().answer(0, kDecided).answer(1, tag("COMMIT PREPARED"));
    if (gone)
      c.lose(2);
    else
      c.answer(2, error("42501"));
    EXPECT_EQ(c.end().kind, Kind::committed);
    EXPECT_FALSE(c.end().error);
    EXPECT_EQ(c.end().warnings.size(), 1U);
    EXPECT_TRUE(c.end().recovery_needed);
  }
}

TEST(TwoPhase, WhatRecoveryHasFinishedAlreadyIsASuccess) {
  const auto o = Commit({1, 2}).until_decision().answer(0, kDecided).answer(1, error("42704")).end();
  EXPECT_EQ(o.kind, Kind::committed);
  EXPECT_TRUE(o.warnings.empty());
  EXPECT_FALSE(o.recovery_needed);
}

TEST(TwoPhase, ARollbackThatIsNotAnsweredIsNotWaitedForLong) {
  Commit c({1, 2, 3});
  c.answer(0, kXid).answer(1, tag("PREPARE TRANSACTION")).answer(2, error("23503")).answer(0, tag("ROLLBACK"));
  c.sent.clear();
  const auto& o = c.pass(1s).end();
  EXPECT_EQ(o.kind, Kind::rolled_back);
  EXPECT_EQ(code(o), "23503");
  EXPECT_TRUE(o.warnings.empty());
  EXPECT_TRUE(o.recovery_needed);
}

TEST(TwoPhase, AServerLeftInATransactionIsNotGivenBack) {
  Commit c({1, 2});
  c.answer(0, error("57014", 'E')).answer(0, error("57014", 'E')).answer(1, tag("ROLLBACK"));
  EXPECT_EQ(c.end().kind, Kind::rolled_back);
  EXPECT_FALSE(c.reusable(0));
}

}  // namespace
}  // namespace weir::router
