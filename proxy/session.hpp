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
#include "base/held.hpp"
#include "net/conduit.hpp"
#include "net/loop.hpp"
#include "net/server_tls.hpp"
#include "net/socket.hpp"
#include "net/task.hpp"
#include "pool/pool.hpp"
#include "proxy/auth_query.hpp"
#include "proxy/kept.hpp"
#include "proxy/listening.hpp"
#include "proxy/settings_state.hpp"
#include "proxy/statements.hpp"
#include "proxy/survey.hpp"
#include "proxy/work.hpp"
#include "proxy/worker.hpp"
#include "router/prepared_text.hpp"
#include "wire/messages.hpp"

namespace weir::proxy {

class Scatter;
class Spread;

// For SHOW CLIENTS.
struct ClientInfo {
  std::uint64_t id = 0;
  std::string user, database, state, address, local_address, application_name;
  std::string server_user;              // whose pools it uses
  std::string tls;                      // version and cipher; empty: none
  std::string pin_reason;               // "temporary table, advisory lock"
  std::uint16_t port = 0, local_port = 0;
  std::uint64_t server_id = 0;          // 0: it has none now
  int server_pid = 0;
  bool pinned = false, console = false;
  TimePoint connected{}, last_request{};
  Duration wait{};
  std::size_t prepared = 0;
};

class Session {
 public:
  static constexpr std::uint8_t kFlush[] = {'H', 0, 0, 0, 4};   // a Flush message
  // A statement name that no client's statement has on a server: theirs are weir_<hex>.
  static constexpr std::string_view kNoSuchStatement = "weir.refused";
  // What the server is told, and tells back, where the proxy ends a COPY.
  static constexpr std::string_view kCopyGivenUp = "weir: unexpected message during COPY";
  // Types of messages a client may send once it is in.
  static constexpr std::string_view kClientMessages = "QPBDECSHFXdcf";
  // Messages that must be held whole before they can be routed are bounded by this; COPY data and results stream.
  static constexpr std::size_t kMaxHeld = 64 << 20;
  // A notice is read whole up to this, and a longer one passed on as it comes; what must be read (ErrorResponse ...) is held up to kMaxHeld.
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
  // A step of its TLS handshake is done.
  void handshake_stepped(net::ServerTls::Step step);
  // What auth_query found of its user; whether the password it gave fits.
  void looked_up(LookUp answer);
  void password_judged(bool right);
  // A cancel was delivered, or will never be; not `certain`: it may still come.
  void cancel_delivered(bool certain);
  // Proxy::load_schema() is done.
  void schema_loaded();
  // What the admin console answers to this (console) session's query.
  void console_answer(ByteBuffer answer);
  // The hub's answer to a request (null: it listens), and what it hears.
  void subscribed(std::uint64_t ticket, const Error* error);
  void notified(const Delivery& delivery);
  // Somebody waits for a server of `pool`: one that is kept for a sequence's value only goes back.
  void give_up_soft_pin(const pool::Pool& pool);
  [[nodiscard]] ClientInfo info() const;
  // Null: no TLS. The client's certificate, for `cert`; the hash of ours, for SCRAM-SHA-256-PLUS; what SHOW CLIENTS says.
  [[nodiscard]] const net::ServerTls* tls() const { return tls_step_ == net::ServerTls::Step::done ? tls_.get() : nullptr; }
  [[nodiscard]] const WorkerDatabase* database() const { return database_; }
  [[nodiscard]] bool console() const { return console_; }
  // For the metrics.
  [[nodiscard]] ClientState client_state() const;
  [[nodiscard]] const pool::Backend* pinned_backend() const;   // whose server it keeps; nullptr: none
  [[nodiscard]] bool idle() const { return !server_ && !pinned_ && !in_transaction() && !scatter_ && !spread_ && state_ != State::waiting; }

 private:
  enum class State : std::uint8_t { login, idle, active, waiting, closing };
  // The client's transaction. held: BEGIN was answered by the proxy and waits for the first statement that knows its shard.
  enum class Transaction : std::uint8_t { none, held, held_failed, open, failed };
  enum class BatchEnd : std::uint8_t { query, sync, flush, terminate, closed };

  // unprepared: the server refused the session's settings, and with them the batch.
  enum class Outcome : std::uint8_t { done, retry, closed, unprepared };

