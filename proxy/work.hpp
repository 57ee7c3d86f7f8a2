// Work: what a client has under way: its batch, what a server owes for it, and what its transaction said so far.
//
// A session borrows one from its worker when the client speaks, and gives it back when the client idles outside of a transaction, so that
// ten thousand idle clients have none, and the next client to speak finds one whose memory is warm. One worker, one thread.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/bytes.hpp"
#include "base/held.hpp"
#include "pool/pool.hpp"
#include "proxy/portals.hpp"
#include "proxy/reply_queue.hpp"
#include "proxy/statements.hpp"
#include "proxy/topology.hpp"
#include "router/plan.hpp"
#include "router/prepared_text.hpp"

namespace weir::proxy {

// One message of a batch.
struct Op {
  char type = 0;
  std::uint32_t offset = 0;       // of the whole message, from the batch's first byte
  std::uint32_t size = 0;
  router::PlanRef plan;           // Query, Parse, Bind, Execute (of a known portal)
  PreparedRef statement;          // Parse, Bind, Describe of a named statement
  InternedRef interned;
  std::shared_ptr<const std::string> text;   // Execute: the portal's, where it matters; of Plan::path: what the session keeps of it
  std::string name;               // Parse, Close, PREPARE, DEALLOCATE: the client's name for it (to undo)
  char local = 0;                 // the proxy answers it at its place, with this message ('t': and NoData), or as Session::kOwnSetting; 0: see translate_op()
  std::unique_ptr<PreparedText> prepared;   // the text names prepared statements
  FilledRef filled;               // the proxy has put keys into the text; of a Query or Bind: into this message
};

// What a batch as a whole asks for.
struct Decision {
  bool runs = false;              // something executes
  bool read_only = true;
  bool writes = false;            // may change data (transaction control and SET do not)
  bool home = false;              // must be the home shard
  bool scatter = false;           // some statement of it runs on several shards
  std::optional<schema::ShardId> shard;
  std::optional<schema::ShardId> prepares_on;   // where a hint says that a statement will run which is only prepared or described
  WriteMarks::Scope scope;        // what it reads and writes
  router::Effects effects;
  Held<Error> error;              // the op at `error_at` fails with it
  std::size_t error_at = 0;
  bool check_only = false;        // text our parser rejects on a sharded database: Parse alone
  bool channels = false;          // it listens
};

struct Work {
  // Nothing of any client's is in it.
  [[nodiscard]] bool at_rest() const;

  // --- the batch ---
  std::vector<Op> ops;
  Decision decision;
  std::vector<std::pair<std::size_t, ByteBuffer>> rewritten;   // messages of ops that the proxy has put keys into, until they are in the session's input
  std::vector<router::TextPiece> steps_in_text;   // of a Query of several, where its statements change the session
  std::unique_ptr<PreparedStatement> unnamed_before;   // the unnamed statement before the batch, once it has replaced it; else scratch

  // --- its server ---
  std::shared_ptr<pool::Pool> queued_at;   // request is in its queue
  pool::Request request;
  ReplyQueue expected;
  ByteBuffer to_server;           // what the server's socket did not take
  ByteBuffer carry;               // an incomplete control message of the server
  ByteBuffer own;                 // the proxy's own messages, to go out at the present place of the reply stream
  std::string lost_by_reset;      // start-up settings the server must be told again before its next statement
  std::vector<std::string> asked_names;   // custom settings that may have been set

  // --- the transaction ---
  // Its log (session_log.cpp): its BEGIN, and what else another server would have to be told to be in the same state. While no shard is
  // known, that is all that was said.
  std::vector<std::string> held;
  Portals portals;
  WriteMarks::Scope scope;        // what it wrote, marked again when it ends
};

// A worker's Works that nobody uses.
class Works {
 public:
  [[nodiscard]] std::unique_ptr<Work> take();
  // One that is at rest; kept for the next with its memory, unless there are many.
  void give_back(std::unique_ptr<Work> work);

 private:
  static constexpr std::size_t kKept = 256;
  std::vector<std::unique_ptr<Work>> spare_;
};

}  // namespace weir::proxy
