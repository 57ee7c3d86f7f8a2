// Signals: what PgBouncer's users expect of them. HUP reloads; TERM ends when the clients have gone, INT when their transactions have ended
// (a second one of them, or QUIT: at once); USR1 pauses all databases, USR2 resumes them.
// https://www.pgbouncer.org/usage.html#signals
#pragma once

#include <chrono>
#include <csignal>

namespace weir::proxy {

class Proxy;

class Signals {
 public:
  // Blocks them for this thread and those it starts: only wait() sees them. Before any other thread starts.
  Signals();
  // The next one, or 0 after `most`.
  [[nodiscard]] int wait(std::chrono::nanoseconds most) const;

 private:
  sigset_t set_{};
};

// The main thread's life: until a signal, SHUTDOWN in the console or a hand-over ends the proxy. Keeps systemd informed.
void serve_until_told(Proxy& proxy, const Signals& signals);

}  // namespace weir::proxy
