// Session: one client, from its first packet to its last. One coroutine on one worker's thread.
//
// The client's messages are gathered into a batch (a Query, or everything up to Sync or Flush), the batch is planned and routed, a server
// is leased, the batch is sent (unchanged where nothing had to be renamed), and both directions are pumped until every reply that is owed has
// come. Then the server goes back, unless a transaction or session state keeps it (docs/life-of-a-query.md).
// https://www.postgresql.org/docs/15/protocol-flow.html
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/bytes.hpp"
#include "net/loop.hpp"
#include "net/socket.hpp"
#include "net/task.hpp"
#include "pool/pool.hpp"
#include "proxy/reply_queue.hpp"
#include "proxy/settings_state.hpp"
#include "proxy/statements.hpp"
#include "proxy/worker.hpp"
#include "wire/messages.hpp"

namespace weir::proxy {

// For SHOW CLIENTS.
struct ClientInfo {
  std::uint64_t id = 0;
  std::string user, database, state, address, application_name;
  std::uint16_t port = 0;
  int server_pid = 0;
  bool pinned = false;
  TimePoint connected{}, last_request{};
  Duration wait{};
  std::size_t prepared = 0;
};

class Session {
 public:
  static constexpr std::uint8_t kFlush[] = {'H', 0, 0, 0, 4};   // a Flush message
  // Messages that must be held whole before they can be routed are bounded by this; COPY data and results stream.
  static constexpr std::size_t kMaxHeld = 64 << 20;
  // A reply that must be read whole (ErrorResponse, ReadyForQuery ...) is held up to this; longer ones are passed on as they come.
  static constexpr std::size_t kMaxControl = 1 << 20;

  Session(Worker& worker, std::uint64_t id, std::unique_ptr<net::Socket> client);
  ~Session();
  Session(const Session&) = delete;
  Session& operator=(const Session&) = delete;

  void start();
  [[nodiscard]] std::uint64_t id() const { return id_; }
  [[nodiscard]] bool done() const { return task_.done(); }

  // --- called on the worker's thread by others ---
  // A CancelRequest with this session's key: a queued client is dequeued, a running statement is cancelled.
  void request_cancel();
  // Ends the session with a FATAL error as soon as it is between statements; `now`: at once.
  void terminate(Error why, bool now);
  // The server acknowledged that a cancel was delivered (or could not be).
  void cancel_delivered();
  // What the admin console answers to this (console) session's query.
  void console_answer(ByteBuffer answer);
  [[nodiscard]] ClientInfo info() const;
  [[nodiscard]] const WorkerDatabase* database() const { return database_; }
  [[nodiscard]] bool idle() const { return !server_ && !pinned_ && !in_transaction() && state_ != State::waiting; }

 private:
  enum class State : std::uint8_t { login, idle, active, waiting, closing };
  // The client's transaction. held: BEGIN was answered by the proxy and waits for the first statement that knows its shard.
  enum class Transaction : std::uint8_t { none, held, held_failed, open, failed };
  enum class BatchEnd : std::uint8_t { query, sync, flush, terminate, closed };

  // One message of a batch.
  struct Op {
    char type = 0;
    std::uint32_t offset = 0;       // of the whole message, from the batch's first byte
    std::uint32_t size = 0;
    router::PlanRef plan;           // Query, Parse, Bind, Execute (of a known portal)
    PreparedRef statement;          // Parse, Bind, Describe of a named statement
    InternedRef interned;
    std::string name;               // Parse: the client's name for it (to undo)
  };
  // What a batch as a whole asks for.
  struct Decision {
    bool runs = false;              // something executes
    bool read_only = true;
    bool writes = false;            // may change data (transaction control and SET do not)
    bool home = false;              // must be the home shard
    std::optional<schema::ShardId> shard;
    WriteMarks::Scope scope;        // what it reads and writes
    router::Effects effects;
    std::optional<Error> error;     // the op at `error_at` fails with it
    std::size_t error_at = 0;
    bool check_only = false;        // text our parser rejects on a sharded database: Parse alone
  };
  struct Portal {
    std::string name;
    router::PlanRef plan;
    std::string sql;                // of SET and the like only
  };
  enum class Outcome : std::uint8_t { done, retry, closed };

