// Scatter: answers a batch that needs more than one server: statements over several shards (router/scatter_plan.hpp), statements of different
// shards, and every batch of a transaction over shards (spread.hpp).
//
// One object a batch, inside the session's coroutine. It leases a server of every shard that the batch needs, in the order of the shards, so
// that two of them never wait for each other. In a transaction over shards they are the Spread's from then on; else they go back behind the
// batch, which only reads. It sends each its part at once; and writes rows into the client's output as they come, merged where
// they are sorted. Nothing is held but one message and one receive buffer a shard (and what a finish plan gathers, bounded): a slow client
// slows the shards down. An error of one shard is the client's answer; the others are cancelled and drained before the servers go back.
//
// There is no snapshot that all shards share: docs/consistency.md.
//
// Files: scatter.cpp (the batch as a whole), scatter_lease.cpp (servers), scatter_answer.cpp (the client's messages, one by one),
// scatter_control.cpp (the client's transaction), scatter_parts.cpp (strings of several statements),
// scatter_described.cpp (what its columns are), scatter_run.cpp (one statement on its shards), scatter_explain.cpp (EXPLAIN of one), scatter_rows.cpp (its rows), scatter_replies.cpp (what
// servers say), scatter_link.cpp (one server), scatter_write.cpp (writes), scatter_checks.cpp (what must be alike), scatter_copy.hpp (COPY).
#pragma once

#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "net/task.hpp"
#include "proxy/scatter_checks.hpp"
#include "proxy/scatter_link.hpp"
#include "proxy/server_waits.hpp"
#include "proxy/session.hpp"
#include "proxy/spread.hpp"
#include "router/copy/row_writer.hpp"
#include "router/explain.hpp"
#include "router/merge/gathered_rows.hpp"
#include "router/merge/merger.hpp"
#include "router/prepared_text.hpp"
#include "router/scatter_plan.hpp"
#include "router/write_plan.hpp"

namespace weir::proxy {

class Scatter {
 public:
  // What one statement may gather for its finish, in bytes.
  static constexpr std::size_t kMaxGathered = std::size_t{64} << 20;

  // replan: the map has changed while it waited for servers. closed: the client must go.
  enum class End : std::uint8_t { done, replan, closed };

  explicit Scatter(Session& session);
  ~Scatter();
  Scatter(const Scatter&) = delete;
  Scatter& operator=(const Scatter&) = delete;

  [[nodiscard]] net::Task<End> run(Session::BatchEnd end);
  // The client's CancelRequest.
  void cancel();

 private:
  class Copy;   // scatter_copy.hpp
  using Step = ScatterLink::Step;

  static constexpr std::size_t kNone = ~std::size_t{0};
  static constexpr std::size_t kPiece = 32 << 10;   // output goes out in pieces of about this size

  // A text and what it means: of a Parse in the batch, a prepared statement, or a Query.
  struct Source {
    std::string sql;
    std::string name;                           // of the prepared statement
    std::vector<std::uint32_t> declared, types; // as the client declared them; after the check as the server found them
    std::vector<router::Literal> literals;
    router::PlanRef plan;
    std::size_t parse_op = kNone;               // its Parse in the batch
    FilledRef filled;                           // the client sees its own parameters only
    bool checked = false;
    bool remarked = false;                      // the check brought a notice
    bool returns_rows = false;
    Fields fields;                              // what the client sees
    std::size_t shift = 0;                      // characters of the client's text in front of it, in a string of several
  };
  // A Bind of the batch, or a Query.
  struct Portal {
    enum class State : std::uint8_t { unbound, bound, started, suspended, done, given_up };
    std::size_t op = kNone;
    std::string name;
    State state = State::unbound;
    std::shared_ptr<Source> source;
    std::vector<router::Parameter> parameters;
    std::vector<std::uint16_t> formats;         // of the result, as asked
    std::vector<schema::ShardId> shards;
    const router::ScatterPlan* plan = nullptr;  // null: the text as it is, on one shard
    bool control = false;                       // SAVEPOINT, SET, COMMIT ...: every server of the transaction is told
    bool local = false;                         // the proxy answers it
    bool writes = false;                        // not proven to change nothing

