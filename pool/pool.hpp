// Pool: the bounded server connections of one (backend, user), shared by all workers, and the queue for them.
//
// Thread-safe: one mutex, held for a few dozen instructions; under load a transaction takes it twice (acquire, release). A server is on
// one worker's loop at a time; a worker without an idle one takes another worker's. The queue is first come, first served over all workers;
// within slack() a worker's own client goes first, because crossing threads costs more than the wait it would save: nobody is overtaken by a
// client that came more than that later.
//
// Over pools that share a bound (Budget), whose client waits longest is first: others take nothing before it, and give servers up for it.
//
// Files: pool.cpp (what sessions and others ask), pool_queue.cpp (who is next), pool_logins.cpp (opening), pool_housekeeping.cpp (idle
// servers, limits in time, what is told).
#pragma once

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <functional>
#include <limits>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

#include "base/deadline.hpp"
#include "base/held.hpp"
#include "base/result.hpp"
#include "net/loop.hpp"
#include "pool/backend.hpp"
#include "pool/connector.hpp"
#include "pool/native_login.hpp"
#include "pool/server.hpp"

namespace weir::pool {

// Identity of a pool: which backend, as whom. Whoever comes as that user has proved it to the proxy; with what does not matter.
struct PoolKey {
  const Backend* backend = nullptr;
  std::string user;
  friend bool operator==(const PoolKey&, const PoolKey&) = default;
};

struct PoolSettings {
  unsigned size = 20;
  unsigned min = 0;
  unsigned reserve = 0;                                     // more than `size` while somebody has waited for reserve_timeout
  Duration reserve_timeout = std::chrono::seconds(5);
  unsigned enlist_reserve = 0;                              // more again, while somebody waits who is to come first
  Duration refusal_pause = std::chrono::seconds(1);         // no login for so long after one was refused for good
  Duration connect_timeout = std::chrono::seconds(15);
  Duration idle_timeout = std::chrono::minutes(10);   // zero: never
  Duration lifetime = std::chrono::hours(1);          // zero: for ever
};

// One client's wish for a server. Lives in the session; loop thread only. From acquire() until taken() or cancel() it is the pool's: only
// Pool::waits() may be asked.
struct Request {
  net::Waiter* waiter = nullptr;     // told when there is a server or an error
  unsigned worker = 0;
  std::uint64_t client = 0;
  const void* settings = nullptr;    // an idle server with these settings is preferred
  bool first = false;                // it holds servers for which others wait: before all that hold none, also from PoolSettings::enlist_reserve

  Held<Error> error;                 // why it no longer waits and got nothing
  TimePoint since{};

 private:
  friend class Pool;
  // queued, in_mail: the pool's lock guards all of it. delivered: the worker's thread was told and owns it again.
  enum class State : std::uint8_t { idle, queued, in_mail, delivered };
  std::atomic<State> state{State::idle};
  Server* server = nullptr;
  Request* prev = nullptr;
  Request* next = nullptr;
};

struct PoolCounts {
  unsigned active = 0, idle = 0, opening = 0, waiting = 0;
  unsigned close_needed = 0;         // servers of before the last renew()
  unsigned being_canceled = 0;       // active ones that would be idle, were there not a cancel on its way to them
  unsigned cancels_waiting = 0, cancels_active = 0;   // CancelRequests to be sent, and being sent
  Duration max_wait{};   // the longest of all, where counts are summed
  PoolCounts& operator+=(const PoolCounts& other);
};

struct ServerInfo {
  std::uint64_t id = 0;
  int backend_pid = 0;
  bool active = false;
  bool close_needed = false;
  bool tls = false;
  unsigned worker = 0;
  TimePoint created{}, last_used{};
  std::uint64_t client = 0;
  std::size_t prepared = 0;
};

// What the pool needs of the process around it.
class PoolHost {
 public:
  virtual ~PoolHost() = default;
  virtual net::Loop& loop(unsigned worker) = 0;
  virtual unsigned workers() const = 0;
  virtual Connector& connector() = 0;
  // Something of `budget` may be free, and pools stand in line for it. Called without any lock.
  virtual void feed(Budget& budget) = 0;
  // Somebody starves under `budget`: close the idle server of another pool sharing it that was unused for longest. Called without any lock.
  // True: one was closed.
  virtual bool relieve(const Budget& budget, const Pool* except) = 0;
};

class Pool : public std::enable_shared_from_this<Pool> {
 public:
  static constexpr Duration kSlack = std::chrono::milliseconds(1), kMostSlack = std::chrono::milliseconds(20);
  // A quarter of what the first in the queue has waited.
  [[nodiscard]] static constexpr Duration slack(Duration waited) { return std::clamp(waited / 4, kSlack, kMostSlack); }