  // --- life (session.cpp) ---
  net::Task<> run();
  net::Task<> serve();
  net::Task<> fail_on_server();
  net::Task<BatchEnd> read_batch();
  void end_batch();
  void consume(std::size_t n);
  bool gather(BatchEnd& end);
  bool take_message(const wire::Message& message, BatchEnd& end);
  bool receive_from_client();
  void stash();
  bool flush_client();
  bool client_gone() const;
  net::Task<> finish();
  net::Task<> drain();
  void fatal(const Error& error);
  void notice(const Error& notice);
  [[nodiscard]] bool must_end() const { return client_gone() || (end_now_ && end_with_); }

  // --- login (session_login.cpp) ---
  net::Task<bool> login();
  net::Task<bool> read_startup(wire::Startup& startup);
  [[nodiscard]] bool choose_mode();
  [[nodiscard]] bool negotiate(const wire::Startup& startup);
  net::Task<bool> authenticate(bool console);
  net::Task<bool> authenticate_scram();
  // The next message of type 'p'; its body lasts until the next suspension. none: the client must go (it was told why).
  net::Task<std::optional<ByteView>> read_auth_message();
  net::Task<bool> wait_for_bytes();
  [[nodiscard]] Result<std::vector<Setting>> startup_settings(const wire::Startup& startup) const;
  net::Task<bool> enter_database(const wire::Startup& startup);
  net::Task<Result<void>> lease_home();
  net::Task<Result<void>> learn_defaults();
  net::Task<Result<void>> try_settings(std::vector<Setting> settings);
  void greet();
  net::Task<> serve_console();
  net::Task<> run_console_query(std::string_view sql);

  // --- planning (session_plan.cpp) ---
  void plan_batch(BatchEnd end);
  void plan_op(std::size_t index);
  [[nodiscard]] bool plan_is_stale() const;
  void take_plan_back();
  void forget_new_names();
  void plan_query(Op& op, ByteView body);
  void plan_parse(Op& op, ByteView body);
  void plan_bind(Op& op, ByteView body);
  void plan_named(Op& op, ByteView body);
  void plan_execute(Op& op, ByteView body);
  PreparedStatement* find_statement(Op& op, std::string_view name);
  void remember_portal(std::string_view name, const router::PlanRef& plan, const PreparedStatement& statement);
  [[nodiscard]] const Portal* find_portal(std::string_view name) const;
  void refresh_context();
  void note_scope(const router::Plan& plan, const router::Route* route);
  void count_in(const router::Plan& plan, const router::Arguments* arguments);
  void use_shard(schema::ShardId shard);
  void refuse(Error error);
  void replan(PreparedStatement& statement);
  [[nodiscard]] InternedRef intern(const PreparedStatement& statement) const;
  [[nodiscard]] router::SessionContext context() const;
  bool answer_locally(BatchEnd end);
  [[nodiscard]] bool only_prepares(BatchEnd end) const;
  [[nodiscard]] bool is_local(const router::Plan& plan) const;
  void run_local(const router::Plan& plan, std::string_view sql);
  void end_held(const router::Plan& plan);
  void answer_local_ops();
  void answer_local_statement(const router::Plan& plan, std::string_view sql);
  [[nodiscard]] bool can_fail_in_place() const;
  [[nodiscard]] bool runs_something() const;
  [[nodiscard]] bool is_accepted_parse(const Op& op) const;
  void fail_locally(BatchEnd end, const Error& error);
  [[nodiscard]] bool in_transaction() const { return transaction_ != Transaction::none; }
  [[nodiscard]] char status_letter() const;
  [[nodiscard]] bool ends_failed_transaction() const;
  void leave_transaction(bool committed);