    bool returns_rows = false;
    Fields fields;                              // what the client sees, with its formats
    std::vector<ScatterLink*> links;            // whose rows the answer is made of
    std::optional<router::merge::Merger> merger;   // none: in any order
    router::merge::Window window;
    bool cuts = false;                          // hidden columns are cut off
    std::deque<std::string> explained;          // of EXPLAIN: rows that the client has not got yet
    std::uint64_t rows = 0;                     // sent since the last Execute began
    bool whole = true;                          // it was never suspended
    std::size_t turn = 0;                       // of links, where the order is free; of `order`
    std::vector<std::uint32_t> order;           // of rows split over shards: whose turn it is, as indexes into links
    std::string tag;                            // of a write over several shards, when all have done it
    const router::copy::Options* copied = nullptr;   // COPY (query) TO, and the source is the query
    std::optional<router::copy::RowWriter> writer;   // of its rows, once they come
  };
  struct Failure {
    std::optional<ByteBuffer> response;         // a server's ErrorResponse, without its header
    std::optional<Error> own;                   // or this
    bool of_check = false;
    bool lost = false;                          // a server was lost in a way that another may not be
    std::size_t op = 0;                         // the client's message that it answers
  };
  // A reply to a Parse or Bind that no server has seen yet, and what stands behind it.
  struct Unconfirmed {
    std::size_t op = 0;
    ByteBuffer bytes;
  };
  // What runs a statement, for any of its servers.
  struct Run {
    InternedRef text;      // of a prepared statement of theirs; null: the unnamed one
    ByteBuffer parse;      // not for a server that has `text`
    ByteBuffer rest;
  };
  enum class Rows : std::uint8_t { over, suspended, output_full, awaited };

  // --- the batch (scatter.cpp) ---
  [[nodiscard]] bool read_batch(Session::BatchEnd end);
  [[nodiscard]] bool may_run_beside();
  [[nodiscard]] bool read_op(std::size_t index);
  [[nodiscard]] bool read_portal(std::size_t index, std::shared_ptr<Source> source);
  [[nodiscard]] bool read_copied_query(Portal& portal);
  [[nodiscard]] std::shared_ptr<Source> source_of(std::size_t index, std::string_view name);
  [[nodiscard]] std::shared_ptr<Source> make_source(std::string_view sql, std::vector<std::uint32_t> types, std::size_t parse_op);
  [[nodiscard]] std::shared_ptr<Source> make_source(std::string_view sql, std::vector<std::uint32_t> types, std::size_t parse_op, const router::SessionContext& context);
  [[nodiscard]] std::optional<Error> does_not_fit(const router::Plan& plan) const;
  [[nodiscard]] schema::ShardId shard_of_no_table() const;
  [[nodiscard]] bool needs_spread() const;
  [[nodiscard]] static bool copies(const Portal& portal);
  // Only the shards that get rows are written to.
  [[nodiscard]] static bool writes_by_rows(const Portal& portal);
  [[nodiscard]] bool is_executed(const Portal& portal) const;
  [[nodiscard]] ByteView body_of(const Op& op) const;
  [[nodiscard]] router::Arguments arguments_of(const Portal& portal) const;
  [[nodiscard]] net::Task<bool> is_stale_once_leased();
  void start_over();
  void conclude(Session::BatchEnd end);

  // --- servers (scatter_lease.cpp) ---
  [[nodiscard]] net::Task<Result<void>> lease();
  void adopt_session_server();
  void enlist();
  // Those of the transaction, or else the batch's own.
  [[nodiscard]] std::deque<ScatterLink>& links();
  [[nodiscard]] std::vector<schema::ShardId> wanted_shards() const;
  [[nodiscard]] bool revives() const;
  [[nodiscard]] net::Task<Result<pool::Server*>> lease_one(schema::ShardId shard);
  [[nodiscard]] ServerWaits::Wait wait_for(std::shared_ptr<pool::Pool> wanted);
  [[nodiscard]] net::Task<Result<void>> add_link(schema::ShardId shard, pool::Server& server, bool kept);
  [[nodiscard]] bool may_read_replica(schema::ShardId shard) const;
  [[nodiscard]] net::Task<Result<void>> close_sequence();
  net::Task<> quiet();
  void give_back();
  void give_back(ScatterLink& link, bool cancel_may_come);
  void cancel_run(ScatterLink& link);
  [[nodiscard]] ScatterLink& link_of(schema::ShardId shard);
  [[nodiscard]] ScatterLink& home() { return link_of(schema::kHomeShard); }
  // Where the client's own texts are tried.
  [[nodiscard]] ScatterLink& checker();
  [[nodiscard]] bool has_link(schema::ShardId shard);
  [[nodiscard]] const SettingsRef& wanted_settings() const;