  // What counts in `limits` counts besides the backend's own budget (the database's and the user's).
  Pool(PoolHost& host, std::shared_ptr<Backend> backend, Credentials credentials, PoolSettings settings,
       LoginCheck check, std::vector<std::shared_ptr<Budget>> limits = {});
  ~Pool();   // closes what is idle; nobody may hold a server or wait

  // --- sessions, on their worker's thread ---

  // A server at once, attached to the caller's loop; or nullptr: queued, and the waiter is told later. Then ask taken().
  [[nodiscard]] Server* acquire(Request& request, TimePoint now);
  // After a notification: the server (attached to the caller's loop), or nullptr: it still waits(), or request.error is set. Lock-free.
  [[nodiscard]] Server* taken(Request& request);
  // Neither a server nor an error is there yet. Lock-free.
  [[nodiscard]] static bool waits(const Request& request) {
    const auto state = request.state.load(std::memory_order_acquire);
    return state == Request::State::queued || state == Request::State::in_mail;
  }
  // Gives up: off the queue, or back with what was granted meanwhile.
  void cancel(Request& request);
  // Back with a server whose last ReadyForQuery said 'I' and on which nothing is outstanding. Its idle state must be clean.
  void release(Server* server, TimePoint now);
  // Closes it instead (broken, or not clean).
  void discard(Server* server, CloseReason why = CloseReason::lost);

  // --- any thread ---
  // Servers that sessions keep between transactions. `configured` is pool.max_pinned; 0: all but one.
  [[nodiscard]] unsigned pin_limit(unsigned configured) const;
  [[nodiscard]] bool try_pin(unsigned limit);
  void force_pin() { pinned_.fetch_add(1, std::memory_order_relaxed); }
  void unpin() { pinned_.fetch_sub(1, std::memory_order_relaxed); }
  [[nodiscard]] unsigned pinned() const { return pinned_.load(std::memory_order_relaxed); }
  [[nodiscard]] bool wanted() const;   // somebody waits
  // All that it may open is in use: nobody is served before somebody gives one back. How many that are; 0: it is not so.
  [[nodiscard]] unsigned all_in_use() const;
  // Of them, those that would be given up for somebody who waits.
  void count_soft_pin(int change) { soft_pins_.fetch_add(static_cast<unsigned>(change), std::memory_order_relaxed); }
  [[nodiscard]] unsigned soft_pins() const { return soft_pins_.load(std::memory_order_relaxed); }
  void set_paused(bool paused);
  [[nodiscard]] bool paused() const;
  // Servers that exist now are closed when idle (RECONNECT, map change); new ones are opened.
  void renew();
  // No new logins; idle servers are closed, active ones when they come back.
  void retire();
  void set_settings(const PoolSettings& settings);
  void set_check(LoginCheck check);
  // What newer logins prove themselves with: a client brought its keys, or a reload another password. Nothing where it is no secret at all.
  void offer(const Credentials& credentials);
  // Closes idle and expired servers, keeps `min`, calls in the reserve, retries logins that failed. Many times a second.
  void tick(TimePoint now);
  // Opens what its clients need and its bounds give, now.
  void open_now(TimePoint now);
  // Since when the longest unused server has been idle; none: there is no idle one.
  [[nodiscard]] std::optional<TimePoint> longest_idle() const;
  // Closes it; false: there is none.
  bool close_longest_idle();
  // An event on an idle server of `worker` (EOF, or bytes nobody asked for): it is closed. On that worker's thread.
  void idle_event(unsigned worker, std::uint64_t server_id);

  [[nodiscard]] PoolCounts counts(TimePoint now) const;
  [[nodiscard]] std::vector<ServerInfo> servers() const;
  // "pool app/s0 primary 10.0.0.1:5432 user bob: 20 of 20 in use, 31 waiting": and why nothing comes.
  [[nodiscard]] Error timeout_error(Duration waited) const;
  [[nodiscard]] Backend& backend() const { return *backend_; }
  [[nodiscard]] const std::shared_ptr<Backend>& shared_backend() const { return backend_; }
  [[nodiscard]] const std::string& user() const { return user_; }
  [[nodiscard]] const std::string& name() const { return name_; }
  [[nodiscard]] bool retired() const;
  // Nothing is lost with it but its counters, should nobody else hold it: a login that comes back makes another.
  [[nodiscard]] bool forgettable() const;
  [[nodiscard]] bool counts_in(const Budget& budget) const;
  // What a login told (ParameterStatus, search_path), from the newest one; none before the first.
  struct Welcome {
    std::vector<std::pair<std::string, std::string>> parameters;
    std::string search_path;
  };
  [[nodiscard]] std::shared_ptr<const Welcome> welcome() const;

