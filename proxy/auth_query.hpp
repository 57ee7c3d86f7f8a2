// AuthQuery: looks users up in PostgreSQL who are not in the users file (auth.query). On connections of its own, by libpq, with parameters of
// the configuration alone: nothing a client sent reaches them but the name, as a parameter of the query.
// https://www.pgbouncer.org/config.html#auth_query
#pragma once

#include <deque>
#include <functional>
#include <map>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "base/deadline.hpp"
#include "pool/connector.hpp"
#include "proxy/authenticator.hpp"

namespace weir::proxy {

// What a look-up found.
struct LookUp {
  // unknown: there is no such user, or one who may not log in (no password, or one that has expired): `reason` says which, for the log.
  // failed: nobody could be asked.
  enum class Kind { found, unknown, failed };
  Kind kind = Kind::failed;
  UserSecretRef secret;
  std::string reason;
};

// Where and as whom to ask.
struct LookUpTarget {
  pool::ConnParams params;   // of the backend, its user and password those of auth.query_user, dbname set
  std::string query;         // empty: the built-in one
  friend bool operator==(const LookUpTarget&, const LookUpTarget&) = default;
};

class AuthQuery {
 public:
  static constexpr unsigned kConnections = 4;        // at once, over all databases
  static constexpr std::size_t kMaxWaiting = 10'000;
  static constexpr Duration kTime = std::chrono::seconds(5);    // for one look-up, the wait for its turn included
  static constexpr Duration kKept = std::chrono::seconds(5);    // an answer is used for so long, a failure for a fifth of it
  static constexpr std::size_t kMaxKept = 50'000;

  explicit AuthQuery(Authenticator& authenticator);
  ~AuthQuery();   // runs what is running to its end; the rest is never answered
  AuthQuery(const AuthQuery&) = delete;
  AuthQuery& operator=(const AuthQuery&) = delete;

  // `done` is called once: at once, from here, where the answer is known, else on a thread of this. Any thread.
  using Done = std::function<void(const LookUp&)>;
  void look_up(const std::string& user, const std::string& database, LookUpTarget target, Done done);
  // The secret found for the user did not fit: it may have been changed since. Asked again, unless that was just done.
  void doubt(const std::string& user, const std::string& database);
  // A reload.
  void forget_all();

 private:
  using Key = std::pair<std::string, std::string>;   // database and user
  struct Kept {
    LookUp answer;
    TimePoint since, until;
  };
  struct Task {
    Key key;
    LookUpTarget target;
    Deadline deadline;
    std::uint64_t epoch = 0;
  };
  void work();
  bool next(Task& task, const LookUpTarget* connected);
  void finish(const Task& task, LookUp answer);
  [[nodiscard]] LookUp ask(pool::PgConn& conn, const Task& task) const;
  [[nodiscard]] LookUp judge(pool::PgConn& conn, const Task& task, const std::vector<pool::QueryRow>& rows) const;

  Authenticator& authenticator_;
  std::mutex mutex_;
  std::map<Key, Kept> kept_;
  std::map<Key, std::vector<Done>> waiting_;   // asked for and not yet answered
  std::deque<Task> tasks_;
  unsigned working_ = 0;
  std::uint64_t epoch_ = 0;                    // raised by forget_all(): older answers are not kept
  pool::Connector threads_;                    // last: its threads use the rest
};

}  // namespace weir::proxy
