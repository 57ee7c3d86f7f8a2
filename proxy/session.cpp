#include "proxy/session.hpp"

#include <array>

#include "base/log.hpp"
#include "base/strings.hpp"
#include "proxy/proxy.hpp"
#include "proxy/scatter.hpp"
#include "proxy/spread.hpp"

namespace weir::proxy {

namespace {
constexpr std::size_t kMaxShort = 10000;       // PQ_SMALL_MESSAGE_LIMIT
constexpr Duration kCleanUpTime = std::chrono::seconds(5);
constexpr unsigned kLocalAtOnce = 64;          // batches answered without a server before others on the worker have their turn
constexpr unsigned kHotLines = 8;              // of a Session, from its waiter on
constexpr std::size_t kKeptBuffer = 8 << 10;   // an idle client gives larger buffers back
constexpr std::size_t kKeptOps = 64;           // so, too, the notes of its batches
// A longer pipeline is routed and answered in parts, each as if a Flush ended it: what Weir notes of each message is bounded.
constexpr std::size_t kMaxBatchMessages = 16384;
constexpr std::size_t kMaxBatchBytes = 8 << 20;
constexpr auto kIsClientMessage = [] {
  std::array<bool, 256> is{};
  for (const char type : Session::kClientMessages) is[static_cast<std::uint8_t>(type)] = true;
  return is;
}();
}  // namespace

Session::Session(Worker& worker, std::uint64_t id, std::unique_ptr<net::Socket> client)
    : worker_(worker), id_(id), client_(std::move(client)), waiter_(worker.loop(), kHotLines), timer_(waiter_) {
  client_->set_waiter(&waiter_);
  take_work();
  peer_ = net::peer_name(client_->fd());
  connected_ = last_request_ = worker.loop().now();
}

Session::~Session() {
  // Cut off in mid-flight (the worker stops): nothing may point at this session afterwards.
  task_ = {};
  spread_.reset();
  if (tls_) tls_->abandon();
  if (admitted_) worker_.proxy().client_left();
  if (key_.pid != 0) worker_.proxy().forget_key(key_);
  if (work_ && work_->queued_at) work_->queued_at->cancel(work_->request);
  if (work_ && work_->request.first) worker_.proxy().server_waits().end(id_);
  if (pools_) --pools_->sessions;
  return_permit();
  for (pool::Server* server : {server_, pinned_ == server_ ? nullptr : pinned_})
    if (server) {
      if (server->socket) server->socket->set_waiter(nullptr);
      server->pool->discard(server, pool::CloseReason::unclean);
    }
}

void Session::take_work() {
  work_ = worker_.works.take();
  work_->request.waiter = &waiter_;
  work_->request.worker = worker_.index();
  work_->request.client = id_;
}

// The client says nothing, and nothing of its is under way anywhere.
void Session::lay_work_down() {
  if (in_transaction() || mid_sequence_ || server_ || pinned_ || spread_ || !work_->at_rest()) return;
  worker_.works.give_back(std::move(work_));
}

void Session::start() {
  task_ = run();
  task_.start();
}

net::Task<> Session::run() {
  if (const bool entered = co_await login(); entered) {
    if (!tls_) client_->receive_ahead();
    if (console_)
      co_await serve_console();
    else
      co_await serve();
  }
  co_await finish();
  worker_.finished(*this);
}

net::Task<> Session::serve() {
  for (;;) {
    if (end_with_ && end_now_) {
      fatal(*end_with_);
      co_return;
    }
    state_ = State::idle;
    BatchEnd end{};
    if (!gather(end)) end = co_await read_batch();
    said_goodbye_ = end == BatchEnd::terminate;
    if (end == BatchEnd::closed || end == BatchEnd::terminate) co_return;
    state_ = State::active;
    last_request_ = worker_.loop().now();
    if (transaction_ == Transaction::held || transaction_ == Transaction::held_failed) end_transaction_first();
    for (bool planned = false; !planned;) {
      planned = true;
      if (own_router_ || own_schema_stale_)
        if (must_learn_schema()) co_await learn_schema();
      plan_batch(end);
      if (failed_locally_ && ends_failed_transaction()) co_await fail_on_server();
      if (must_subscribe()) {
        co_await subscribe_channels();
        if (plan_is_stale()) {
          take_plan_back();
          planned = false;
          continue;
        }
      }
      if (answer_locally(end)) {
        if (end != BatchEnd::flush) database_->stats->local_queries.add();
        ++local_in_turn_;
      } else if (work_->decision.scatter || spread_) {
        local_in_turn_ = 0;
        const Outcome outcome = co_await run_scatter(end);
        if (outcome == Outcome::closed) co_return;
        planned = outcome != Outcome::retry;
      } else {
        local_in_turn_ = 0;
        aside_ = only_prepares(end);
        Outcome outcome = Outcome::retry;
        for (int attempt = 0; outcome == Outcome::retry; ++attempt) {
          const bool was_pinned = pinned_ != nullptr;
          if ((attempt > 0 && plan_is_stale()) || unresolved_types_ || !lease_now()) {
            auto leased = co_await lease();
            if (leased && unresolved_types_ && !plan_is_stale()) leased = co_await resolve_types();
            if (!leased) {
              if (client_gone()) co_return;
              if (was_pinned && !pinned_) {   // what the client kept on that server is gone
                fatal(leased.error());
                co_return;
              }
              if (!server_ || !mid_sequence_) {
                fail_locally(end, leased.error());
                if (end != BatchEnd::flush) database_->stats->local_queries.add();
                break;
              }
              // What ran before in the sequence must be rolled back by the server: it is given an error of its own.
              fail_on_server_at(leased.take_error());
            }
            if (plan_is_stale()) {
              take_plan_back();
              planned = false;
              break;
            }
          }
          translate(end);
          outcome = co_await pump(attempt < 2);
          if (outcome == Outcome::unprepared) outcome = co_await refuse_unprepared(end, attempt < 2);
        }
        if (outcome == Outcome::closed || client_dead_) co_return;
      }
    }
    if (server_ && !give_back_now()) co_await give_back();
    if (schema_loads_ > 0) {
      stash();
      flush_client();
      co_await await_schema();
    }
    end_batch();
    aside_ = cut_apart_ = false;
    if (end != BatchEnd::flush && !in_transaction()) work_->portals.clear();
    flush_client();
    if (listening_) deliver_notifications();
    // A client that asks and never reads: what the proxy itself answers is bounded, too.
    if (local_in_turn_ >= kLocalAtOnce) co_await yield();
    while (out_.size() > kMaxControl) {
      if (client_eof_ || client_->hung_up() || (end_with_ && end_now_)) co_return;
      stash();
      co_await waiter_.wait();
      flush_client();
    }
  }
}

// Lets the others on this worker have their turn.
net::Task<> Session::yield() {
  local_in_turn_ = 0;
  stash();
  bool others_went = false;
  worker_.loop().post([&worker = worker_, id = id_, &others_went] {
    if (Session* session = worker.find_session(id)) {
      others_went = true;
      session->waiter_.notify();
    }
  });
  while (!others_went) co_await waiter_.wait();
}

// The client's transaction has failed, the server's has not: it must, before it is told to end. Then it answers COMMIT, and whatever
// comes with it, as it does after an error of its own.
net::Task<> Session::fail_on_server() {
  const auto failed = co_await run_own("ROLLBACK TO SAVEPOINT \"weir.refused\"");
  failed_locally_ = false;
  // Without a server (its connection was lost just now) there is nothing left to end but the client's view of it.
  transaction_ = server_ && !failed ? Transaction::failed : Transaction::held_failed;
  if (transaction_ == Transaction::held_failed) work_->held.clear();
}

// ---- input ----

void Session::stash() {
  if (!borrowed_) return;
  in_.append(input_);
  input_ = in_.view();
  borrowed_ = false;
}

bool Session::receive_from_client() {
  if (!client_->may_receive() || client_eof_) return false;
  stash();
  const net::Received r = client_->receive();
  switch (r.kind) {
    case net::Received::Kind::data:
      if (database_) database_->stats->received.add(r.bytes.size());
      if (in_.empty()) {
        input_ = r.bytes;
        borrowed_ = true;
      } else {
        in_.append(r.bytes);
        input_ = in_.view();
      }
      return true;
    case net::Received::Kind::nothing:
      return false;
    case net::Received::Kind::end:
    case net::Received::Kind::failed:
      client_eof_ = true;
      return false;
  }
  return false;
}

void Session::consume(std::size_t n) {
  if (borrowed_) {
    input_ = input_.subspan(n);
    if (input_.empty()) borrowed_ = false;
    return;
  }
  in_.consume(n);
  if (in_.empty() && in_.capacity() > kKeptBuffer) in_.release();
  input_ = in_.view();
}

void Session::end_batch() {
  consume(scanned_);
  scanned_ = 0;
  work_->ops.clear();
  work_->steps_in_text.clear();
  if (work_->ops.capacity() > kKeptOps) std::vector<Op>().swap(work_->ops);
  work_->decision = {};
  flush_after_ = false;
  runs_again_ = 0;
}

// Adds complete messages to the batch. True: the batch is complete (or `end` says why there will be none).
bool Session::gather(BatchEnd& end) {
  for (;;) {
    const wire::Frame f = wire::next_message(input_.subspan(scanned_));
    if (f.status == wire::FrameStatus::bad_length) {
      fatal({sqlstate::kProtocolViolation, "invalid message length"});
      end = BatchEnd::closed;
      return true;
    }
    if (input_.size() > scanned_ && !kIsClientMessage[input_[scanned_]]) {
      fatal({sqlstate::kProtocolViolation, concat("invalid frontend message type ", std::to_string(input_[scanned_]))});
      end = BatchEnd::closed;
      return true;
    }
    if (f.needed > kMaxShort + 1 && input_.size() > scanned_ &&
        std::string_view("DECSH").find(static_cast<char>(input_[scanned_])) != std::string_view::npos) {
      fatal({sqlstate::kProtocolViolation, "invalid message length"});   // PostgreSQL's bound, too
      end = BatchEnd::closed;
      return true;
    }
    if (f.status == wire::FrameStatus::incomplete) {
      if (f.needed <= kMaxHeld) return false;
      fatal({sqlstate::kProgramLimit, concat("a message of ", std::to_string(f.needed), " bytes is more than Weir holds (",
                                             std::to_string(kMaxHeld), ")"),
             "Send large data with COPY, or in several statements."});
      end = BatchEnd::closed;
      return true;
    }
    if (take_message(f.message, end)) return true;
    if (work_->ops.empty()) {   // skipped: nothing of it is held
      consume(std::exchange(scanned_, 0));
    } else if (work_->ops.size() >= kMaxBatchMessages || scanned_ >= kMaxBatchBytes) {
      flush_after_ = true;
      end = BatchEnd::flush;
      return true;
    }
  }
}

bool Session::take_message(const wire::Message& m, BatchEnd& end) {
  const auto offset = static_cast<std::uint32_t>(scanned_);
  scanned_ += m.whole.size();
  const auto add = [&] {
    Op& op = work_->ops.emplace_back();
    op.type = m.type;
    op.offset = offset;
    op.size = static_cast<std::uint32_t>(m.whole.size());
  };
  switch (m.type) {
    case 'S':
      skip_to_sync_ = false;
      add();
      end = BatchEnd::sync;
      return true;
    case 'X':
      end = BatchEnd::terminate;
      return true;
    case 'Q':
      if (skip_to_sync_) return false;
      add();
      end = BatchEnd::query;
      return true;
    case 'H':
      if (skip_to_sync_) return false;
      add();
      end = BatchEnd::flush;
      return true;
    case 'F':
      if (skip_to_sync_) return false;
      add();
      end = BatchEnd::query;
      return true;
    case 'P':
    case 'B':
    case 'D':
    case 'E':
    case 'C':
      if (!skip_to_sync_) add();
      return false;
    default:
      if (!work_->ops.empty() && !skip_to_sync_) {
        // COPY data sent without waiting for CopyInResponse: first see whether the server copies.
        scanned_ = offset;
        flush_after_ = true;
        end = BatchEnd::flush;
        return true;
      }
      return false;   // of a COPY that failed: PostgreSQL ignores it, too
  }
}

net::Task<Session::BatchEnd> Session::read_batch() {
  BatchEnd end{};
  arm_idle_timer();
  while (!gather(end)) {
    if (receive_from_client()) continue;
    if (!flush_client() || must_end() || (end_with_ && !in_transaction())) {
      if (end_with_) fatal(*end_with_);
      co_return BatchEnd::closed;
    }
    if (timer_.fired()) {
      idle_too_long();
      co_return BatchEnd::closed;
    }
    if (in_.empty() && in_.capacity() > kKeptBuffer) in_.release();
    stash();
    lay_work_down();
    co_await waiter_.wait();
    if (!work_) take_work();
    if (listening_) deliver_notifications();
    for (pool::Server* server : {server_, pinned_ == server_ ? nullptr : pinned_})
      if (server && !process_idle_server(*server)) co_return BatchEnd::closed;
  }
  timer_.cancel();
  co_return end;
}

// ---- output ----

// The part of a long row that is between the two sockets.
bool Session::empty_conduit() {
  const auto sent = client_->send_from(*conduit_);
  if (!sent) {
    client_eof_ = true;
    conduit_.reset();
    return false;
  }
  database_->stats->sent.add(*sent);
  if (conduit_->held() > 0) return false;
  worker_.conduits.give_back(std::move(conduit_));
  return true;
}

bool Session::flush_client() {
  if (conduit_ && !empty_conduit()) return !client_eof_;
  while (!out_.empty() && client_->can_send()) {
    const auto sent = client_->send(out_.view());
    if (!sent) {
      client_eof_ = true;
      return false;
    }
    if (*sent == 0) break;
    if (database_) database_->stats->sent.add(*sent);
    out_.consume(*sent);
  }
  if (out_.empty() && out_.capacity() > kKeptBuffer) out_.release();
  return !client_eof_;
}

bool Session::client_gone() const { return client_eof_ || (client_->hung_up() && !client_->may_receive()); }

void Session::fatal(const Error& error) {
  note_last_words(error);
  wire::write_error(out_, wire::Severity::fatal, error);
  flush_client();
}

void Session::notice(const Error& n) { wire::write_notice(out_, wire::Severity::warning, n); }

// ---- the end ----

net::Task<> Session::finish() {
  state_ = State::closing;
  client_dead_ = true;   // replies still owed are read and thrown away
  out_.clear();
  conduit_.reset();
  listening_.reset();
  if (spread_) co_await spread_->roll_back();
  spread_.reset();
  if (server_ && !server_broken_) co_await drain();
  if (server_ && (server_broken_ || !work_->expected.empty() || !work_->to_server.empty() || mid_sequence_)) drop_server();
  const bool in_block = transaction_ == Transaction::open || transaction_ == Transaction::failed || settings_error_;
  settings_error_.reset();
  if (server_ && in_block)
    if (auto rolled_back = co_await run_own("ROLLBACK"); !rolled_back) drop_server();
  transaction_ = Transaction::none;
  tainted_ |= pin_after_ || must_ask();   // nobody is there any more to whom it would matter what it was
  pin_after_ = soft_after_ = false;
  asks_ = {};
  if (pinned_) {
    if (server_ && server_ != pinned_) co_await give_back();
    tainted_ |= !kept_.only(Kept::sequence);
    server_ = unpin();
  }
  if (server_) co_await give_back();
  if (tls_ && client_->can_send()) tls_->close();
  note_departure();
  client_->shutdown();
}

// The client died while the server works: cancel, read what is still owed, and reuse the connection (no login storm).
net::Task<> Session::drain() {
  if (work_->expected.empty() && work_->to_server.empty() && !mid_sequence_ && !copy_in_) co_return;
  // The server waits for the rest of a CopyData, and nothing else can be said to it; or what it will answer cannot be told.
  if (copy_bulk_left_ > 0 || copy_syncs_ > 0) {
    drop_server();
    co_return;
  }
  if (copy_in_) {
    wire::write_message(work_->to_server, 'f', std::string_view("client disconnected\0", 20));
    const bool simple = !work_->expected.empty() && work_->expected.front().kind == Expect::query;
    copy_in_ = false;
    if (!simple) mid_sequence_ = true;
  } else if (!work_->expected.empty()) {
    send_cancel();
  }
  if (mid_sequence_) {
    // The client never said Sync: what it ran in this sequence must not be committed by ours.
    if (!skip_to_sync_) poison({sqlstate::kConnectionFailure, "the client went away"}, kNoOp);
    wire::write_sync(work_->to_server);
    work_->expected.push({Expect::sync, true, 0});
    mid_sequence_ = false;
  }
  timer_.arm(Deadline::after(worker_.loop().now(), kCleanUpTime));
  while (!server_broken_ && !timer_.fired()) {
    flush_server();
    if (work_->expected.empty() && work_->to_server.empty()) break;
    if (!receive_from_server()) co_await waiter_.wait();
  }
  timer_.cancel();
}

// ---- from others ----

void Session::request_cancel() {
  if (database_) database_->stats->cancels.add();
  if (state_ == State::waiting) {
    cancel_requested_ = true;
    waiter_.notify();
  } else if (scatter_) {
    scatter_->cancel();
  } else if (server_ && !work_->expected.empty() && !own_running_) {
    const bool settings = work_->expected.front().kind == Expect::settings;   // with the client's statement behind them
    cancelled_settings_ |= settings;
    if (settings || !work_->expected.front().swallow) send_cancel();   // never a statement of the proxy's own
  }
}

void Session::terminate(Error why, bool now) {
  end_with_ = std::move(why);
  end_now_ = now;
  waiter_.notify();
}

void Session::cancel_delivered(bool certain) {
  --cancels_in_flight_;
  cancel_may_come_ |= !certain;
  waiter_.notify();
}

void Session::send_cancel() {
  ++cancels_in_flight_;
  worker_.proxy().send_cancel(*server_, worker_.index(), id_);
}

ClientInfo Session::info() const {
  static constexpr const char* kNames[] = {"login", "idle", "active", "waiting", "closing"};
  ClientInfo i;
  i.id = id_;
  i.user = user_;
  i.database = database_ ? database_->name : "";
  i.state = state_ == State::idle && in_transaction() ? "idle in transaction" : kNames[static_cast<int>(state_)];
  i.address = peer_.address;
  i.port = peer_.port;
  const net::PeerName local = net::local_name(client_->fd());
  i.local_address = local.address;
  i.local_port = local.port;
  i.application_name = application_name_;
  i.server_user = server_user_;
  i.console = console_;
  if (tls()) i.tls = tls()->description();
  const pool::Server* server = server_ ? server_ : spread_ && !spread_->links().empty() ? &spread_->first().server() : pinned_;
  i.server_pid = server ? server->backend_pid : 0;
  i.server_id = server ? server->id : 0;
  i.pinned = pinned_ != nullptr;
  if (i.pinned) i.pin_reason = kept_.reasons();
  i.connected = connected_;
  i.last_request = last_request_;
  if (state_ == State::waiting) i.wait = worker_.loop().now() - work_->request.since;
  i.prepared = names_.size();
  return i;
}

}  // namespace weir::proxy