  // A batch with a statement over several shards (scatter.hpp). retry: it must be planned again.
  friend class Scatter;
  friend class Spread;
  net::Task<Outcome> run_scatter(BatchEnd end);

  // --- life (session.cpp) ---
  net::Task<> run();
  net::Task<> serve();
  net::Task<> fail_on_server();
  net::Task<> yield();
  net::Task<BatchEnd> read_batch();
  void end_batch();
  void consume(std::size_t n);
  void take_work();
  void lay_work_down();
  bool gather(BatchEnd& end);
  bool take_message(const wire::Message& message, BatchEnd& end);
  bool receive_from_client();
  void stash();
  bool flush_client();
  bool empty_conduit();
  [[nodiscard]] bool output_waits() const { return conduit_ || !out_.empty(); }
  bool client_gone() const;
  // Behind DDL: until the catalog knows of it, or a few seconds are over. What the client sends next is planned by it.
  net::Task<> await_schema();
  net::Task<> finish();
  net::Task<> drain();
  void fatal(const Error& error);
  void notice(const Error& notice);
  [[nodiscard]] bool must_end() const { return client_gone() || (end_now_ && end_with_); }

  // --- before authentication (session_startup.cpp) ---
  net::Task<bool> read_startup(wire::Startup& startup);
  net::Task<bool> answer_encryption_request(bool is_tls, std::size_t size);
  net::Task<bool> start_tls(std::shared_ptr<const net::TlsContext> context, bool direct);
  [[nodiscard]] bool may_go_on(const wire::Startup& startup);
  void negotiate(const wire::Startup& startup);
  [[nodiscard]] bool refuse_replication(const wire::Startup& startup);
  [[nodiscard]] bool is_local() const;   // came by a unix socket

  // --- who it is (session_auth.cpp) ---
  enum class Answer : std::uint8_t { right, wrong, gone };   // gone: the client must go, and was told why where it can be told
  net::Task<bool> authenticate(const std::string& database);
  [[nodiscard]] const config::HbaLine* find_hba_line(const config::Hba& hba, std::string_view database);
  [[nodiscard]] bool check_certificate(config::HbaMethod method, config::HbaLine::Certificate wanted);
  net::Task<bool> authenticate_by_password(config::HbaMethod method, const std::string& database);
  net::Task<UserSecretRef> find_secret(const std::string& database, std::string& reason);
  bool refuse_client(config::HbaMethod method, std::string_view reason);
  Answer refuse_answer(const Error& error);
  net::Task<Answer> ask_scram(const UserSecret& secret, pool::Credentials& proof);
  net::Task<Answer> ask_md5(const UserSecret& secret);
  net::Task<Answer> ask_cleartext(UserSecretRef secret, pool::Credentials& proof);
  // The next message of type 'p'; its body lasts until the next suspension. none: the client must go (it was told why).
  net::Task<std::optional<ByteView>> read_auth_message();
  net::Task<std::optional<std::string>> read_password();

  // --- login (session_login.cpp) ---
  net::Task<bool> login();
  [[nodiscard]] bool choose_mode();
  net::Task<bool> wait_for_bytes();
  [[nodiscard]] Result<std::vector<Setting>> startup_settings(const wire::Startup& startup);
  // False: it was told why not.
  bool find_database(const std::string& name);
  net::Task<bool> enter_database(const wire::Startup& startup);
  net::Task<Result<void>> lease_home();
  net::Task<Result<void>> learn_defaults();
  net::Task<Result<void>> try_settings(std::vector<Setting> settings);
  std::string tag_servers(std::string_view application_name);
  void greet();
  net::Task<> serve_console();
  net::Task<bool> run_console_query(std::string_view sql);

  // --- planning (session_plan.cpp) ---
  void plan_batch(BatchEnd& end);
  bool end_batch_behind(std::size_t index, BatchEnd& end);
  [[nodiscard]] bool changes_schema_of_transaction(const router::Plan& plan) const;
  [[nodiscard]] bool begins_by_schema_change(std::size_t index, BatchEnd end) const;
  [[nodiscard]] bool others_follow(std::size_t index, BatchEnd end) const;
  [[nodiscard]] bool cut_in_front(std::size_t index, BatchEnd& end);
  [[nodiscard]] bool plan_is_stale() const;
  void take_plan_back();
  void undo_names_from(std::size_t first);
  void forget_new_name(const Op& op);
  [[nodiscard]] bool cut_at_boundary(std::size_t index, BatchEnd& end);
  [[nodiscard]] bool changes_what_follows(const router::Plan& plan) const;
  void forget_plan();

