// Pool: the bounded server connections of one (backend, user), shared by all workers, and the queue for them.
//
// Thread-safe: one mutex, held for a few dozen instructions. A server is on one worker's loop at a time; a worker without an idle one
// takes another worker's. The queue is first come, first served over all workers; within `kSlack` a worker's own client goes first, because
// crossing threads costs more than the wait it would save.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

#include "base/deadline.hpp"
#include "base/result.hpp"
#include "net/loop.hpp"
#include "pool/backend.hpp"
#include "pool/connector.hpp"
#include "pool/server.hpp"

namespace weir::pool {

// Identity of a pool: which backend, as which login.
struct PoolKey {
  const Backend* backend = nullptr;
  Credentials credentials;
  friend bool operator==(const PoolKey&, const PoolKey&) = default;
};

struct PoolSettings {
  unsigned size = 20;
  unsigned min = 0;
  Duration connect_timeout = std::chrono::seconds(15);
  Duration idle_timeout = std::chrono::minutes(10);   // zero: never
  Duration lifetime = std::chrono::hours(1);          // zero: for ever
};

// One client's wish for a server. Lives in the session; loop thread only, except the fields the pool's lock guards while queued.
struct Request {
  net::Waiter* waiter = nullptr;     // told when `server` or `error` is set
  unsigned worker = 0;
  std::uint64_t client = 0;
  const void* settings = nullptr;    // an idle server with these settings is preferred

  // outcome
  Server* server = nullptr;
  std::optional<Error> error;
  TimePoint since{};

 private:
  friend class Pool;
  enum class State : std::uint8_t { idle, queued, delivered, in_mail };
  State state = State::idle;
  Request* prev = nullptr;
  Request* next = nullptr;
};

struct PoolCounts {
  unsigned active = 0, idle = 0, opening = 0, waiting = 0;
  Duration max_wait{};
};

struct ServerInfo {
  std::uint64_t id = 0;
  int backend_pid = 0;
  bool active = false;
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
  // A connection of `budget` was given up for pools that starve. Called without any lock.
  virtual void serve_starving(const Budget& budget, const Pool* except) = 0;
  // Somebody starves under `budget`: close an idle server of another pool that shares it. True: one was closed. Called without any lock.
  virtual bool relieve(const Budget& budget, const Pool* except) = 0;
};

class Pool : public std::enable_shared_from_this<Pool> {
 public:
  static constexpr Duration kSlack = std::chrono::milliseconds(1);

  Pool(PoolHost& host, std::shared_ptr<Backend> backend, Credentials credentials, PoolSettings settings,
       LoginCheck check);
  ~Pool();   // closes what is idle; nobody may hold a server or wait

  // --- sessions, on their worker's thread ---

  // A server at once, attached to the caller's loop; or nullptr: queued, and the waiter is told later. Then ask taken().
  [[nodiscard]] Server* acquire(Request& request, TimePoint now);
  // After a notification: the server (attached to the caller's loop), or nullptr: still waiting, or request.error is set.
  [[nodiscard]] Server* taken(Request& request);
  // Is it still in the queue? If not, and nothing was taken(), request.error tells why (or a server is on its way).
  [[nodiscard]] bool is_queued(const Request& request) const;
  // Gives up: off the queue, or back with what was granted meanwhile.
  void cancel(Request& request);
  // Back with a server whose last ReadyForQuery said 'I' and on which nothing is outstanding. Its idle state must be clean.
  void release(Server* server, TimePoint now);
  // Closes it instead (broken, or not clean).
  void discard(Server* server);

  // --- any thread ---
  void set_paused(bool paused);
  [[nodiscard]] bool paused() const;
  // Servers that exist now are closed when idle (RECONNECT, map change); new ones are opened.
  void renew();
  // No new logins; idle servers are closed, active ones when they come back.
  void retire();
  void set_settings(const PoolSettings& settings);
  void set_check(LoginCheck check);
  // Closes idle and expired servers, keeps `min`, retries logins that failed. A few times a second.
  void tick(TimePoint now);
  // Closes one idle server; false: there is none.
  bool close_one_idle();
  // An event on an idle server of `worker` (EOF, or bytes nobody asked for): it is closed. On that worker's thread.
  void idle_event(unsigned worker, std::uint64_t server_id);

  [[nodiscard]] PoolCounts counts(TimePoint now) const;
  [[nodiscard]] std::vector<ServerInfo> servers() const;
  // "pool app/s0 primary 10.0.0.1:5432 user bob: 20 of 20 in use, 31 waiting": and why nothing comes.
  [[nodiscard]] Error timeout_error(Duration waited) const;
  [[nodiscard]] Backend& backend() const { return *backend_; }
  [[nodiscard]] const std::shared_ptr<Backend>& shared_backend() const { return backend_; }
  [[nodiscard]] const Credentials& credentials() const { return credentials_; }
  [[nodiscard]] const std::string& name() const { return name_; }
  [[nodiscard]] bool retired() const;
  // What a login told (ParameterStatus, search_path), from the newest one; none before the first.
  struct Welcome {
    std::vector<std::pair<std::string, std::string>> parameters;
    std::string search_path;
  };
  [[nodiscard]] std::shared_ptr<const Welcome> welcome() const;


 private:
  struct PerWorker {
    std::vector<Server*> idle;        // most recently used last
    Request* queue_head = nullptr;    // oldest first
    Request* queue_tail = nullptr;
    Request* mail = nullptr;          // granted by another thread, not yet told
    bool mail_posted = false;
  };
  // Work to do after the lock is given back.
  struct Later {
    std::vector<std::unique_ptr<Server>> closing;
    unsigned logins = 0;
    bool relieve = false;
    bool yielded = false;
  };

  Server* find_idle(unsigned worker, const void* settings);
  Server* steal_idle(unsigned worker);
  Server* ready_for(Server* server, Request& request);
  [[nodiscard]] std::size_t total() const { return all_.size() + opening_; }
  void enqueue(Request& request);
  void unlink(Request& request);
  Request* next_request(unsigned near_worker);
  void grant(Request& request, Server* server, int from_worker);
  void tell(Request& request, int from_worker);
  void deliver_mail(unsigned worker);
  void serve_queue(Later& later, int from_worker);
  void fail_all(const Error& error);
  void open_more(Later& later, TimePoint now);
  void start_login();
  void finish_login(Result<LoggedIn> outcome);
  void add_server(LoggedIn in, TimePoint now, Later& later);
  void remove_server(Server* server, Later& later);
  void park(Server* server, unsigned worker);
  void stop_starving();
  [[nodiscard]] bool should_yield(TimePoint now) const;
  [[nodiscard]] bool must_close(const Server& server, TimePoint now) const;
  void carry_out(Later& later);

  PoolHost& host_;
  const std::shared_ptr<Backend> backend_;
  const Credentials credentials_;
  const std::string name_;

  mutable std::mutex mutex_;
  PoolSettings settings_;
  LoginCheck check_;
  std::vector<PerWorker> per_worker_;
  std::unordered_map<std::uint64_t, std::unique_ptr<Server>> all_;
  unsigned idle_ = 0;
  unsigned waiting_ = 0;
  unsigned opening_ = 0;
  unsigned next_worker_ = 0;
  std::uint64_t generation_ = 1;
  bool paused_ = false;
  bool retired_ = false;
  bool starving_ = false;
  TimePoint retry_at_{};
  std::optional<Error> last_failure_;
  std::shared_ptr<const Welcome> welcome_;
};

}  // namespace weir::pool
