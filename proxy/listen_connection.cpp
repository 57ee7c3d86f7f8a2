#include "proxy/listen_connection.hpp"

#include <algorithm>
#include <utility>

#include "base/log.hpp"
#include "base/strings.hpp"
#include "pool/native_login.hpp"
#include "schema/quote.hpp"
#include "wire/body_reader.hpp"
#include "wire/messages.hpp"

namespace weir::proxy {

namespace {

constexpr Duration kFirstPause = std::chrono::milliseconds(50);
constexpr Duration kLongestPause = std::chrono::seconds(2);
// It is idle for ever, which a role's or database's settings must not end; not every version knows all of these.
constexpr std::string_view kSetUp =
    "SELECT pg_catalog.set_config(name, CASE name WHEN 'application_name' THEN 'weir listen' ELSE '0' END, false)"
    " FROM pg_catalog.pg_settings WHERE name IN ('application_name', 'idle_session_timeout', 'statement_timeout')";

Error lost() {
  Error e(sqlstate::kConnectionFailure, "the connection was lost");
  e.connection_spoilt = true;
  return e;
}

std::string listen_to(const std::vector<std::string>& channels) {
  std::string sql;
  for (const std::string& channel : channels) sql += concat("LISTEN ", schema::quote_ident(channel), ";");
  return sql;
}

}  // namespace

ListenConnection::ListenConnection(net::Loop& loop, pool::Connector& logins, Target target, Events events)
    : loop_(loop), logins_(logins), target_(std::move(target)), events_(std::move(events)), waiter_(loop), timer_(waiter_) {
  task_ = run();
  task_.start();
}

ListenConnection::~ListenConnection() {
  task_ = {};
  if (login_) login_->waiter = nullptr;
  if (server_) server_->socket->set_waiter(nullptr);
}

// ---- asked by the hub ----

void ListenConnection::listen(const std::vector<std::string>& channels, Done done) {
  if (up_)
    ask(listen_to(channels), std::move(done));
  else
    waiting_.push_back(std::move(done));   // all that is wanted is listened to after the login
}

void ListenConnection::unlisten(const std::string& channel) {
  if (server_ && !broken_) ask(concat("UNLISTEN ", schema::quote_ident(channel)), [](const Held<Error>&) {});
}

void ListenConnection::retarget(Target target) {
  const bool moved = target.backend != target_.backend;
  target_ = std::move(target);
  if (!moved) return;
  broken_ = true;
  waiter_.notify();
}

void ListenConnection::ask(std::string_view sql, Done done) {
  wire::write_query(out_, sql);
  asked_.push_back({std::move(done)});
  waiter_.notify();
}

// ---- its life ----

net::Task<> ListenConnection::run() {
  for (Duration pause = kFirstPause;; pause = std::min(pause * 2, kLongestPause)) {
    broken_ = false;
    co_await log_in();
    if (server_) {
      co_await converse();
      if (up_) pause = kFirstPause;
      lose();
    }
    timer_.arm(Deadline::after(loop_.now(), pause));
    while (!timer_.fired()) co_await waiter_.wait();
  }
}

net::Task<> ListenConnection::log_in() {
  login_ = std::make_shared<Login>();
  login_->waiter = &waiter_;
  logins_.run([&loop = loop_, login = login_, target = target_] {
    auto outcome = std::make_shared<Result<pool::LoggedIn>>(
        pool::log_in(*target.backend, target.credentials, target.check, Deadline::after(Clock::now(), target.connect_timeout)));
    loop.post([login, outcome] {
      login->outcome.emplace(std::move(*outcome));
      if (login->waiter) login->waiter->notify();
    });
  });
  while (!login_->outcome) co_await waiter_.wait();
  auto outcome = std::move(*std::exchange(login_, nullptr)->outcome);
  Held<Error> error;
  if (outcome) {
    server_ = std::make_unique<pool::Server>();
    server_->link = std::move(outcome->link);
    server_->backend_pid = outcome->backend_pid();
    if (auto attached = server_->attach(loop_); !attached) {
      error = attached.take_error();
      server_.reset();
    }
  } else {
    error = outcome.take_error();
  }
  if (!error) co_return;
  log::warning(concat(target_.backend->name(), ": the listening connection's login failed: ", error->message));
  if (!error->connection_spoilt) fail(*error);
}

net::Task<> ListenConnection::converse() {
  server_->socket->set_waiter(&waiter_);
  set_up();
  while (!broken_) {
    const bool sent = flush();
    const bool received = !broken_ && receive();
    if (!sent && !received && !broken_) co_await waiter_.wait();
  }
}

void ListenConnection::set_up() {
  const auto must_work = [this](const Held<Error>& error) {
    if (!error || broken_) return;
    if (!error->connection_spoilt) fail(*error);
    broken_ = true;
  };
  ask(kSetUp, must_work);
  if (!target_.encoding.empty()) ask(concat("SET client_encoding = ", schema::quote_literal(target_.encoding)), must_work);
  ask(listen_to(events_.wanted()), [this](const Held<Error>& error) { on_login(error); });
}

// What was wanted when the LISTEN was sent is not all: the rest is asked for now.
void ListenConnection::on_login(const Held<Error>& error) {
  if (broken_) return;
  if (error) {   // a server that is in recovery, for one: the next may not be
    log::warning(concat(target_.backend->name(), ": LISTEN failed: ", error->message));
    broken_ = true;
    return;
  }
  up_ = true;
  if (std::exchange(was_up_, true)) {
    log::warning(concat(target_.backend->name(), ": the listening connection is back (pid ", std::to_string(server_->backend_pid), ")"));
    events_.listens_again();
  }
  if (waiting_.empty()) return;
  ask(listen_to(events_.wanted()), [answered = std::exchange(waiting_, {})](const Held<Error>& failed) {
    for (const Done& done : answered) done(failed);
  });
}

void ListenConnection::lose() {
  if (up_) log::warning(concat(target_.backend->name(), ": the listening connection was lost"));
  const bool was_up = std::exchange(up_, false);
  server_->socket->set_waiter(nullptr);
  server_.reset();
  out_.clear();
  in_.clear();
  // What was asked for is asked for again, but for what belonged to the login itself.
  const Held<Error> error(lost());
  for (Query& query : std::exchange(asked_, {})) {
    if (was_up)
      waiting_.push_back(std::move(query.done));
    else
      query.done(error);
  }
}

// A refusal that does not pass by itself is told to who waits.
void ListenConnection::fail(const Error& error) {
  const Held<Error> held(error);
  for (const Done& done : std::exchange(waiting_, {})) done(held);
}

// ---- bytes ----

bool ListenConnection::flush() {
  bool progress = false;
  while (!out_.empty() && server_->socket->can_send()) {
    const auto sent = server_->socket->send(out_.view());
    broken_ |= !sent;
    if (!sent || *sent == 0) break;
    out_.consume(*sent);
    progress = true;
  }
  return progress;
}

bool ListenConnection::receive() {
  net::Socket& socket = *server_->socket;
  if (!socket.may_receive()) {
    broken_ |= socket.hung_up();
    return broken_;
  }
  const net::Received r = socket.receive();
  if (r.kind == net::Received::Kind::nothing) return false;
  if (r.kind != net::Received::Kind::data) {
    broken_ = true;
    return true;
  }
  in_.append(r.bytes);
  for (;;) {
    const wire::Frame f = wire::next_message(in_.view());
    broken_ |= f.status == wire::FrameStatus::bad_length;
    if (f.status != wire::FrameStatus::message || broken_) return true;
    on_message(f.message);
    in_.consume(f.needed);
  }
}

void ListenConnection::on_message(const wire::Message& m) {
  if (m.type == 'A') {
    wire::BodyReader body(m.body);
    (void)body.int32();   // the notifying process
    const std::string_view channel = body.string();
    (void)body.string();
    if (body.finish()) events_.notified(channel, m.whole);
  } else if (m.type == 'E' && !asked_.empty()) {
    const auto view = wire::read_error(m.body);
    asked_.front().error = view ? Error(SqlState::parse(view->code), std::string(view->message)) : view.error();
  } else if (m.type == 'Z' && !asked_.empty()) {
    const Query query = std::move(asked_.front());
    asked_.pop_front();
    query.done(query.error);
  }
}

}  // namespace weir::proxy