  // --- what each message asks for (session_messages.cpp) ---
  void plan_op(std::size_t index);
  void plan_query(Op& op, ByteView body);
  void plan_parse(Op& op, ByteView body);
  void plan_bind(Op& op, ByteView body);
  Portal* bind_portal(std::string_view name, const router::PlanRef& plan, std::string_view sql);
  void plan_named(Op& op, ByteView body);
  void plan_execute(Op& op, ByteView body);
  PreparedStatement* find_statement(Op& op, std::string_view name);
  void refresh_context();
  void replan(PreparedStatement& statement);
  void read_into(PreparedStatement& statement, const wire::ParseView& parse);
  [[nodiscard]] InternedRef intern(const PreparedStatement& statement) const;
  [[nodiscard]] router::SessionContext context() const;

  // --- what they need together (session_decision.cpp) ---
  [[nodiscard]] static bool is_tracked(router::Verb verb);
  [[nodiscard]] static bool is_newer_than_parser(const router::Plan& plan);
  [[nodiscard]] static Error newer_than_parser();
  void note_channels(const router::Plan& plan);
  void note_scope(const router::Plan& plan, const router::Route* route);
  void count_in(const router::Plan& plan, const router::Arguments* arguments);
  void count_in_scattered(const router::Plan& plan, const router::Arguments& arguments);
  void use_shard(schema::ShardId shard);
  void use_shard_of(const router::Plan& plan, const router::Arguments& arguments, schema::ShardId shard);
  void spread_out();
  void refuse(Error error);

  // --- the schema that its transaction has made (session_schema.cpp) ---
  // What the session plans by.
  [[nodiscard]] router::Router& planner() const { return own_router_ ? *own_router_ : *database_->router; }
  void note_schema_change(const router::Plan& plan);
  [[nodiscard]] bool has_own_schema() const { return own_router_ || own_schema_unknown_; }
  void forget_own_schema();
  [[nodiscard]] std::optional<Error> against_unknown_schema(const router::Plan& plan) const;
  [[nodiscard]] bool must_learn_schema();
  [[nodiscard]] bool needs_catalog(const Op& op);
  net::Task<> learn_schema();
  [[nodiscard]] net::Task<Result<std::shared_ptr<const schema::Catalog>>> load_own_catalog();

  // --- keys that are filled in (session_fill.cpp) ---
  [[nodiscard]] Result<std::vector<std::int64_t>> take_ids(std::size_t count);
  void fill_statement(PreparedStatement& statement);
  static void empty_statement(PreparedStatement& statement);
  [[nodiscard]] std::optional<ByteView> fill_query(Op& op, std::string_view sql);
  [[nodiscard]] std::optional<ByteView> fill_bind(Op& op, const wire::BindView& bind, const FilledRef& filled);
  void put_rewritten();
  void write_own_parameters(const wire::Message& description, const Filled& filled);

  // --- hints and weir.* settings (session_hints.cpp) ---
  // Op::local of a message about such a setting; of a Describe the first is for the statement, the others for a portal.
  static constexpr char kOwnSetting = 'w', kOwnPortal = 'x', kOwnBinaryPortal = 'y';
  [[nodiscard]] std::optional<Error> against_hints(const router::Plan& plan) const;
  [[nodiscard]] std::uint64_t hints_version() const { return settings_.route() ? settings_.route()->version() : 0; }
  void note_place(const router::Plan& plan);
  void answer_in_place(Op& op, char how = kOwnSetting);
  void bind_own_setting(Op& op, const wire::BindView& bind, const PreparedStatement& statement, Portal& portal);
  void write_own_setting(const Op& op, ByteBuffer& out);
  void run_own_setting(const router::Plan& plan, ByteBuffer& out);
  [[nodiscard]] Result<void> start_own_setting(std::string_view name, std::string_view value);

