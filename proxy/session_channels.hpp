// SessionChannels: which channels a client listens to, through transactions and savepoints, as PostgreSQL would keep them: LISTEN and
// UNLISTEN take effect at COMMIT, and what is rolled back never was. Pure; one session, one thread.
// https://www.postgresql.org/docs/15/sql-listen.html
#pragma once

#include <set>
#include <string>
#include <string_view>
#include <vector>

namespace weir::proxy {

class SessionChannels {
 public:
  void listen(std::string channel) { pending_.push_back({true, std::move(channel)}); }
  // Empty: all.
  void unlisten(std::string channel);

  void savepoint(std::string name) { savepoints_.push_back({std::move(name), pending_.size()}); }
  void release(std::string_view name);
  void rollback_to(std::string_view name);
  void commit();
  void rollback();

  [[nodiscard]] const std::set<std::string>& committed() const { return committed_; }
  // LISTENs of the open transaction, whatever becomes of them.
  [[nodiscard]] std::set<std::string> pending() const;
  [[nodiscard]] bool has_pending() const { return !pending_.empty(); }

 private:
  struct Action {
    bool listens = true;
    std::string channel;
  };
  struct Savepoint {
    std::string name;
    std::size_t actions = 0;   // that came before it
  };
  std::vector<Savepoint>::iterator find_savepoint(std::string_view name);

  std::set<std::string> committed_;
  std::vector<Action> pending_;
  std::vector<Savepoint> savepoints_;
};

}  // namespace weir::proxy
