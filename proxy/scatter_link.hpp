// ScatterLink: one shard's server while a statement over several shards runs on it.
//
// What it was sent is a queue of steps, each ended by a ReadyForQuery. Bytes are received when somebody asks for the next message, and no
// sooner: a shard that is ahead of the others waits in its socket, and what is held of it is a message and one receive buffer.
#pragma once

#include <cstdint>
#include <deque>
#include <optional>
#include <string>
#include <vector>

#include "base/bytes.hpp"
#include "pool/server.hpp"
#include "proxy/stats.hpp"
#include "schema/bucket_map.hpp"
#include "wire/messages.hpp"

namespace weir::proxy {

class ScatterLink {
 public:
  enum class Step : std::uint8_t {
    settings,   // a Query of the proxy's own: the server's settings become the session's
    text_order, // another: how it orders text
    isolation,  // another: how isolated its transactions are
    check,      // Parse and Describe of the client's own text
    run,        // the shard's part of the statement
    rollback,   // of settings that failed
    begin,      // a Query of the proxy's own that begins the server's part of a transaction, or goes on with it
    control,    // the client's SAVEPOINT, SET, COMMIT ..., which every server of a transaction is told
  };
  enum class Front : std::uint8_t { message, nothing, lost };

  // `kept`: it is the session's own, and stays with it.
  ScatterLink(pool::Server& server, schema::ShardId shard, Traffic& traffic, bool kept)
      : server_(&server), traffic_(&traffic), shard_(shard), kept_(kept) {}

  [[nodiscard]] pool::Server& server() const { return *server_; }
  [[nodiscard]] Traffic& traffic() const { return *traffic_; }
  [[nodiscard]] schema::ShardId shard() const { return shard_; }
  [[nodiscard]] bool kept() const { return kept_; }

  // --- sending ---
  [[nodiscard]] ByteBuffer& out() { return out_; }
  void owe(Step step) { owed_.push_back(step); }
  void flush();

  // --- receiving ---
  // The message at the front, received if need be; it stays there until pop(), and where it is until the next call of front().
  [[nodiscard]] Front front(wire::Message& message);
  void pop();
  // The step that the next message answers; none: nothing is owed.
  [[nodiscard]] std::optional<Step> step() const { return owed_.empty() ? std::nullopt : std::optional(owed_.front()); }
  void step_is_over() { owed_.pop_front(); }
  // Everything was sent and answered.
  [[nodiscard]] bool at_rest() const { return owed_.empty() && out_.empty(); }
  // Bytes received since the last reset_received().
  [[nodiscard]] std::uint64_t received() const { return received_; }
  void reset_received() { received_ = 0; }

  // Of `unsent` bytes that stood in out() with nothing behind them, has any been taken by the socket?
  [[nodiscard]] bool sent_since(std::size_t unsent) const { return out_.size() < unsent; }

  // The connection is of no use any more.
  void break_off() { lost_ = true; }
  [[nodiscard]] bool lost() const { return lost_; }

  // --- of the run on it ---
  std::uint64_t named = 0;             // its text is this prepared statement (InternedStatement::id); 0: the unnamed one
  bool parsed = false;                 // its text was understood
  bool described = false;              // its RowDescription has come
  bool bound = false;
  bool complete = false;               // its last row has come
  bool returns_rows = false;
  bool failed = false;                 // an error has come, and what was sent behind it is skipped
  bool check_failed = false;           // so it has for the client's own text
  bool settings_failed = false;        // and for the settings, or what begins its transaction: whatever is sent behind that is refused
  bool cancelled = false;              // a cancel was sent for it
  bool was_cancelled = false;          // or for an earlier run
  wire::Message row;                   // at the front, while the merge holds it
  std::vector<wire::FieldDescription> fields;
  ByteBuffer copying;                  // its CopyInResponse or CopyOutResponse
  void begin_run() {
    parsed = described = bound = complete = returns_rows = failed = cancelled = false;
    named = 0;
    fields.clear();
    copying.clear();
    tag.clear();
  }
  std::string tag;                     // of its CommandComplete

  // --- of the transaction over shards that it is part of (spread.hpp) ---
  bool enlisted = false;
  unsigned first_write = 0;            // the how-many-th shard that was written to; 0: none of its statements may have written
  struct Left {                        // what statements left on the server (router::Effects)
    bool taints = false, soft = false, pins = false, asks_settings = false, asks_holds = false;
  };
  Left left;

 private:
  [[nodiscard]] Front receive();

  pool::Server* server_;
  Traffic* traffic_;
  schema::ShardId shard_;
  bool kept_;
  bool lost_ = false;
  ByteBuffer out_, in_;
  std::size_t front_size_ = 0;
  std::deque<Step> owed_;
  std::uint64_t received_ = 0;
};

}  // namespace weir::proxy
