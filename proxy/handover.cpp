#include "proxy/handover.hpp"

#include <poll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <array>
#include <charconv>
#include <map>
#include <utility>

#include "base/log.hpp"
#include "base/strings.hpp"
#include "proxy/proxy.hpp"
#include "proxy/systemd.hpp"
#include "wire/base64.hpp"

namespace weir::proxy {

namespace {

constexpr std::string_view kHello = "hello 1";   // raised when the conversation changes
constexpr std::string_view kTakeover = "takeover";
constexpr Duration kPatience = std::chrono::seconds(5);

Error refused(const std::string& path, pid_t pid, std::string_view why) {
  return {sqlstate::kConfigFile, concat("takeover socket \"", path, "\": process ", std::to_string(pid), " listens there but ", why),
          "End that process, or give this one another listen.takeover_socket and port."};
}

// True if `text` begins with `word`, which is taken off.
bool take_word(std::string_view& text, std::string_view word) {
  if (!text.starts_with(word)) return false;
  text.remove_prefix(word.size());
  return true;
}

void keep(Inheritance& got, const std::string& name, const std::vector<int>& descriptors) {
  for (const int fd : descriptors) {
    if (name == kTakeover)
      got.takeover_listener = fd;
    else
      got.listeners.push_back({name, fd});
  }
}

}  // namespace

Result<Inheritance> inherit(const std::string& path) {
  Inheritance got;
  auto channel = HandoverChannel::connect(path);
  if (!channel) return channel.take_error();
  if (!*channel) {
    auto listener = HandoverChannel::listen(path);
    if (!listener) return listener.take_error();
    got.takeover_listener = *listener;
    return got;
  }
  HandoverChannel& old = **channel;
  const Deadline deadline = Deadline::after(Clock::now(), kPatience);
  old.send(kHello);
  for (;;) {
    const auto message = old.receive(deadline);
    if (!message) return refused(path, old.peer(), old.closed() ? "ended the conversation" : "does not answer");
    std::string_view text = message->text;
    if (take_word(text, "listener ")) {
      keep(got, std::string(text), message->descriptors);
    } else if (text.starts_with("share ")) {
      got.shares += text;
    } else if (take_word(text, "environment ")) {
      got.environment = text;
    } else if (take_word(text, "paused ")) {
      got.paused.emplace_back(text);
    } else if (take_word(text, "disabled ")) {
      got.disabled.emplace_back(text);
    } else if (take_word(text, "refused ")) {
      return refused(path, old.peer(), text);
    } else if (text == "ready") {
      break;
    }
  }
  log::info(concat("taking over from process ", std::to_string(old.peer())));
  got.channel = std::move(old);
  return got;
}

Handover::Handover(Proxy& proxy, std::string path, Inheritance inheritance)
    : proxy_(proxy), path_(std::move(path)), listener_(inheritance.takeover_listener), wake_(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {
  if (!inheritance.channel) return;
  predecessor_.emplace(Neighbour{std::move(*inheritance.channel), BudgetShare(proxy.pools()), true});
  predecessor_->budgets.hear_whole(inheritance.shares);
  predecessor_drains_ = true;
}

void Handover::stop() {
  stopping_ = true;
  ::eventfd_write(wake_, 1);
  if (thread_.joinable()) thread_.join();
}

Handover::~Handover() {
  stop();
  for (const int fd : {listener_, wake_}) ::close(fd);
}

void Handover::remove_file() { ::unlink(path_.c_str()); }

void Handover::start() {
  if (predecessor_) predecessor_->channel.send("accepting");
  thread_ = std::thread([this] { run(); });
  std::unique_lock lock(mutex_);
  heard_.wait_for(lock, kPatience, [this] { return predecessor_stopped_ || !predecessor_drains_; });
}

void Handover::forward_cancel(const wire::CancelKey& key) {
  {
    std::lock_guard lock(mutex_);
    cancels_.push_back(key);
  }
  ::eventfd_write(wake_, 1);
}

// ---- the thread ----

void Handover::run() {
  while (!stopping_) {
    wait((predecessor_ && predecessor_->sharing) || (successor_ && successor_->sharing));
    answer_newcomer();
    hear_predecessor();
    hear_successor();
    pass_cancels();
    round(Clock::now());
  }
}

// Until something can be read, or the next round is due.
void Handover::wait(bool sharing) {
  std::array<pollfd, 4> on{{{wake_, POLLIN, 0},
                            {listener_, POLLIN, 0},
                            {predecessor_ ? predecessor_->channel.fd() : -1, POLLIN, 0},
                            {successor_ ? successor_->channel.fd() : -1, POLLIN, 0}}};
  if (handed_over_) on[1].fd = -1;   // the successor's now
  const auto round = std::chrono::duration_cast<std::chrono::milliseconds>(BudgetShare::kRound).count();
  ::poll(on.data(), on.size(), sharing ? static_cast<int>(round) : -1);
  eventfd_t ignored = 0;
  ::eventfd_read(wake_, &ignored);
}

void Handover::answer_newcomer() {
  if (handed_over_) return;
  auto channel = HandoverChannel::accept(listener_);
  if (!channel) return;
  const auto hello = channel->receive(Deadline::after(Clock::now(), std::chrono::seconds(1)));
  if (!hello) return;
  if (hello->text != kHello) {
    channel->send(concat("refused understands only \"", kHello, "\", not \"", hello->text, "\": it is of another version"));
  } else if (successor_) {
    channel->send(concat("refused is handing over to process ", std::to_string(successor_->channel.peer())));
  } else {
    log::info(concat("process ", std::to_string(channel->peer()), " asks to take over"));
    successor_.emplace(Neighbour{std::move(*channel), BudgetShare(proxy_.pools())});
    give_everything();
  }
}

// Listeners of one name in messages of a bounded number of descriptors.
void Handover::give_everything() {
  HandoverChannel& to = successor_->channel;
  std::map<std::string, std::vector<int>> by_name{{std::string(kTakeover), {listener_}}};
  for (const Listener& l : proxy_.listeners().all()) by_name[l.name].push_back(l.fd);
  for (const auto& [name, descriptors] : by_name)
    for (std::size_t i = 0; i < descriptors.size(); i += HandoverChannel::kMaxDescriptors) {
      const std::size_t count = std::min(descriptors.size() - i, HandoverChannel::kMaxDescriptors);
      to.send(concat("listener ", name), std::span(descriptors).subspan(i, count));
    }
  send_lines(to, BudgetShare::whole(proxy_.pools()));
  if (const std::string environment = systemd::environment(); !environment.empty()) to.send(concat("environment ", environment));
  for (const std::string& name : proxy_.paused()) to.send(concat("paused ", name));
  for (const std::string& name : proxy_.disabled()) to.send(concat("disabled ", name));
  to.send("ready");
}

// Whole lines, in messages that fit.
bool Handover::send_lines(HandoverChannel& channel, std::string_view lines) {
  while (!lines.empty()) {
    std::string_view part = lines.substr(0, HandoverChannel::kMaxText);
    if (part.size() < lines.size()) part = part.substr(0, part.rfind('\n') + 1);
    if (part.empty() || !channel.send(part)) return false;
    lines.remove_prefix(part.size());
  }
  return true;
}

void Handover::hear_successor() {
  while (successor_) {
    const auto message = successor_->channel.receive_now();
    if (!message) {
      if (successor_->channel.closed()) successor_died();
      return;
    }
    if (message->text == "accepting")
      successor_accepts();
    else if (message->text.starts_with("budget "))
      successor_->budgets.hear(message->text);
    else
      hear_cancel(message->text, true);
  }
}

void Handover::successor_accepts() {
  const std::string pid = std::to_string(successor_->channel.peer());
  proxy_.stop_accepting();
  proxy_.stop_http();
  handed_over_ = true;
  successor_->sharing = true;
  systemd::notify(concat("MAINPID=", pid));
  successor_->channel.send("stopped");
  for (const auto& pool : proxy_.pools().all())
    while (pool->close_longest_idle()) {
    }
  log::info(concat("process ", pid, " accepts the clients now; this one serves those it has"));
}

// It left descriptors and bounds as they were: this process serves on.
void Handover::successor_died() {
  const pid_t pid = successor_->channel.peer();
  if (successor_->sharing) successor_->budgets.end();
  successor_.reset();
  if (!handed_over_) {
    log::warning(concat("process ", std::to_string(pid), " gave up taking over; this one serves on"));
    return;
  }
  handed_over_ = false;   // first: from now on the last client's leaving is no reason to end
  proxy_.resume_accepting();
  if (auto served = proxy_.start_http(); !served) log::error(served.error().message);
  systemd::notify(concat("MAINPID=", std::to_string(::getpid())));
  log::error(concat("process ", std::to_string(pid), ", which took over, has ended; this one accepts clients again"));
}

void Handover::hear_predecessor() {
  while (predecessor_) {
    const auto message = predecessor_->channel.receive_now();
    if (!message) {
      if (predecessor_->channel.closed()) predecessor_ended();
      return;
    }
    if (message->text.starts_with("budget ")) {
      predecessor_->budgets.hear(message->text);
    } else if (message->text == "stopped") {
      std::lock_guard lock(mutex_);
      predecessor_stopped_ = true;
      heard_.notify_all();
    } else {
      hear_cancel(message->text, false);
    }
  }
}

void Handover::predecessor_ended() {
  log::info(concat("process ", std::to_string(predecessor_->channel.peer()), ", which this one replaced, has ended"));
  predecessor_->budgets.end();
  predecessor_.reset();
  std::lock_guard lock(mutex_);
  predecessor_drains_ = false;
  heard_.notify_all();
}

void Handover::round(TimePoint now) {
  if (predecessor_) send_lines(predecessor_->channel, predecessor_->budgets.round(false, now));
  if (successor_ && successor_->sharing) send_lines(successor_->channel, successor_->budgets.round(true, now));
}

// ---- cancel requests ----

void Handover::pass_cancels() {
  std::vector<wire::CancelKey> cancels;
  {
    std::lock_guard lock(mutex_);
    cancels.swap(cancels_);
  }
  for (const wire::CancelKey& key : cancels) {
    const std::string text = concat("cancel ", std::to_string(key.pid), " ", wire::base64_encode(key.secret));
    if (predecessor_) predecessor_->channel.send(text);
    if (successor_) successor_->channel.send(text);
  }
}

// Ours, or passed on in the direction it came.
void Handover::hear_cancel(std::string_view text, bool from_successor) {
  wire::CancelKey key;
  std::string_view rest = text;
  if (!take_word(rest, "cancel ")) return;
  const auto pid = std::from_chars(rest.data(), rest.data() + rest.size(), key.pid);
  if (pid.ptr == rest.data() + rest.size()) return;
  auto secret = wire::base64_decode(rest.substr(static_cast<std::size_t>(pid.ptr - rest.data()) + 1));
  if (!secret) return;
  key.secret = std::move(*secret);
  if (proxy_.cancel_own(key)) return;
  auto& next = from_successor ? predecessor_ : successor_;
  if (next) next->channel.send(text);
}

}  // namespace weir::proxy