  // --- a server for it (session_lease.cpp) ---
  // Each has a fast form for the steady state, without a coroutine frame.
  [[nodiscard]] bool lease_now();
  [[nodiscard]] net::Task<Result<void>> lease();
  pool::Pool* choose_pool(schema::ShardId shard, bool read);
  [[nodiscard]] bool may_use_replica() const;
  UserPools& user_pools();
  pool::Pool* primary_pool(schema::ShardId shard);
  [[nodiscard]] schema::ShardId target_shard() const;
  [[nodiscard]] bool marks_matter() const;
  [[nodiscard]] std::optional<Error> does_not_fit() const;
  [[nodiscard]] std::string_view shard_name(schema::ShardId shard) const;
  [[nodiscard]] net::Task<Result<pool::Server*>> wait_in_queue(pool::Pool& pool);
  void adopt_server(pool::Server* server, schema::ShardId shard);
  [[nodiscard]] bool needs_preparing() const;
  [[nodiscard]] net::Task<Result<void>> prepare_server();
  [[nodiscard]] net::Task<Result<void>> prepare_held_server();
  [[nodiscard]] bool was_held() const;
  [[nodiscard]] net::Task<Result<void>> discard_all();
  // Runs statements of the proxy's own; replies are not the client's. Collects ParameterStatus if asked.
  [[nodiscard]] net::Task<Result<void>> run_own(std::string_view sql,
                                                std::vector<std::pair<std::string, std::string>>* parameters = nullptr);
  [[nodiscard]] bool give_back_now();
  net::Task<> give_back();
  void drop_server();

  // --- sending (session_send.cpp) ---
  void translate(BatchEnd end);
  void translate_op(std::size_t index, ByteView message);
  void translate_parse(std::size_t index, ByteView message);
  void translate_bind(std::size_t index, ByteView message);
  void translate_named(std::size_t index, ByteView message);
  void translate_check_only(BatchEnd end);
  void pass_on(ByteView message);
  [[nodiscard]] bool raw_now() const;
  void ensure_prepared(std::size_t index);
  [[nodiscard]] bool may_stay_raw() const;
  void ensure_unnamed();
  void evict_prepared();
  void send_held_begin();
  void poison(const Error& error);
  bool send_to_server(ByteView bytes);
  bool flush_server();

  // --- replies (session_pump.cpp) ---
  net::Task<Outcome> pump(bool may_retry);
  bool receive_from_server();
  void process_replies(ByteView bytes);
  [[nodiscard]] bool nothing_owed() const;
  [[nodiscard]] bool copy_extended_in_progress() const;
  void process_message(const wire::Message& message, bool& forward);
  void on_ready_for_query(const wire::Message& message, bool& forward);
  void on_ready(char status);
  void on_command_complete(std::string_view tag);
  void on_error(const wire::Message& message, bool& forward);
  void on_copy_in();
  void on_discard_all();
  void undo(const Expected& skipped);
  void break_server(Error why);
  void emit_local_replies();
  void note_accepted(std::uint32_t op);
  bool forward_copy_data();
  std::size_t copy_data_ready();
  void to_client(ByteView bytes);
  void flush_own();
  Outcome lost_server(bool may_retry);
  [[nodiscard]] const Op* completed_op() const;
  [[nodiscard]] std::string text_of(const Op& op) const;
  void apply_verb(const router::Plan& plan, const Op& op, std::string_view tag);
  void drop_pin_of_failed_text();
  void mark_writes();
  bool process_idle_server(pool::Server& server);
  void send_cancel();

  Worker& worker_;
  const std::uint64_t id_;
  std::unique_ptr<net::Socket> client_;
  net::Waiter waiter_;
  net::Timer timer_;
  net::Task<> task_;
  State state_ = State::login;

  // the client
  WorkerDatabase* database_ = nullptr;
  std::string user_, application_name_;
  config::PoolMode mode_ = config::PoolMode::transaction;
  std::string server_user_;             // the role on its servers: the backend string's user, else user_
  UserPools* pools_ = nullptr;
  std::string default_search_path_;     // of the login on its servers
  bool standard_conforming_strings_ = true;
  bool safe_encoding_ = true;
  bool server_encoding_ = true;         // client_encoding is the server's
  wire::CancelKey key_;
  net::PeerName peer_;
  TimePoint connected_{}, last_request_{};