  // For counts(): kept by whoever sends cancels, and by sessions that hold a server for one. Any thread.
  std::atomic<unsigned> cancels_waiting{0}, cancels_active{0}, being_canceled{0};

 private:
  struct PerWorker {
    std::vector<Server*> idle;        // most recently used last
    Request* queue_head = nullptr;    // those that come first, then the others; each oldest first
    Request* queue_tail = nullptr;
    Request* mail = nullptr;          // granted by another thread, not yet told
    bool mail_posted = false;
  };
  // Work to do after the lock is given back.
  struct Later {
    std::vector<std::unique_ptr<Server>> closing;
    unsigned logins = 0;
    Budget* relieve = nullptr;        // this bound refused
    bool gave_back = false;           // something of the bounds
    [[nodiscard]] bool any() const { return logins > 0 || relieve || gave_back; }
  };

  static constexpr unsigned kNoWorker = std::numeric_limits<unsigned>::max();
  Server* find_idle(unsigned worker, const void* settings);
  Server* steal_idle(unsigned worker);
  Server* ready_for(Server* server, Request& request);
  [[nodiscard]] std::size_t total() const { return all_.size() + opening_; }
  void enqueue(Request& request);
  void leave_queue(Request& request);
  void leave_mail(Request& request);
  Request* next_request(unsigned near_worker, TimePoint now);
  void grant(Request& request, Server* server, int from_worker);
  void tell(Request& request, int from_worker);
  void deliver_mail(unsigned worker);
  void serve_queue(Later& later, int from_worker);
  void fail_all(const Error& error);
  [[nodiscard]] TimePoint oldest_arrival() const;
  [[nodiscard]] unsigned waiting_since(TimePoint moment, unsigned at_most) const;
  void open_more(Later& later, TimePoint now);
  [[nodiscard]] bool wants_more(TimePoint now) const;
  [[nodiscard]] std::size_t most() const;
  [[nodiscard]] Budget* take_bounds(TimePoint since);
  void give_back_bounds();
  void stand_in_line(Budget* refused);
  void keep_place();
  void start_login();
  void finish_login(Result<LoggedIn> outcome);
  void add_server(LoggedIn in, TimePoint now, Later& later);
  void remove_server(Server* server, Later& later, CloseReason why, TimePoint now);
  void park(Server* server, unsigned worker);
  [[nodiscard]] bool should_yield(const Server& server, TimePoint now) const;
  // Why an idle server must be closed; none: it may stay.
  [[nodiscard]] std::optional<CloseReason> must_close(const Server& server, TimePoint now) const;
  [[nodiscard]] std::optional<CloseReason> is_idle_too_long(const Server& server, TimePoint now) const;
  void carry_out(Later& later);

  PoolHost& host_;
  const std::shared_ptr<Backend> backend_;
  const std::string user_;
  const std::string name_;
  const std::vector<std::shared_ptr<Budget>> bounds_;   // every server and login counts in each

  std::atomic<unsigned> pinned_{0}, soft_pins_{0};

  mutable std::mutex mutex_;
  PoolSettings settings_;
  LoginCheck check_;
  Credentials credentials_;   // of user_; the newest known
  std::vector<PerWorker> per_worker_;
  std::unordered_map<std::uint64_t, std::unique_ptr<Server>> all_;
  unsigned idle_ = 0;
  unsigned waiting_ = 0;
  unsigned first_waiting_ = 0;      // of them, those that come first
  unsigned opening_ = 0;
  unsigned next_worker_ = 0;
  std::uint64_t generation_ = 1;
  bool paused_ = false;
  bool retired_ = false;
  Budget* in_line_at_ = nullptr;    // the bound that refused, and since when our oldest client waits
  TimePoint in_line_since_{};
  TimePoint retry_at_{};
  std::optional<Error> last_failure_;
  std::shared_ptr<const Welcome> welcome_;
};

}  // namespace weir::pool