  // --- the client's messages (scatter_answer.cpp) ---
  [[nodiscard]] net::Task<bool> answer();
  [[nodiscard]] net::Task<bool> answer_op(const Op& op);
  [[nodiscard]] net::Task<bool> answer_own_setting(const Op& op);
  [[nodiscard]] net::Task<bool> answer_at_once(char type);
  [[nodiscard]] net::Task<bool> answer_parse();
  [[nodiscard]] bool answer_bind();
  [[nodiscard]] net::Task<bool> answer_describe(wire::NamedView named);
  [[nodiscard]] net::Task<bool> answer_execute(wire::ExecuteView asked);
  [[nodiscard]] net::Task<bool> answer_close(wire::NamedView named);
  [[nodiscard]] net::Task<bool> answer_statement(Portal& portal);
  [[nodiscard]] net::Task<bool> answer_not_understood();
  [[nodiscard]] net::Task<bool> execute(Portal& portal, std::uint32_t max_rows);
  [[nodiscard]] net::Task<bool> execute_copy(const Portal& portal);
  [[nodiscard]] bool refuse_to_run_again(const Portal& portal);
  [[nodiscard]] bool is_ignored(const Op& op) const;
  [[nodiscard]] Portal* find_portal(std::string_view name);
  void write_description(const Portal& portal);
  [[nodiscard]] ByteBuffer& reply() { return unconfirmed_.empty() ? pending_ : unconfirmed_.back().bytes; }
  void confirm(std::size_t before);
  void forward();

  // --- strings of several statements (scatter_parts.cpp) ---
  [[nodiscard]] bool read_parts(std::size_t index, std::string_view sql);
  [[nodiscard]] bool read_next_parts(std::string_view sql);
  [[nodiscard]] bool has_more_parts() const { return parts_.next < parts_.pieces.size(); }
  [[nodiscard]] net::Task<bool> plan_next_parts();
  [[nodiscard]] net::Task<bool> answer_query();
  void begin_block();
  void take_begin_back();

  // --- the client's transaction (scatter_control.cpp) ---
  [[nodiscard]] net::Task<bool> execute_control(Portal& portal);
  [[nodiscard]] net::Task<bool> tell_all(Portal& portal);
  [[nodiscard]] net::Task<bool> roll_back_to(Portal& portal);
  [[nodiscard]] net::Task<bool> follow_path(const Portal& portal);
  [[nodiscard]] net::Task<bool> end_block(Portal& portal);
  [[nodiscard]] net::Task<bool> end_implicit();
  [[nodiscard]] bool take_outcome(Spread::Outcome outcome);
  net::Task<> end_failed_spread();
  [[nodiscard]] bool may_be_answered(const Op& op) const;
  [[nodiscard]] bool may_run(Portal& portal);
  void note_left(ScatterLink& link, const router::Plan& plan);
  [[nodiscard]] net::Task<bool> execute_local(const Portal& portal);
  [[nodiscard]] net::Task<bool> end_with(const Portal& portal);
  void send_to_all(std::string_view sql, Step step);

  // --- what its columns are (scatter_described.cpp) ---
  [[nodiscard]] net::Task<bool> check(Source& source);
  [[nodiscard]] net::Task<bool> await_check(Source& source);
  void send_check(Source& source);
  [[nodiscard]] bool types_are_known(const Source& source) const;
  [[nodiscard]] bool parameters_fit(const Portal& portal);
  [[nodiscard]] bool formats_fit(const Portal& portal, std::size_t columns);
  [[nodiscard]] bool may_keep(const Portal& portal) const;
  [[nodiscard]] bool take_kept(const Portal& portal);
  void keep(const Portal& portal, const Fields& fields);
  [[nodiscard]] InternedRef name_on_servers(const Portal& portal, const std::string& sql, std::vector<std::uint32_t> types) const;
  [[nodiscard]] bool doubts_kept();
  [[nodiscard]] bool still_asks(ScatterLink& link);
  [[nodiscard]] net::Task<bool> describe_runs(const std::vector<ScatterLink*>& links);
  [[nodiscard]] bool alike(const std::vector<ScatterLink*>& links, const router::ScatterPlan& plan);
  [[nodiscard]] bool as_described(const Portal& portal, const Fields& fields, const router::ScatterPlan& plan, std::size_t hidden);