  // input: unconsumed bytes, in the loop's receive buffer (borrowed) or in in_
  ByteBuffer in_;
  ByteView input_;
  bool borrowed_ = false;
  std::size_t scanned_ = 0;             // how much of input_ is in ops_
  bool client_eof_ = false;             // or a failed socket
  bool client_dead_ = false;            // nobody reads replies any more
  bool late_copy_data_ = false;         // the batch holds messages that are dropped
  std::vector<Op> ops_;
  bool skip_to_sync_ = false;           // an error was answered in the middle of a pipeline

  // the statement's way
  Decision decision_;
  std::vector<Portal> portals_;
  StatementNames names_;
  PreparedStatement unnamed_;
  bool has_unnamed_ = false;
  SettingsRef context_of_;              // the settings that context() was made for
  std::uint64_t planned_generation_ = 0;  // the router's when the batch was planned
  bool raw_ = true;                     // the batch can be forwarded byte for byte
  bool sending_raw_ = false;
  SessionSettings settings_;
  bool set_locally_ = false;            // SET LOCAL ran in this transaction
  std::string lost_by_reset_;           // start-up settings the server must be told again before its next statement
  Transaction transaction_ = Transaction::none;
  bool begin_read_only_ = false;
  bool failed_locally_ = false;         // the server's transaction is fine, the client's is not
  bool aside_ = false;                  // the batch runs outside of the held transaction
  std::vector<std::string> held_;       // BEGIN and what followed it, until a shard is known
  std::optional<schema::ShardId> transaction_shard_;
  bool transaction_wrote_ = false;
  WriteMarks::Scope transaction_scope_; // what it wrote, marked again when it ends

  // the server
  pool::Server* server_ = nullptr;      // in use now
  pool::Server* pinned_ = nullptr;      // keeps session state; may be == server_
  schema::ShardId server_shard_ = 0;
  bool server_is_replica_ = false;
  bool tainted_ = false;                // DISCARD ALL before it goes back
  bool pin_after_ = false;
  bool mid_sequence_ = false;           // a Flush was answered, its Sync has not come
  pool::Request request_;
  std::shared_ptr<pool::Pool> queued_at_;   // request_ is in its queue
  bool read_leased_ = false;
  schema::ShardId pinned_shard_ = 0;
  bool own_running_ = false;            // a statement of the proxy's own is on its way
  std::vector<std::pair<std::string, std::string>>* own_parameters_ = nullptr;
  ByteBuffer to_server_;                // what the server's socket did not take
  ReplyQueue expected_;
  ByteBuffer carry_;                    // an incomplete control message of the server
  std::uint64_t bulk_left_ = 0;         // of a long message being passed on
  bool in_sequence_ = false;            // the batch continues a sequence that a Flush left open
  bool sequence_wrote_ = false;
  bool flush_after_ = false;            // the batch ended at COPY data: the server is to answer what it has
  bool dropped_sync_ = false;           // COPY IN made the server ignore a Sync, unless it failed before
  bool copy_in_ = false;
  bool copy_extended_ = false;          // started by Execute: a Sync follows the data
  bool copy_failed_ = false;            // the server said so in the middle of a CopyData
  std::uint64_t copy_bulk_left_ = 0;    // of a CopyData being passed on
  bool server_broken_ = false;
  std::optional<Error> server_fatal_;
  std::optional<Error> poison_error_;
  std::optional<Error> swallowed_error_;   // of a statement of the proxy's own
  bool error_seen_ = false;             // in the batch
  bool rolled_back_ = false;            // the last CommandComplete said ROLLBACK
  bool discarded_ = false;              // DISCARD ALL ran in this batch: the server has no settings
  std::uint64_t forwarded_ = 0;         // bytes of this batch's replies that went to the client
  TimePoint sent_at_{}, transaction_began_{};
  ByteBuffer own_;                      // the proxy's own messages, to go out at the present place of the reply stream

  // output
  ByteBuffer out_;                      // for the client: what its socket did not take, and the proxy's own replies

  std::shared_ptr<const pool::Pool::Welcome> welcome_;
  bool console_ = false;
  std::optional<ByteBuffer> console_answer_;

  // from others
  std::optional<Error> end_with_;
  bool end_now_ = false;
  bool cancel_requested_ = false;
  unsigned cancels_in_flight_ = 0;
};

}  // namespace weir::proxy