  // --- strings of several statements (session_parts.cpp) ---
  // How a statement of the string is read: SETs that stand before it count.
  struct Reading {
    router::SessionContext context;
    std::string search_path, hints;   // context's, if one of them changed these
    bool stale = false;               // behind what only its execution can tell: it is planned again then
  };
  [[nodiscard]] std::optional<Error> against_set(const router::Plan& plan, std::string_view sql) const;
  [[nodiscard]] std::optional<Error> against_steps(const router::Plan& plan, std::string_view sql) const;
  [[nodiscard]] bool may_run_in_parts(const router::Plan& plan) const;
  [[nodiscard]] bool must_run_in_parts(const router::Plan& plan) const;
  [[nodiscard]] static Error read_otherwise();
  // Is what stands behind it in its string planned when it has run?
  [[nodiscard]] static bool changes_names(const router::Plan& plan);
  void end_transaction_first();
  struct PartPlace {
    std::size_t index, count;
    bool in_block;
  };
  [[nodiscard]] std::optional<Error> against_part(const router::Plan& plan, std::string_view text, const Reading& reading, PartPlace at) const;
  void read_on(Reading& reading, const router::Plan& plan, std::string_view text) const;
  void count_in_parts(std::string_view sql);
  void count_part(const router::Plan& plan, const router::Arguments& arguments);

  // --- where statements go, or would go (session_routes.cpp) ---
  void observe_route(const router::Plan* plan, const router::Arguments& arguments);
  void observe_filled(const router::Plan& plan, const router::Arguments& arguments);
  void count_route(const router::Plan& plan, const router::Route& route);
  void add_route(const router::Plan& plan, const router::Route& route);
  void count_refusal(const router::Plan& plan, const Error& error, std::string_view sql);
  void count_transaction_shard(schema::ShardId shard);

  // --- what needs no server (session_local.cpp) ---
  bool answer_locally(BatchEnd end);
  [[nodiscard]] static Error transaction_is_aborted();
  [[nodiscard]] bool is_local(const Op& op, Transaction at) const;
  [[nodiscard]] std::optional<std::size_t> lacks_savepoint() const;
  [[nodiscard]] bool fails_for_savepoint(std::size_t at) const;
  [[nodiscard]] bool only_prepares(BatchEnd end) const;
  [[nodiscard]] bool is_local(const router::Plan& plan, Transaction at) const;
  [[nodiscard]] static Transaction after_local(const router::Plan& plan, Transaction at);
  [[nodiscard]] bool names_statements_only() const;
  // The Flush of this batch is a Sync to its server, which then goes back: the client's own Sync, when it comes, is answered by the proxy.
  [[nodiscard]] bool flushes_apart() const { return cut_apart_ || (aside_ && !work_->ops.empty() && work_->ops.back().type == 'H'); }
  void run_local(const router::Plan& plan, std::string_view sql);
  void end_held(const router::Plan& plan);
  [[nodiscard]] std::vector<std::string> held_characteristics() const;
  // --- the transaction's log (session_log.cpp) ---
  void log_statement(const router::Plan& plan, std::string sql);
  void log_unknown();
  [[nodiscard]] std::size_t find_savepoint(std::string_view name) const;
  [[nodiscard]] bool log_is_whole() const;
  void answer_local_ops(std::size_t count);
  [[nodiscard]] std::size_t first_to_fail() const;
  void fail_on_server_at(Error error);
  void answer_local_statement(const router::Plan& plan, std::string_view sql, ByteBuffer& out);
  [[nodiscard]] bool can_fail_in_place() const;
  [[nodiscard]] bool runs_something() const;
  [[nodiscard]] bool is_accepted_parse(const Op& op) const;
  void fail_begin();
  void fail_open_transaction();
  void fail_locally(BatchEnd end, const Error& error);
  [[nodiscard]] bool in_transaction() const { return transaction_ != Transaction::none; }
  [[nodiscard]] char status_letter() const;
  [[nodiscard]] bool ends_failed_transaction() const;
  void leave_transaction(bool committed);