  // --- one statement on its shards (scatter_run.cpp) ---
  [[nodiscard]] net::Task<bool> start(Portal& portal);
  [[nodiscard]] net::Task<bool> start_copy(Portal& portal);
  [[nodiscard]] net::Task<bool> start_as_it_is(Portal& portal);
  [[nodiscard]] net::Task<bool> start_stream(Portal& portal, const router::ScatterPlan& plan);
  [[nodiscard]] net::Task<bool> start_finish(Portal& portal, const router::ScatterPlan& plan);
  [[nodiscard]] net::Task<bool> gather(Portal& portal, const router::Gathered& gathered, const router::ScatterPlan& plan, const std::string& sql);
  [[nodiscard]] net::Task<bool> gather_rows(const std::vector<ScatterLink*>& links, const std::string& what);
  void take_gathered(const wire::Message& row, const std::string& what);
  [[nodiscard]] Run run_of(const Portal& portal, const router::TextTemplate& text, const std::string& sql, std::span<const std::uint16_t> formats,
                           const router::ScatterPlan* finishes = nullptr) const;
  static void write_rest_of_run(ByteBuffer& out, std::string_view name, std::span<const wire::BindValue> values, std::span<const std::uint16_t> formats);
  void send_run(ScatterLink& link, const Run& run);
  void prepare_on(pool::Server& server, const InternedStatement& text, ByteBuffer& out);
  void send_run_as_it_is(ScatterLink& link, const Portal& portal);
  void ask_text_order(ScatterLink& link);
  void ask_isolation(ScatterLink& link);
  [[nodiscard]] net::Task<bool> await_begin();
  [[nodiscard]] std::optional<router::Rendering> rendering_of(Portal& portal, const router::ScatterPlan& plan, const router::Arguments& arguments);
  [[nodiscard]] std::vector<ScatterLink*> links_of(const Portal& portal);
  [[nodiscard]] bool orders_by_locale(const router::ScatterPlan& plan) const;
  [[nodiscard]] Result<std::vector<router::merge::SortKey>> sort_keys(const Portal& portal, const router::ScatterPlan& plan) const;
  [[nodiscard]] Result<router::merge::CollationRef> collation_of(const Portal& portal, const std::string& named) const;

  // --- writes over several shards (scatter_write.cpp) ---
  [[nodiscard]] static bool is_one_by_one(const Portal& portal);
  [[nodiscard]] static bool is_same_everywhere(const Portal& portal);
  [[nodiscard]] std::optional<Error> behind_ddl(const Portal& portal) const;
  [[nodiscard]] bool is_executed_next(const Portal& portal) const;
  [[nodiscard]] net::Task<bool> describe_write(Portal& portal);
  [[nodiscard]] net::Task<bool> start_write(Portal& portal, const router::ScatterPlan& plan);
  [[nodiscard]] net::Task<bool> run_writes(Portal& portal, const router::ScatterPlan& plan, const std::vector<ScatterLink*>& links);
  void send_write(ScatterLink& link, const Portal& portal, const router::WritePlan& write, const router::Rendering& rendering);
  [[nodiscard]] bool send_writes(Portal& portal, const router::ScatterPlan& plan, const std::vector<ScatterLink*>& links);
  [[nodiscard]] bool send_rows(Portal& portal, const router::WritePlan& write, const router::Arguments& arguments, const router::Rendering& rendering);
  [[nodiscard]] std::optional<std::vector<router::TextTemplate>> texts_of_rows(Portal& portal, const router::WritePlan& write, const router::Arguments& arguments);
  [[nodiscard]] net::Task<bool> keep_one_link_a_server(Portal& portal);
  [[nodiscard]] net::Task<bool> run_one_by_one(Portal& portal, const router::WritePlan& write);
  void tell_how_far(const Portal& portal, const router::WritePlan& write, const std::vector<std::string>& done);
  [[nodiscard]] Rows take_in_turns(Portal& portal, std::uint32_t max_rows);
  [[nodiscard]] Rows take_first(Portal& portal, std::uint32_t max_rows);
  [[nodiscard]] bool take_tags(Portal& portal);

