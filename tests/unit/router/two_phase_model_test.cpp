// A distributed commit in a world where anything may break at any moment: every order of what can happen, with up to so many faults, is
// tried. A fault: the coordinator dies; a connection is lost before, while or after a server does what it was asked; a server does
// it much later, when nobody waits any more; it refuses; the coordinator's patience ends. Recovery may act at any moment, with
// the coordinator alive, and be stopped between its steps. In the end all shards that were written to have committed, or none has.

#include <gtest/gtest.h>

#include <iostream>
#include <set>
#include <string>
#include <vector>

#include "router/two_phase.hpp"

namespace weir::router {
namespace {

using Kind = TwoPhase::Outcome::Kind;
constexpr TimePoint kStart{std::chrono::hours(1000)};

enum class Txn { open, failed, prepared, committed, rolled_back };

struct Shard {
  bool wrote = false;
  Txn txn = Txn::open;
  std::string asked;        // under way: the coordinator waits for it
  std::string late;         // the coordinator waits for it no more, but the server may still do it
  bool connected = true;
  std::string remembered;   // recovery has read this decision and has not acted yet
};

struct World {
  TwoPhase coordinator;
  std::vector<Shard> shards;
  std::string decision;     // the row on the deciding shard, which is shard 0: "", "commit", "abort"
  bool alive = true;        // the coordinator
  unsigned faults = 0;      // that may still happen
  std::string told;         // all the coordinator was told, in order: it is a function of this
};

bool starts(const std::string& text, std::string_view with) { return text.starts_with(with); }

// A server does what it is asked, as PostgreSQL would.
ServerReply execute(World& w, std::size_t i, const std::string& sql) {
  Shard& s = w.shards[i];
  const auto plain = [&](const char* tag) { return ServerReply{{tag}, {}, {}, s.txn == Txn::open ? 'T' : s.txn == Txn::failed ? 'E' : 'I'}; };
  const auto refused = [&](const char(&code)[6]) {
    ServerReply r = plain("");
    r.tags.clear();
    r.error = Error(SqlState(code), "no");
    return r;
  };
  if (starts(sql, "ROLLBACK PREPARED") || starts(sql, "COMMIT PREPARED")) {
    if (s.txn != Txn::prepared) return refused("42704");
    s.txn = starts(sql, "COMMIT") ? Txn::committed : Txn::rolled_back;
    return plain(starts(sql, "COMMIT") ? "COMMIT PREPARED" : "ROLLBACK PREPARED");
  }
  if (s.txn == Txn::failed && !starts(sql, "SELECT")) {
    s.txn = Txn::rolled_back;
    return plain("ROLLBACK");
  }
  if (s.txn != Txn::open) return refused("25P02");
  if (starts(sql, "SELECT pg_catalog.txid_current()")) {
    ServerReply r = plain("SELECT 1");
    r.value = "77";
    return r;
  }
  if (starts(sql, "PREPARE TRANSACTION")) {
    s.txn = Txn::prepared;
    return plain("PREPARE TRANSACTION");
  }
  if (starts(sql, "SELECT weir.decide(")) {
    if (!w.decision.empty()) {
      s.txn = Txn::failed;
      return refused("23505");
    }
    w.decision = "commit";
    s.txn = Txn::committed;
    return {{"SELECT 1", "COMMIT"}, {}, {}, 'I'};
  }
  s.txn = sql == "COMMIT" ? Txn::committed : Txn::rolled_back;
  return plain(sql.c_str());
}

// The server notices that its client is gone.
void hang_up(Shard& s) {
  s.connected = false;
  if (s.late.empty() && (s.txn == Txn::open || s.txn == Txn::failed)) s.txn = Txn::rolled_back;
}

class Explorer {
 public:
  Explorer(unsigned writers, unsigned readers, bool one_failed, unsigned faults) {
    TwoPhaseSettings settings{"9c3f52a0-6d8f-4a52-9e0c-0f3d5a4f7b11", 1, {}, {}};
    std::vector<Shard> shards;
    for (unsigned i = 0; i < writers + readers; ++i) {
      settings.shards.push_back({"s" + std::to_string(i), i < writers ? i + 1 : 0});
      shards.push_back({});
      shards.back().wrote = i < writers;
    }
    if (one_failed) shards[writers - 1].txn = Txn::failed;
    World start{TwoPhase(settings, kStart), std::move(shards), "", true, faults, ""};
    collect(start);
    explore(start);
  }
  std::size_t worlds = 0, ends = 0, committed = 0;