  // --- names of prepared statements in SQL (session_prepared.cpp; what servers are sent for them: session_prepared_send.cpp) ---
  void plan_prepared_query(Op& op, std::string_view sql);
  void plan_prepared_parse(Op& op);
  [[nodiscard]] bool executes_unknown(const router::Plan& plan) const;
  void plan_prepared_bind(Op& op, const wire::BindView& bind, const PreparedStatement& statement);
  void plan_prepared_describe(Op& op, const PreparedStatement& statement);
  void plan_prepared_execute(Op& op, const Portal& portal);
  void plan_prepare(Op& op, std::string_view sql);
  void plan_deallocate(Op& op);
  void restore_names(Op& op);
  bool name_on_server(Op& op, std::string_view sql);
  bool plan_use(PreparedText& text, const router::PreparedUse& use, const router::PreparedPlace& place, std::string_view sql, bool alone);
  [[nodiscard]] std::optional<StatementNames::Entry> find_for_use(const PreparedText& text, std::string_view name);
  bool prepare_in_text(PreparedText::Use& use, const router::PreparedPlace& place, std::string_view sql);
  void execute_as(Op& op, const PreparedStatement& statement);
  void count_in_executed(const PreparedStatement& statement, const router::PreparedUse& use);
  [[nodiscard]] bool fits_client(std::string_view name, const PreparedStatement& statement);
  [[nodiscard]] bool is_aborted() const;
  [[nodiscard]] net::Task<Result<void>> resolve_types();
  [[nodiscard]] net::Task<Result<std::vector<std::uint32_t>>> types_by_name(std::string_view names);
  void types_are_known(PreparedStatement& statement, std::vector<std::uint32_t> types);
  void translate_prepare(std::size_t index);
  void translate_prepared_query(std::size_t index);
  bool ensure_used(std::size_t index);
  void ensure_on_server(const InternedStatement& statement, std::size_t index, bool asked);
  void on_prepared_complete(const Op& op);
  void write_local_reply(const Op& op);
  bool translate_error(const wire::Message& error, const Op* op);
  [[nodiscard]] std::string with_client_names(std::string_view text, const Op* op) const;
  [[nodiscard]] bool will_run_again(const wire::Message& error) const;
  void forget_stale(const Op& op);
  [[nodiscard]] bool own_sync_follows() const;
  void read_own_row(const wire::Message& row);

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
  [[nodiscard]] std::optional<Error> keeps_elsewhere(schema::ShardId shard) const;
  [[nodiscard]] std::optional<Error> does_not_fit() const;
  [[nodiscard]] std::string_view shard_name(schema::ShardId shard) const;
  [[nodiscard]] net::Task<Result<pool::Server*>> wait_in_queue(pool::Pool& pool);
  void still_queued(const pool::Pool& pool, Duration waited);
  void adopt_server(pool::Server* server, schema::ShardId shard);
  [[nodiscard]] bool was_held() const;
  [[nodiscard]] net::Task<Result<void>> discard_all();
  // Runs statements of the proxy's own; replies are not the client's. Collects ParameterStatus if asked.
  [[nodiscard]] net::Task<Result<void>> run_own(std::string_view sql,
                                                std::vector<std::pair<std::string, std::string>>* parameters = nullptr);
  [[nodiscard]] bool give_back_now();
  net::Task<> give_back();
  net::Task<> await_cancels();
  void drop_server();

  // --- what the server must be told first (session_settings.cpp) ---
  [[nodiscard]] bool needs_preparing() const;
  [[nodiscard]] bool needs_sequences() const;
  [[nodiscard]] bool settings_fit_one_query() const;
  [[nodiscard]] bool may_prefix() const;
  void send_settings();
  [[nodiscard]] net::Task<Result<void>> run_settings();
  [[nodiscard]] net::Task<Result<void>> prepare_server();
  [[nodiscard]] net::Task<Result<void>> prepare_held_server();
  void on_settings_applied(char status);
  void discard_reply(const wire::Message& message);
  void undo_on_server(const Expected& skipped);
  [[nodiscard]] bool take_path(const router::Plan& plan, const router::Arguments& arguments, std::shared_ptr<const std::string>& text);
  void follow_path(const router::PathCall& path, std::string sql);
  net::Task<Outcome> refuse_unprepared(BatchEnd end, bool may_retry);
  [[nodiscard]] bool replies_are_own() const;

  // --- limits in time (session_timeouts.cpp) ---
  void arm_idle_timer();
  void idle_too_long();
  void transaction_too_long();
  void arm_running_timer();
  [[nodiscard]] bool runs_too_long();

