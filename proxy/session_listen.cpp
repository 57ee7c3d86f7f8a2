// LISTEN of clients that share servers: the hub listens for them (proxy/listen_hub.hpp). The statement itself is answered here, or run by a server
// among others, which then forgets it before it goes back; what the servers of the pools are told is not passed on.
#include <algorithm>

#include "base/log.hpp"
#include "base/strings.hpp"
#include "proxy/proxy.hpp"
#include "proxy/session.hpp"

namespace weir::proxy {

using router::Verb;

namespace {

constexpr std::size_t kSentAtOnce = 64 << 10;   // of notifications; the rest waits until the client has read
constexpr std::size_t kOverhead = 64;           // of one in the queue

bool may_commit(const router::Plan& plan) {
  return plan.verb == Verb::commit || plan.verb == Verb::unparsable || (plan.verb == Verb::multi && plan.ends_transaction);
}

Error too_many_channels() {
  return {sqlstate::kConfigurationLimit, concat("a client may listen to ", std::to_string(Listening::kMaxChannels), " channels"),
          "Tell them apart by the payload, or UNLISTEN some."};
}

Error other_encoding() {
  return {sqlstate::kFeatureNotSupported, "client_encoding was changed after LISTEN, or is set in a way that Weir does not read",
          "Set client_encoding = name first, LISTEN then."};
}

}  // namespace

// ---- before the batch ----

// Does the batch listen, or may it commit what the transaction said before?
bool Session::must_subscribe() const {
  if (!work_->decision.channels && !(listening_ && listening_->channels.has_pending())) return false;
  return mode_ != config::PoolMode::session && !work_->decision.error && (work_->decision.channels || batch_may_commit());
}

bool Session::batch_may_commit() const {
  return !in_transaction() || std::any_of(work_->ops.begin(), work_->ops.end(), [](const Op& op) { return op.plan && may_commit(*op.plan); });
}

// The hub is to listen before the statement is answered, and to keep what comes from before the COMMIT on. A COMMIT does not fail for its
// sake: what is not heard because a connection is away is told when it is back.
net::Task<> Session::subscribe_channels() {
  std::set<std::string> wanted = listening_ ? listening_->channels.pending() : std::set<std::string>{};
  for (std::size_t i = work_->ops.size(); i-- > 0;) {
    if (!work_->ops[i].plan || (work_->ops[i].type != 'Q' && work_->ops[i].type != 'E')) continue;
    for (const router::ChannelStep& step : work_->ops[i].plan->channels) {
      if (step.verb != Verb::listen) continue;
      wanted.insert(step.name);
      work_->decision.error_at = i;   // should it be refused
    }
  }
  if (auto opened = open_listening(); !opened) {
    if (work_->decision.channels) refuse(opened.take_error());
    co_return;
  }
  const std::set<std::string>& have = listening_->channels.committed();
  std::erase_if(wanted, [&](const std::string& channel) { return have.contains(channel); });
  if (wanted.empty()) co_return;
  if (have.size() + wanted.size() > Listening::kMaxChannels) co_return refuse(too_many_channels());
  const bool live = batch_may_commit();
  auto error = co_await ask_hub({wanted.begin(), wanted.end()}, live, work_->decision.channels);
  if (error && work_->decision.channels) refuse(std::move(*error));
}

Result<void> Session::open_listening() {
  auto encoding = listening_encoding();
  if (!encoding) return other_encoding();
  ListenLogin login{database_->name, server_user_, std::move(*encoding)};
  if (listening_ && listening_->login == login) return {};
  if (listening_ && (!listening_->channels.committed().empty() || listening_->channels.has_pending())) return other_encoding();
  listening_ = std::make_unique<Listening>(worker_.proxy().listen_hub(), ListenHub::Listener{&worker_, id_}, std::move(login));
  return {};
}

// Empty: the server's own; none: nobody knows.
std::optional<std::string> Session::listening_encoding() const {
  if (!settings_.current()) return "";
  for (const Setting& s : settings_.current()->settings) {
    if (s.name != "client_encoding") continue;
    std::string value = value_of(s.sql);
    if (value.empty()) return std::nullopt;
    return value;
  }
  return "";
}

net::Task<Held<Error>> Session::ask_hub(std::vector<std::string> channels, bool live, bool waits) {
  Listening& l = *listening_;
  const std::uint64_t ticket = ++l.last_ticket;
  for (const std::string& channel : channels) l.tickets[channel] = live ? ticket : 0;
  l.error.reset();
  l.hub.subscribe(l.who, l.login, user_pools().credentials, {std::move(channels), ticket, live, waits});
  stash();
  const Duration patience = worker_.topology()->settings->pool.wait_timeout;
  net::Timer timer(waiter_);
  timer.arm(Deadline::after(worker_.loop().now(), patience));
  while (l.answered != ticket && !timer.fired() && !must_end()) co_await waiter_.wait();
  if (l.answered == ticket) co_return std::exchange(l.error, {});
  co_return Error(sqlstate::kConnectionFailure, "LISTEN failed: a shard's connection that listens was not there within pool.wait_timeout",
                  "SHOW LISTENERS in the console tells which; look at its PostgreSQL server, then try again.");
}

// ---- what became of it ----

// A statement, one of several or all of its text, has come to pass.
void Session::follow_channels(Verb verb, const std::string& name) {
  if (mode_ == config::PoolMode::session) return;
  if (!listening_ && (verb != Verb::listen || !open_listening())) return;
  SessionChannels& channels = listening_->channels;
  switch (verb) {
    case Verb::listen: return channels.listen(name);
    case Verb::unlisten: return channels.unlisten(name);
    case Verb::discard_all: return channels.unlisten({});
    case Verb::savepoint: return channels.savepoint(name);
    case Verb::release_savepoint: return channels.release(name);
    case Verb::rollback_to_savepoint: return channels.rollback_to(name);
    case Verb::commit: return end_channels(true);
    case Verb::rollback: return end_channels(false);
    case Verb::empty:
    case Verb::query:
    case Verb::dml:
    case Verb::copy_from:
    case Verb::copy_to:
    case Verb::begin:
    case Verb::set:
    case Verb::set_local:
    case Verb::set_transaction:
    case Verb::set_constraints:
    case Verb::reset:
    case Verb::reset_all:
    case Verb::deallocate:
    case Verb::deallocate_all:
    case Verb::prepare:
    case Verb::execute:
    case Verb::own_setting:
    case Verb::utility:
    case Verb::multi:
    case Verb::unparsable: return;
  }
}

void Session::end_channels(bool committed) {
  if (!listening_) return;
  committed ? listening_->channels.commit() : listening_->channels.rollback();
  settle_channels();
}

// What the hub does for this session is what the session listens to.
void Session::settle_channels() {
  Listening& l = *listening_;
  std::vector<std::string> left, missed;
  for (const auto& [channel, ticket] : l.tickets)
    if (!l.channels.committed().contains(channel)) left.push_back(channel);
  for (const std::string& channel : left) l.tickets.erase(channel);
  if (!left.empty()) l.hub.unsubscribe(l.who, l.login, std::move(left));
  for (const std::string& channel : l.channels.committed())   // in a pipeline whose end failed
    if (const auto it = l.tickets.find(channel); it == l.tickets.end() || it->second == 0) missed.push_back(channel);
  if (missed.empty()) return;
  const std::uint64_t ticket = ++l.last_ticket;
  for (const std::string& channel : missed) l.tickets[channel] = ticket;
  l.hub.subscribe(l.who, l.login, user_pools().credentials, {std::move(missed), ticket, true, false});
}

// Code that nobody has looked into made its server listen. It goes back only when the hub listens in its place.
net::Task<> Session::take_over_channels(std::vector<std::string> found) {
  Held<Error> error;
  if (auto opened = open_listening(); !opened) error = opened.take_error();
  if (!error && listening_->channels.committed().size() + found.size() > Listening::kMaxChannels) error = too_many_channels();
  if (!error) {
    const auto& have = listening_->channels.committed();
    std::erase_if(found, [&](const std::string& channel) { return have.contains(channel); });
    if (!found.empty()) error = co_await ask_hub(found, true, true);
  }
  if (error) {
    error->message = concat("what a function listens to is not heard: ", error->message);
    notice(*error);
  } else {
    for (std::string& channel : found) listening_->channels.listen(std::move(channel));
  }
  if (listening_) end_channels(true);
  if (server_)
    if (auto quiet = co_await run_own("UNLISTEN *"); !quiet && server_) drop_server();
}

// ---- from the hub ----

void Session::subscribed(std::uint64_t ticket, const Error* error) {
  if (!listening_) return;
  listening_->answered = ticket;
  if (error) listening_->error = *error;
  waiter_.notify();
}

void Session::notified(const Delivery& delivery) {
  if (!listening_ || end_with_) return;
  Listening& l = *listening_;
  l.queued += delivery.what->message.size() + kOverhead;
  l.queue.push_back(delivery);
  if (l.queued <= Listening::kMaxQueued) return waiter_.notify();
  l.queue.clear();
  Error error(sqlstate::kConfigurationLimit, concat("more than ", std::to_string(Listening::kMaxQueued), " bytes of notifications wait for this client"),
              "It must read them, and end its transactions.");
  log::warning(concat("client ", std::to_string(id_), ": ", error.message, ": it is disconnected"));
  terminate(std::move(error), true);
}

// Between transactions only, as PostgreSQL does.
void Session::deliver_notifications() {
  if (in_transaction() || mid_sequence_) return;
  Listening& l = *listening_;
  do {
    while (!l.queue.empty() && out_.size() < kSentAtOnce) {
      const Delivery delivery = std::move(l.queue.front());
      l.queue.pop_front();
      const Notification& n = *delivery.what;
      l.queued -= n.message.size() + kOverhead;
      const auto ticket = l.tickets.find(n.channel);
      const bool listens = ticket != l.tickets.end() && ticket->second == delivery.ticket && l.channels.committed().contains(n.channel);
      if (!listens && !(n.channel.empty() && !l.channels.committed().empty())) continue;
      if (!is_ascii(as_text(n.message.view().subspan(wire::kHeader + 4))) && listening_encoding() != l.login.encoding) return terminate(other_encoding(), true);
      out_.append(n.message.view());
    }
    if (!flush_client()) return;
  } while (!l.queue.empty() && out_.empty());
}

}  // namespace weir::proxy