  // --- EXPLAIN (scatter_explain.cpp) ---
  [[nodiscard]] net::Task<bool> start_explain(Portal& portal, const router::ScatterPlan& plan);
  [[nodiscard]] net::Task<bool> explain_write(Portal& portal, const router::WritePlan& write, const router::Rendering& rendering,
                                              std::vector<router::ExplainedPart>& parts);
  [[nodiscard]] net::Task<bool> explain_parts(const std::vector<ScatterLink*>& links, Portal& portal, const router::TextTemplate& text, const std::string& sql,
                                              const std::string& what, std::vector<router::ExplainedPart>& parts);
  [[nodiscard]] net::Task<bool> take_explained(const std::vector<ScatterLink*>& links, std::vector<router::ExplainedPart>& parts, std::size_t first);
  [[nodiscard]] net::Task<bool> describe_gathered(Portal& portal, const router::Gathered& gathered, const router::ScatterPlan& plan, const std::string& sql);
  [[nodiscard]] net::Task<bool> explain_finish(Portal& portal, const router::ScatterPlan& plan, const std::string& sql, std::string_view prefix,
                                               router::Explained& explained);
  void send_explained(Portal& portal, std::uint32_t max_rows);

  // --- rows (scatter_rows.cpp) ---
  [[nodiscard]] net::Task<bool> stream(Portal& portal, std::uint32_t max_rows);
  [[nodiscard]] net::Task<bool> send_out();
  [[nodiscard]] Rows take_merged(Portal& portal, std::uint32_t max_rows);
  [[nodiscard]] Rows take_any(Portal& portal, std::uint32_t max_rows);
  void begin_copied_rows(Portal& portal);
  void end_copied_rows(Portal& portal);
  void send_row(Portal& portal, const wire::Message& row, const router::merge::RowView* view);
  [[nodiscard]] net::Task<bool> settle(bool rest_matters);

  // --- replies (scatter_replies.cpp) ---
  // Takes messages of `link` until it has none (false), or a row of its run is at its front: `row`, until link.pop().
  [[nodiscard]] bool next_row(ScatterLink& link, wire::Message& row);
  void take_message(ScatterLink& link, const wire::Message& message);
  void take_settings(ScatterLink& link, const wire::Message& message);
  void take_text_order(ScatterLink& link, const wire::Message& message);
  void take_isolation(ScatterLink& link, const wire::Message& message);
  void judge_isolation(const std::string& told);
  void take_begin(ScatterLink& link, const wire::Message& message);
  void take_control(ScatterLink& link, const wire::Message& message);
  void take_check(ScatterLink& link, const wire::Message& message);
  void take_run(ScatterLink& link, const wire::Message& message);
  void take_error(ScatterLink& link, const wire::Message& message);
  void note_lost(ScatterLink& link, std::optional<Error> last_words);
  void out_of_step(ScatterLink& link, char type);
  [[nodiscard]] bool is_unconfirmed(std::size_t op) const;
  [[nodiscard]] std::size_t shift_of_text() const;
  void fail(Error error);
  // Sleeps until something has happened. False: the client must go, or something has failed.
  [[nodiscard]] net::Task<bool> sleep();
  [[nodiscard]] bool failed() const { return failure_.has_value() || closed_; }

  Session& s_;
  std::deque<ScatterLink> links_;       // in the order of the shards; their addresses stay. In a transaction: not enlisted yet
  std::deque<Portal> portals_;          // in the order of the batch
  std::vector<std::shared_ptr<Source>> sources_;
  struct Parts {
    std::size_t op = 0;                         // its Query
    std::vector<router::TextPiece> pieces;
    std::size_t next = 0;                       // the first that is not planned yet
  };
  Parts parts_;                         // of a string of several statements
  std::shared_ptr<Source> begin_;       // the BEGIN at the front of a string of several statements
  Portal* running_ = nullptr;           // whose rows the links bring
  Source* checking_ = nullptr;
  std::unique_ptr<Copy> copy_;   // of the running portal, or of the last one
  std::vector<router::merge::GatheredRows> gathered_;
  ByteBuffer pending_;                  // for the client, not yet on its way
  std::vector<Unconfirmed> unconfirmed_;   // behind it
  std::optional<Failure> failure_;
  std::size_t op_ = 0;                  // the client's message that is being answered
  bool plain_text_ = false;             // the links run the client's own text: places in it are the client's
  bool ignores_errors_ = false;         // the answer is complete; what shards say of the rest is nobody's
  bool closed_ = false;                 // the client must go
  bool cancel_wanted_ = false;
  bool isolation_asked_ = false;
  bool trusts_kept_ = true;             // what is kept of a text stands in for its check
  bool believes_kept_ = false;          // so it did for the running portal, and no shard has confirmed it yet
  std::string tag_;                     // of the last CommandComplete
  std::string now_;                     // when the transaction began
};

}  // namespace weir::proxy
