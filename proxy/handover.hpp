// Handover: restart without a refused connection. A process started with the same `listen.takeover_socket` asks the one that serves for
// its listening descriptors and its share of the PostgreSQL servers' bounds; when it accepts clients itself, the old one stops accepting,
// serves the clients it has until they leave or listen.drain_timeout has passed, and ends. A client cannot be moved: its TCP connection,
// its TLS state and its transaction belong to the process it came to.
//
//   new: "hello 1"  →  old: "listener <name>" + descriptors, ..., "share <n> <server>" lines, "environment ...",
//                            "paused <database>", "disabled <database>", ..., "ready"
//   new: "accepting" (its clients come in)  →  old: stops accepting, "stopped"
//   both: "budget ..." lines (handover_budget.hpp), "cancel <pid> <secret>" for keys of the other's clients
//   end of the connection: the old one has ended (the new one may use the whole bound), or the new one has died (the old one serves on)
#pragma once

#include <atomic>
#include <condition_variable>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "base/result.hpp"
#include "proxy/handover_budget.hpp"
#include "proxy/handover_channel.hpp"
#include "proxy/listeners.hpp"
#include "wire/startup.hpp"

namespace weir::proxy {

class Proxy;

// What a process that takes over gets.
struct Inheritance {
  std::vector<Listener> listeners;
  int takeover_listener = -1;
  std::optional<HandoverChannel> channel;
  std::string shares;        // BudgetShare::whole() of the predecessor
  std::string environment;   // systemd::environment()
  std::vector<std::string> paused, disabled;   // databases, by the console
};

// Asks the process that listens at `path`; an empty inheritance: nobody does, `path` is ours now. Blocks for some seconds at most.
[[nodiscard]] Result<Inheritance> inherit(const std::string& path);

class Handover {
 public:
  // Of a complete proxy whose clients do not come in yet: from now on it shares its budgets with the predecessor, if there is one.
  Handover(Proxy& proxy, std::string path, Inheritance inheritance);
  ~Handover();   // ends both connections: from then on the neighbours have the whole bound
  Handover(const Handover&) = delete;
  Handover& operator=(const Handover&) = delete;

  // The workers accept clients: the predecessor may stop. Returns when it did (or is gone).
  void start();
  // Ends the thread; the connections stay.
  void stop();
  // Another process accepts the clients: this one is to drain and end. Goes back to false if that process dies.
  [[nodiscard]] bool handed_over() const { return handed_over_; }
  // The one before this drains still, with connections of the common bound.
  [[nodiscard]] bool predecessor_drains() const { return predecessor_drains_; }
  // A cancel request with a key that is not ours. Any thread.
  void forward_cancel(const wire::CancelKey& key);
  // Removes the socket's file: nobody else listens there.
  void remove_file();

 private:
  // The process at the other end of a channel.
  struct Neighbour {
    HandoverChannel channel;
    BudgetShare budgets;
    bool sharing = false;
  };

  void run();
  void wait(bool sharing);
  void answer_newcomer();
  void give_everything();
  void hear_successor();
  void hear_predecessor();
  void successor_accepts();
  void successor_died();
  void predecessor_ended();
  void round(TimePoint now);
  void pass_cancels();
  void hear_cancel(std::string_view text, bool from_successor);
  static bool send_lines(HandoverChannel& channel, std::string_view lines);

  Proxy& proxy_;
  const std::string path_;
  int listener_ = -1;
  int wake_ = -1;
  std::optional<Neighbour> predecessor_, successor_;
  std::atomic<bool> handed_over_{false}, predecessor_drains_{false}, stopping_{false};

  std::mutex mutex_;
  std::condition_variable heard_;
  bool predecessor_stopped_ = false;
  std::vector<wire::CancelKey> cancels_;   // to be forwarded
  std::thread thread_;
};

}  // namespace weir::proxy