  // --- what it keeps (session_keep.cpp) ---
  using OwnRows = std::vector<std::vector<std::optional<std::string>>>;
  struct Asks {
    bool settings = false;   // what is set in the session
    bool holds = false;      // what keeps the server
  };
  void note_effects();
  void note_setting_names();
  [[nodiscard]] bool must_ask() const;
  net::Task<> ask_server();
  void learn_settings(const OwnRows& rows);
  [[nodiscard]] static KeptSet holds_in(const OwnRows& rows);
  void take_own_row(ByteView body);
  // A statement of the proxy's own in the open transaction, on the home shard's server of it.
  [[nodiscard]] net::Task<Result<OwnRows>> ask_in_transaction(std::string_view sql);
  [[nodiscard]] bool needs_permit() const;
  [[nodiscard]] std::optional<Error> take_permit();
  [[nodiscard]] bool has_permit(pool::Pool& pool);
  void return_permit();
  void set_soft(bool soft);
  [[nodiscard]] bool keep_server();
  pool::Server* unpin();
  void release_soft_pin();

  // --- LISTEN (session_listen.cpp) ---
  [[nodiscard]] bool must_subscribe() const;
  [[nodiscard]] bool batch_may_commit() const;
  net::Task<> subscribe_channels();
  [[nodiscard]] Result<void> open_listening();
  [[nodiscard]] std::optional<std::string> listening_encoding() const;
  [[nodiscard]] net::Task<Held<Error>> ask_hub(std::vector<std::string> channels, bool live, bool waits);
  void follow_channels(router::Verb verb, const std::string& name);
  void end_channels(bool committed);
  void settle_channels();
  net::Task<> take_over_channels(std::vector<std::string> found);
  void deliver_notifications();

  // --- sending (session_send.cpp) ---
  void translate(BatchEnd end);
  void translate_op(std::size_t index, ByteView message);
  void sync_for_query(std::uint32_t op);
  void translate_parse(std::size_t index, ByteView message);
  void translate_bind(std::size_t index, ByteView message);
  void translate_named(std::size_t index, ByteView message);
  void translate_check_only(BatchEnd end);
  void pass_on(ByteView message);
  [[nodiscard]] bool raw_now() const;
  [[nodiscard]] bool may_stay_raw() const;
  void ensure_unnamed();
  [[nodiscard]] PreparedStatement& make_unnamed();
  [[nodiscard]] const PreparedStatement& unnamed() const { return statement_at(unnamed_); }
  [[nodiscard]] const PreparedStatement& unnamed_before() const { return statement_at(unnamed_replaced_ ? work_->unnamed_before : unnamed_); }
  [[nodiscard]] static const PreparedStatement& statement_at(const std::unique_ptr<PreparedStatement>& place);
  void restore_unnamed(std::size_t failed);
  void take_unnamed_back();
  void evict_prepared(std::size_t bytes);
  void send_held_begin();
  void poison(const Error& error, std::size_t op);
  bool send_to_server(ByteView bytes);
  bool flush_server();

  // --- replies (session_pump.cpp, session_errors.cpp, session_copy.cpp, session_lost.cpp) ---
  net::Task<Outcome> pump(bool may_retry);
  bool receive_from_server();
  [[nodiscard]] bool may_pass() const;
  [[nodiscard]] std::optional<bool> pass_bulk();
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
  [[nodiscard]] static Error out_of_step(char type);
  void emit_local_replies();
  void note_accepted(std::uint32_t op);
  bool forward_copy_data();
  std::size_t copy_data_ready();
  void give_copy_up();
  void end_failed_copy();
  void on_copy_sync_ready(char status);
  void on_copy_syncs_counted();
  void to_client(ByteView bytes);
  void flush_own();
  Outcome lost_server(bool may_retry);
  [[nodiscard]] bool spoke_of_the_batch() const;
  [[nodiscard]] const Op* completed_op() const;
  [[nodiscard]] std::string_view text_of(const Op& op) const;
  [[nodiscard]] std::string_view text_of_step(const Op& op, std::size_t index);
  void apply_step(const Op& op, std::size_t index, std::string_view tag);
  // `text` only where the log or the settings need it.
  void apply_verb(const router::Plan& plan, std::string_view text, std::string_view tag);
  void drop_pin_of_failed_text();
  void mark_writes();
  bool process_idle_server(pool::Server& server);
  void send_cancel();