 private:
  static void collect(World& w) {
    for (const auto& send : w.coordinator.take_sends()) {
      ASSERT_TRUE(w.shards[send.shard].asked.empty());
      ASSERT_TRUE(w.shards[send.shard].connected) << "sent to a lost connection";
      w.shards[send.shard].asked = send.sql;
    }
  }
  void told(World w, std::size_t i, const ServerReply& reply) {
    w.shards[i].asked.clear();
    w.told += "a" + std::to_string(i) + (reply.error ? std::string(reply.error->code.view()) : reply.tags.back()) + reply.status;
    w.coordinator.answered(i, reply, kStart);
    next(std::move(w));
  }
  void lost(World w, std::size_t i, bool sent) {
    w.shards[i].asked.clear();
    hang_up(w.shards[i]);
    w.told += (sent ? "l" : "u") + std::to_string(i);
    w.coordinator.lost(i, sent, kStart);
    next(std::move(w));
  }
  void next(World w) {
    collect(w);
    if (w.alive && w.coordinator.finished()) check_answer(w);
    explore(w);
  }

  void explore(const World& w) {
    if (testing::Test::HasFailure() || !seen_.insert(key(w)).second) return;
    ++worlds;
    bool more = false;
    const bool running = w.alive && !w.coordinator.finished();
    for (std::size_t i = 0; i < w.shards.size(); ++i) {
      if (running && w.shards[i].connected) more |= serve(w, i);
      more |= recover(w, i);
      more |= act_late(w, i);
    }
    if (running && w.faults > 0) break_coordinator(w);
    if (!more) check_end(w);
  }

  // What may become of the message under way to shard i, or of its idle connection.
  bool serve(const World& w, std::size_t i) {
    const std::string sql = w.shards[i].asked;
    if (!sql.empty()) {
      World done = w;
      const ServerReply reply = execute(done, i, sql);
      told(done, i, reply);
      if (w.faults > 0) {
        --done.faults;
        lost(done, i, true);
      }
    }
    if (w.faults == 0) return !sql.empty();
    World broken = w;
    --broken.faults;
    lost(broken, i, false);
    if (sql.empty()) return true;
    lost(broken, i, true);
    World later = broken;
    later.shards[i].late = sql;
    lost(later, i, true);
    refuse(broken, i);
    return true;
  }
  // An error of the server's own: the transaction fails, a prepared one stays.
  void refuse(World w, std::size_t i) {
    Shard& s = w.shards[i];
    const bool was_open = s.txn == Txn::open;
    if (was_open) s.txn = starts(s.asked, "SELECT") ? Txn::failed : Txn::rolled_back;
    told(w, i, {{}, {}, Error(SqlState("57014"), "no"), was_open && s.txn == Txn::failed ? 'E' : 'I'});
  }

  // A message whose sender has gone is acted upon after all, or never.
  bool act_late(const World& w, std::size_t i) {
    if (w.shards[i].late.empty()) return false;
    World done = w;
    const std::string sql = std::exchange(done.shards[i].late, {});
    World never = done;
    (void)execute(done, i, sql);
    hang_up(done.shards[i]);
    explore(done);
    hang_up(never.shards[i]);
    explore(never);
    return true;
  }

  // Its two steps on a prepared transaction; another recovery may be between them, too.
  bool recover(const World& w, std::size_t i) {
    if (w.shards[i].txn != Txn::prepared && w.shards[i].remembered.empty()) return false;
    World done = w;
    Shard& s = done.shards[i];
    if (s.remembered.empty()) {
      if (done.decision.empty()) done.decision = "abort";
      s.remembered = done.decision;
    } else {
      if (s.txn == Txn::prepared) s.txn = s.remembered == "commit" ? Txn::committed : Txn::rolled_back;
      s.remembered.clear();
    }
    explore(done);
    return true;
  }

