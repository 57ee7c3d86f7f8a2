#include "proxy/signals.hpp"

#include <atomic>
#include <functional>
#include <memory>
#include <optional>
#include <thread>

#include "base/log.hpp"
#include "base/strings.hpp"
#include "proxy/proxy.hpp"
#include "proxy/systemd.hpp"

namespace weir::proxy {

namespace {

constexpr auto kMoment = std::chrono::milliseconds(100);

// Tells systemd that every worker's loop turns. A worker that hangs answers no ping; then systemd hears nothing.
class Watchdog {
 public:
  explicit Watchdog(Proxy& proxy) : proxy_(proxy), every_(systemd::watchdog_interval() / 4) {}

  void turn() {
    const TimePoint now = Clock::now();
    if (every_ <= Duration::zero() || now - asked_at_ < every_ || *unanswered_ > 0) return;
    systemd::notify("WATCHDOG=1");
    asked_at_ = now;
    *unanswered_ = static_cast<int>(proxy_.workers().size());
    for (const auto& worker : proxy_.workers()) worker->loop().post([left = unanswered_] { --*left; });
  }

 private:
  Proxy& proxy_;
  const Duration every_;
  TimePoint asked_at_{};
  std::shared_ptr<std::atomic<int>> unanswered_ = std::make_shared<std::atomic<int>>(0);
};

void reload(Proxy& proxy) {
  systemd::notify_reloading();
  const auto outcome = proxy.reload();
  for (const auto& line : outcome.lines) log::warning(line);
  log::info(outcome.ok ? "configuration reloaded" : "configuration not reloaded: the old one serves on");
  systemd::notify("READY=1");
}

// What ends the proxy: none yet, or how.
std::optional<Shutdown> end_asked(const Proxy& proxy, int signal) {
  if (signal == SIGTERM) return Shutdown::wait_for_clients;
  if (signal == SIGINT) return Shutdown::wait_for_servers;
  if (signal == SIGQUIT) return Shutdown::at_once;
  return proxy.shutdown_asked();
}

bool ends_now(int signal) { return signal == SIGTERM || signal == SIGINT || signal == SIGQUIT; }

// Does `work`, which may wait for clients, while signals are listened to.
void while_listening(Proxy& proxy, const Signals& signals, Watchdog& watchdog, const std::function<void()>& work) {
  std::atomic<bool> done{false};
  std::thread worker([&] {
    work();
    done = true;
  });
  while (!done) {
    const bool asked = proxy.shutdown_asked() == Shutdown::at_once;
    if (ends_now(signals.wait(kMoment / 5)) || asked) proxy.hurry();
    watchdog.turn();
  }
  worker.join();
}

void end(Proxy& proxy, const Signals& signals, Watchdog& watchdog, Shutdown how) {
  static constexpr const char* kHow[] = {"clients are disconnected", "transactions may end", "waiting for clients to leave"};
  log::info(concat("shutting down: new clients are refused, ", kHow[static_cast<int>(how)]));
  systemd::notify(concat("STOPPING=1\nSTATUS=", kHow[static_cast<int>(how)]));
  while_listening(proxy, signals, watchdog, [&] { proxy.shut_down(how); });
}

}  // namespace

Signals::Signals() {
  sigemptyset(&set_);
  for (const int s : {SIGHUP, SIGINT, SIGTERM, SIGQUIT, SIGUSR1, SIGUSR2}) sigaddset(&set_, s);
  pthread_sigmask(SIG_BLOCK, &set_, nullptr);
}

int Signals::wait(std::chrono::nanoseconds most) const {
  const timespec moment{0, most.count()};
  return std::max(0, ::sigtimedwait(&set_, nullptr, &moment));
}

void serve_until_told(Proxy& proxy, const Signals& signals) {
  Watchdog watchdog(proxy);
  for (;;) {
    watchdog.turn();
    proxy.update_averages();
    proxy.forget_unused_databases();
    const int signal = signals.wait(kMoment);
    if (signal == SIGHUP) reload(proxy);
    if (signal == SIGUSR1 && proxy.pause("", Deadline(Clock::now()))) log::info("paused: SIGUSR1");
    if (signal == SIGUSR2 && proxy.resume("")) log::info("resumed: SIGUSR2");
    if (const auto how = end_asked(proxy, signal)) return end(proxy, signals, watchdog, *how);
    if (!proxy.handed_over()) continue;
    bool ended = false;
    while_listening(proxy, signals, watchdog, [&] { ended = proxy.drain_for_successor(); });
    if (ended) return;
  }
}

}  // namespace weir::proxy