  // --- what it tells of itself (session_observe.cpp) ---
  void note_arrival();
  void note_departure();
  void note_last_words(const Error& error);
  void note_query(Duration took);
  void note_slow_query(Duration took);
  [[nodiscard]] std::string_view text_of_batch() const;
  [[nodiscard]] std::string_view text_sent(const Op& op) const;

  // Ordered by how often they are touched: of a thousand clients none finds its lines in the cache, so what every statement needs stands together.
  Worker& worker_;
  const std::uint64_t id_;
  std::shared_ptr<net::ServerTls> tls_;   // outlives the socket; shared with a running step of the handshake
  std::unique_ptr<net::Socket> client_;
  net::Waiter waiter_;
  net::Timer timer_;
  std::unique_ptr<Work> work_;          // null: the client idles outside of a transaction, and the session waits for its next byte
  State state_ = State::login;
  Transaction transaction_ = Transaction::none;
  config::PoolMode mode_ = config::PoolMode::transaction;
  bool borrowed_ = false;               // input_ is in the loop's receive buffer, not in in_
  bool client_eof_ = false;             // or a failed socket
  bool client_dead_ = false;            // nobody reads replies any more
  bool skip_to_sync_ = false;           // an error was answered in the middle of a pipeline
  bool has_unnamed_ = false;
  bool had_unnamed_ = false;            // before the batch
  bool unnamed_replaced_ = false;       // by the batch, of which messages may still mean the one before
  bool raw_ = true;                     // the batch can be forwarded byte for byte
  bool sending_raw_ = false;
  bool standard_conforming_strings_ = true;
  bool safe_encoding_ = true;
  bool server_encoding_ = true;         // client_encoding is the server's
  bool set_locally_ = false;            // SET LOCAL ran in this transaction
  bool begin_read_only_ = false;
  bool failed_locally_ = false;         // the server's transaction is fine, the client's is not
  bool aside_ = false;                  // the batch runs outside of the held transaction
  bool cut_apart_ = false;              // it ends with a COMMIT or ROLLBACK, and what stands behind that needs other servers
  bool transaction_wrote_ = false;
  bool transaction_notified_ = false;   // on its one server
  bool own_schema_stale_ = false;       // the transaction's DDL, or an undone part of it, is not known to planner()
  bool server_is_replica_ = false;
  bool tainted_ = false;                // DISCARD ALL before it goes back
  bool pinned_tainted_ = false;         // so, too, the one that is kept
  bool pin_after_ = false;
  bool pins_first_ = false;             // the batch is the first that wants so
  bool soft_after_ = false;             // keep it for its sequences' values, if that costs nobody anything
  bool mid_sequence_ = false;           // a Flush was answered, its Sync has not come
  bool read_leased_ = false;
  bool own_running_ = false;            // a statement of the proxy's own is on its way
  bool in_sequence_ = false;            // the batch continues a sequence that a Flush left open
  bool sequence_wrote_ = false;
  bool flush_after_ = false;            // the batch ended at COPY data: the server is to answer what it has
  bool copy_in_ = false;
  bool copy_extended_ = false;          // started by Execute: a Sync follows the data
  bool copy_failed_ = false;            // the server said so in the middle of a CopyData
  bool copy_given_up_ = false;          // by the proxy, for what the client sent in it
  bool server_broken_ = false;
  bool cancelled_settings_ = false;     // the client's cancel met the settings in front of the batch
  bool error_seen_ = false;             // in the batch
  bool answered_ = false;               // something of the batch's replies was for the client
  bool again_ = false;                  // the batch failed for a plan that is out of date, and runs again
  bool unresolved_types_ = false;       // a PREPARE names types whose OIDs are not known
  bool rolled_back_ = false;            // the last CommandComplete said ROLLBACK
  bool discarded_ = false;              // DISCARD ALL ran in this batch: the server has no settings
  bool end_now_ = false;
  bool cancel_requested_ = false;
  bool cancel_may_come_ = false;        // one whose way was lost: the server must not serve another client
  unsigned cancels_in_flight_ = 0;
  unsigned schema_loads_ = 0;           // it waits for
  unsigned runs_again_ = 0;             // how often that happened to this batch
  std::uint32_t copy_syncs_ = 0;        // sent among COPY data: ignored, unless the COPY had failed before the server came to them
  std::uint32_t copy_ready_ = 0;        // ReadyForQuerys that have come for them
  std::uint32_t completed_ = 0;         // statements of a Query of several that are complete
  unsigned local_in_turn_ = 0;          // batches answered without a server, one after another
  schema::ShardId server_shard_ = 0;
  std::optional<schema::ShardId> transaction_shard_;
  std::optional<schema::ShardId> counted_shard_;   // the first that the transaction's statements were counted for
  bool counted_spanning_ = false;

