// TwoPhase: how a transaction that ran on several shards ends, all of it or none (design section 6, "Two-phase commit").
//
// A pure state machine: it says what to send, is told what came back, and sends nothing itself. Its driver is a loop:
//
//   TwoPhase commit(settings, now);
//   while (!commit.finished()) {
//     for (const TwoPhase::Send& s : commit.take_sends()) send one Query message s.sql on the server connection of s.shard;
//     wait for a whole reply (to ReadyForQuery), a lost connection, or commit.deadline(), and call answered(), lost() or time_passed();
//   }
//   answer the client by commit.outcome(); give back the servers that are reusable(), close the others;
//   if outcome().recovery_needed, have recovery look soon (proxy/recovery.hpp)
//
// The loop must run to its end even if the client goes away. Where it cannot (the process ends), closing all the connections at any moment
// is safe: recovery finishes what was begun. A client's cancel may be passed on to the servers at any moment, too.
//
// The way of a commit where two or more shards wrote; the first that wrote decides. A line is a round trip:
//
//   decider        SELECT txid_current()                        unless TwoPhaseSettings has it
//   the others     PREPARE TRANSACTION '<gid>'                  only the tag PREPARE TRANSACTION counts: a failed block answers ROLLBACK
//   decider        SELECT weir.decide('<id>', ...); COMMIT      only the tag COMMIT counts
//   the others     COMMIT PREPARED '<gid>'                      for 1 s; then the client is answered, and recovery goes on
//
// Until the third line is sent nothing is decided: any failure, and an hour gone by, rolls everything back. No answer to it (the
// connection is lost) means that the outcome is not known: the client gets 08007, and nothing more is sent: recovery reads what was
// decided. From its tag COMMIT on the transaction is committed, and no failure changes that.
//
// Shards that only read are not prepared. They end after the decision, not before: the locks they hold (FOR SHARE) protect what the
// writers wrote until that is committed. For the same reason the one shard that wrote commits before those that only read; whatever
// happens to these then, all that was written is committed.
//
// Before a second shard is written to, its driver refuses where max_prepared_transactions is 0 there (Recovery::can_prepare()).
// Not for a COMMIT AND CHAIN. https://www.postgresql.org/docs/15/two-phase.html
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/deadline.hpp"
#include "base/error.hpp"

namespace weir::router {

// A shard that a transaction has been opened on.
struct EnlistedShard {
  std::string name;
  unsigned first_write = 0;   // 0: proven to have only read; else when it was first written to: the shard with the lowest number decides,
  bool cannot_prepare = false;   // unless one is such (it has notified): its own COMMIT is the decision then. One of them at most
};

struct TwoPhaseSettings {
  std::string cluster;                 // uuid of weir.identity, the same on all shards
  std::uint64_t random = 0;            // 56 unpredictable bits
  std::vector<EnlistedShard> shards;   // at least one; all in a transaction, with no statement under way
  std::optional<std::uint64_t> decider_xid;   // the deciding shard's txid_current(), where it has been asked already: saves a round trip
};

// All a server said to one Query message.
struct ServerReply {
  std::vector<std::string> tags;      // of each CommandComplete
  std::optional<std::string> value;   // the first column of the first row
  std::optional<Error> error;         // of an ErrorResponse. FATAL ones are lost(), not this
  char status = 'I';                  // of ReadyForQuery
};

class TwoPhase {
 public:
  static constexpr Duration kPhaseTwoPatience = std::chrono::seconds(1);
  static constexpr Duration kUndecidedAtMost = std::chrono::hours(1);   // abort decisions live 24 h: a coordinator must not outlive them

  struct Send {
    std::size_t shard;   // index in TwoPhaseSettings::shards
    std::string sql;
  };

  struct Outcome {
    enum class Kind { committed, rolled_back, unknown };
    Kind kind = Kind::rolled_back;
    std::optional<Error> error;              // what the client is told; none: it gets `tag`
    std::optional<std::size_t> error_shard;  // the server whose own ErrorResponse that is, to be passed on with all its fields
    std::string_view tag = "ROLLBACK";
    std::vector<std::string> warnings;       // for NoticeResponses with severity WARNING
    bool recovery_needed = false;            // prepared transactions may be left
  };

  TwoPhase(TwoPhaseSettings settings, TimePoint now);

  // What is to be sent now. Each shard gets at most one message before it is answered or lost.
  [[nodiscard]] std::vector<Send> take_sends();
  // When to call time_passed(), if nothing else happens before.
  [[nodiscard]] Deadline deadline() const;

  // Events. Of a shard with nothing under way, lost() alone may be told.
  void answered(std::size_t shard, const ServerReply& reply, TimePoint now);
  // The connection is gone. `sent`: bytes of what is under way may have reached the server.
  void lost(std::size_t shard, bool sent, TimePoint now);
  void time_passed(TimePoint now);

  [[nodiscard]] bool finished() const { return step_ == Step::finished; }
  // Once finished().
  [[nodiscard]] const Outcome& outcome() const { return outcome_; }
  // The server's connection is outside of a transaction, and nothing is under way on it.
  [[nodiscard]] bool reusable(std::size_t shard) const;

 private:
  enum class Step { identifying, preparing, deciding, phase_two, committing_writer, committing_readers, rolling_back, finished };
  enum class Part { open, prepared, doubtful, ended };   // doubtful: no answer to PREPARE TRANSACTION
  enum class Line { idle, busy, lost };
  struct Member {
    std::string name;
    bool wrote = false;
    Part part = Part::open;
    Line line = Line::idle;
    std::string gid{};   // of those to be prepared
  };

  [[nodiscard]] bool busy() const;
  void send(std::size_t shard, std::string sql);
  void take_state(Member& member, char status);
  void begin(std::size_t writers, std::optional<std::uint64_t> xid);
  void prepare(std::uint64_t xid, TimePoint now);
  void decide();
  void begin_phase_two(TimePoint now);
  void commit_readers(TimePoint now);
  void roll_back(TimePoint now);
  void fail(Error error, std::optional<std::size_t> shard = {});
  void fail(std::size_t shard, const ServerReply& reply);
  void finish_if_done();
  void finish(Outcome::Kind kind);
  void give_up_waiting();
  void leave_to_recovery(const Member& member, std::string_view why);
  void lost_under_way(std::size_t shard, bool sent, TimePoint now);

  void identified(std::size_t shard, const ServerReply& reply, TimePoint now);
  void prepare_answered(std::size_t shard, const ServerReply& reply, TimePoint now);
  void prepares_done(TimePoint now);
  void decide_answered(const ServerReply& reply, TimePoint now);
  void writer_answered(std::size_t shard, const ServerReply& reply, TimePoint now);
  void end_answered(std::size_t shard, const ServerReply& reply, std::string_view tag_of_prepared);

  std::string cluster_;
  std::uint64_t random_;
  std::vector<Member> members_;
  std::size_t decider_ = 0;
  std::string decision_;
  TimePoint begun_;
  Deadline patience_;
  Step step_ = Step::identifying;
  bool failed_ = false;
  std::vector<Send> sends_;
  Outcome outcome_;
};

}  // namespace weir::router
