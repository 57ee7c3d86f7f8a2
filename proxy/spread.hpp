// Spread: a client's transaction from the moment it touches a second shard until its end.
//
// It owns the servers of that time, one a shard, over as many batches as the client sends; while it lives, a Scatter answers every batch
// on them. A transaction that stays on one shard never has one (Session::spread_ is null).
//
//   block:    the client said BEGIN. Before: held (no server yet), or open on the session's one server, which is adopted as the first link.
//   implicit: outside of a block, one Query or everything up to a Sync that writes and touches several shards. It ends with that Sync.
//
// Every server is told, in the packet of its first statement: BEGIN as the client said it, then the transaction's log (Work::held: its
// SETs, SET LOCALs, savepoints ...), then a bound for waiting (lock_timeout), since no PostgreSQL sees a deadlock over shards.
//
// An error anywhere fails the transaction as a whole: Session::Transaction::failed, without a word to the servers that are well. ROLLBACK TO
// revives all. A lost server leaves nothing but ROLLBACK: the others are rolled back at once.
//
// It ends by router::TwoPhase, which runs to its end though the client is gone. Whoever destroys a Spread that has not ended closes its
// servers, which rolls back (or leaves to recovery) what they did.
//
// Within a block, what stands behind DDL is planned by what that has made (session_schema.cpp).
//
// Files: spread.cpp (its links), spread_end.cpp (its end), scatter_control.cpp (BEGIN, SAVEPOINT, SET, COMMIT ... of the client's).
#pragma once

#include <cstdint>
#include <deque>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/result.hpp"
#include "net/task.hpp"
#include "proxy/scatter_link.hpp"
#include "proxy/session.hpp"
#include "router/two_phase.hpp"

namespace weir::proxy {

class Spread {
 public:
  enum class Kind : std::uint8_t { block, implicit };

  Spread(Session& session, Kind kind) : s_(session), kind_(kind) {}
  ~Spread();
  Spread(const Spread&) = delete;
  Spread& operator=(const Spread&) = delete;

  [[nodiscard]] bool implicit() const { return kind_ == Kind::implicit; }
  // In the order of enlistment; their addresses stay.
  [[nodiscard]] std::deque<ScatterLink>& links() { return links_; }
  [[nodiscard]] ScatterLink* find(schema::ShardId shard);
  // What belongs to no shard runs here.
  [[nodiscard]] ScatterLink& first() { return links_.front(); }
  [[nodiscard]] bool has_lost() const;

  // The session's one server, which is in the transaction. Nothing is owed on it.
  void adopt();
  // A server that is to have the settings of before the transaction; what it must be told first stands in its out() already.
  void enlist(ScatterLink&& link);
  // That it waits for locks for so long at most: also after a ROLLBACK TO, which may have undone it.
  void bound_waiting(ScatterLink& link);
  // Before a statement that may write is sent there. Errors are 0A000 (that shard cannot prepare) or 57P03 (schema weir is not known yet).
  [[nodiscard]] Result<void> about_to_write(ScatterLink& link);
  // Before a statement that notifies is sent there: such a server cannot be prepared, so it decides. A second one is refused.
  [[nodiscard]] Result<void> about_to_notify(ScatterLink& link);
  // The client's SAVEPOINT, RELEASE and ROLLBACK TO, once all servers have done it: what was written behind a savepoint is undone with it, and
  // who wrote nothing else wrote nothing.
  void made_savepoint(std::string name) { savepoints_.push_back({std::move(name), writers_, notifier_}); }
  void released(std::string_view name);
  void rolled_back_to(std::string_view name);
  // DDL ran: others must learn of it once it is committed.
  void note_schema_change() { changes_schema_ = true; }
  [[nodiscard]] bool changes_schema() const { return changes_schema_; }

  // A statement of the proxy's own on a link on which nothing is owed; its rows go to Session::own_rows_. A server that is lost stays so.
  [[nodiscard]] net::Task<Result<void>> ask_own(ScatterLink& link, std::string_view sql);

  // When the transaction began as its statements see it; "" until its first server has told.
  std::string begun_at;

  // --- its end. Nothing may be owed on any link, unless it is lost. Afterwards all servers are given back, the session is outside of a
  // transaction, and this object is of no use. ---
  struct Outcome {
    bool committed = false;
    std::optional<ByteBuffer> response;   // a server's ErrorResponse (its body) for the client
    std::optional<Error> error;           // or the proxy's
    ByteBuffer notices;                   // NoticeResponses for the client, whole
  };
  [[nodiscard]] net::Task<Outcome> commit();
  net::Task<> roll_back();
  // What the servers have told the client meanwhile: NoticeResponses, and ParameterStatus of settings that are as before.
  [[nodiscard]] ByteView notices() const { return notices_.view(); }

 private:
  // What a link said to the statement under way.
  struct Hearing {
    bool busy = false;
    std::size_t unsent = 0;               // bytes of it that stood in the link's buffer when it was asked
    router::ServerReply reply;
    ByteBuffer error;
  };
  [[nodiscard]] std::string begin_text() const;
  [[nodiscard]] std::string waiting_text() const;
  [[nodiscard]] router::TwoPhaseSettings two_phase_settings() const;
  void ask(std::size_t link, std::string_view sql);
  [[nodiscard]] bool hear(std::size_t link);
  void hear_message(std::size_t link, const wire::Message& message);
  [[nodiscard]] bool was_sent(std::size_t link) const;
  bool step(router::TwoPhase& commit);
  void mark_writes();
  void take_outcome(const router::TwoPhase& commit, Outcome& outcome);
  net::Task<> leave(bool committed, const std::vector<bool>& reusable);
  net::Task<> give_back(ScatterLink& link, bool reusable, const SettingsRef& settings);

  Session& s_;
  const Kind kind_;
  std::deque<ScatterLink> links_;
  std::vector<Hearing> hearings_;
  ByteBuffer notices_;
  unsigned writers_ = 0;
  unsigned writers_before_ = 0;           // when it began
  const ScatterLink* notifier_ = nullptr;          // who has notified
  const ScatterLink* notifier_before_ = nullptr;   // when it began
  struct Savepoint {
    std::string name;
    unsigned writers;               // how many had written then
    const ScatterLink* notifier;
  };
  std::vector<Savepoint> savepoints_;     // made since it began
  bool changes_schema_ = false;
};

}  // namespace weir::proxy