  Scatter* scatter_ = nullptr;          // runs now
  std::unique_ptr<router::Router> own_router_;   // by what this transaction has made; null: it has made nothing, or nothing that is known
  Held<Error> own_schema_unknown_;      // why what it has made is not known
  std::unique_ptr<Spread> spread_;      // null: the transaction, if there is one, is on one shard
  WorkerDatabase* database_ = nullptr;
  UserPools* pools_ = nullptr;
  pool::Server* server_ = nullptr;      // in use now
  pool::Server* pinned_ = nullptr;      // keeps session state; may be == server_
  Traffic* traffic_ = nullptr;          // counters of the backend last used
  TimePoint last_request_{};
  TimePoint sent_at_{};                 // the batch's first byte, to the server (an open sequence: its first batch's)
  TimePoint transaction_sent_at_{};     // the transaction's
  std::uint64_t planned_generation_ = 0;  // the router's when the batch was planned
  std::uint64_t forwarded_ = 0;         // bytes of this batch's replies that went to the client
  std::uint64_t bulk_left_ = 0;         // of a long message being passed on
  std::uint64_t copy_bulk_left_ = 0;    // of a CopyData being passed on

  // input: unconsumed bytes, in the loop's receive buffer (borrowed) or in in_
  ByteView input_;
  std::size_t scanned_ = 0;             // how much of input_ is in work_->ops
  ByteBuffer in_;
  std::unique_ptr<net::Conduit> conduit_;   // holds what goes to the client before out_; null: nothing
  ByteBuffer out_;                      // for the client: what its socket did not take, and the proxy's own replies
  Held<Error> server_fatal_;
  Held<Error> poison_error_;
  Held<Error> swallowed_error_;         // of a statement of the proxy's own
  Held<Error> settings_error_;          // of the settings in front of the batch: the server refuses what follows
  Held<Error> end_with_;                // from others
  SessionSettings settings_;
  SettingsRef context_of_;              // the settings that context() was made for
  std::unique_ptr<PreparedStatement> unnamed_;   // has_unnamed_; else what is left of the last one; null: there never was any
  StatementNames names_;                // of prepared statements
  std::string server_user_;             // the role on its servers: the backend string's user, else user_
  std::string default_search_path_;     // of the login on its servers

  // what it keeps on a server
  Asks asks_;                           // before it goes back
  std::optional<KeptSet> found_;        // what it was found to hold
  KeptSet kept_;                        // why pinned_ is kept
  pool::Pool* permit_ = nullptr;        // counts this session's pin
  schema::ShardId pinned_shard_ = 0;
  std::vector<std::pair<std::string, std::string>>* own_parameters_ = nullptr;
  std::vector<std::string>* own_row_ = nullptr;   // the last row of it, if asked for
  OwnRows* own_rows_ = nullptr;
  std::unique_ptr<Listening> listening_;   // null: it has never listened
  TimePoint transaction_began_{};

  // the client, from its login on
  net::Task<> task_;
  std::optional<net::ServerTls::Step> tls_step_;
  Held<LookUp> looked_up_;
  std::optional<bool> password_right_;
  std::string user_, application_name_;
  wire::CancelKey key_;
  std::uint16_t protocol_minor_ = 0;
  net::PeerName peer_;
  TimePoint connected_{};
  bool said_goodbye_ = false;           // it sent Terminate
  bool console_ = false;
  bool logged_in_ = false;
  bool admitted_ = false;               // counts against max_clients
  std::string last_words_;              // the fatal error it was sent
  SqlState last_words_code_;
  ClientPlaces::Place place_;
  FallbackUse::Place fallback_place_;   // of a database that the file does not name
  std::shared_ptr<const pool::Pool::Welcome> welcome_;
  Held<ByteBuffer> console_answer_;
};

}  // namespace weir::proxy