  void break_coordinator(const World& w) {
    World dead = w;
    --dead.faults;
    dead.alive = false;
    orphan(dead);
    explore(dead);
    if (w.coordinator.deadline().is_never()) return;
    World late = w;
    --late.faults;
    late.told += "t";
    late.coordinator.time_passed(w.coordinator.deadline().at());
    orphan(late, false);
    next(std::move(late));
  }
  // What was under way may happen yet.
  static void orphan(World& w, bool all = true) {
    for (Shard& s : w.shards) {
      if (s.asked.empty() && !all) continue;
      s.late = std::exchange(s.asked, {});
      hang_up(s);
    }
  }

  void check_answer(const World& w) {
    const auto& o = w.coordinator.outcome();
    bool unfinished = false;
    for (const Shard& s : w.shards) unfinished |= s.txn == Txn::prepared || starts(s.late, "PREPARE TRANSACTION");
    EXPECT_TRUE(!unfinished || o.recovery_needed) << w.told;
    EXPECT_EQ(o.kind == Kind::committed, !o.error && o.tag == "COMMIT") << w.told;
  }

  void check_end(const World& w) {
    ++ends;
    std::set<Txn> states;
    for (const Shard& s : w.shards)
      if (s.wrote) states.insert(s.txn);
    const bool all_committed = states == std::set{Txn::committed};
    committed += all_committed ? 1 : 0;
    EXPECT_TRUE(all_committed || !states.contains(Txn::committed)) << "half of it: " << key(w);
    EXPECT_FALSE(states.contains(Txn::prepared)) << key(w);
    if (!w.alive) return;
    ASSERT_TRUE(w.coordinator.finished()) << key(w);
    const Kind kind = w.coordinator.outcome().kind;
    EXPECT_TRUE(kind != Kind::committed || all_committed) << "the client was told COMMIT: " << key(w);
    EXPECT_TRUE(kind != Kind::rolled_back || !all_committed) << "the client was told ROLLBACK: " << key(w);
    for (std::size_t i = 0; i < w.shards.size(); ++i)
      EXPECT_TRUE(!w.coordinator.reusable(i) || (w.shards[i].connected && w.shards[i].txn != Txn::open)) << i << key(w);
  }

  static std::string key(const World& w) {
    std::string k = w.told + "|" + w.decision + (w.alive ? "a" : "d") + std::to_string(w.faults);
    for (const Shard& s : w.shards)
      k += "|" + std::to_string(static_cast<int>(s.txn)) + s.asked.substr(0, 16) + ">" + s.late.substr(0, 16) + ">" + s.remembered + (s.connected ? "" : "x");
    return k;
  }

  std::set<std::string> seen_;
};

void explore(unsigned writers, unsigned readers, bool one_failed, unsigned faults) {
  const Explorer e(writers, readers, one_failed, faults);
  testing::Test::RecordProperty("worlds", static_cast<int>(e.worlds));
  std::cout << writers << " writers, " << readers << " readers, " << faults << " faults: " << e.worlds << " states, " << e.ends << " ends, " << e.committed << " committed\n";
  EXPECT_EQ(e.committed > 0, !one_failed);
  EXPECT_GT(e.ends, e.committed);
}

TEST(TwoPhaseModel, TwoWritersAreAtomicWithThreeFaults) { explore(2, 0, false, 3); }
TEST(TwoPhaseModel, ThreeWritersAreAtomicWithTwoFaults) { explore(3, 0, false, 2); }
TEST(TwoPhaseModel, TwoWritersAndAReaderAreAtomicWithTwoFaults) { explore(2, 1, false, 2); }
TEST(TwoPhaseModel, AFailedBlockNeverCommits) { explore(2, 0, true, 2); }
TEST(TwoPhaseModel, OneWriterNeedsNoRecovery) { explore(1, 2, false, 2); }

}  // namespace
}  // namespace weir::router
