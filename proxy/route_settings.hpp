// RouteSettings: weir.shard, weir.key and weir.role of a session, through transactions and savepoints as PostgreSQL keeps any setting.
// No server hears of them. Pure; one session, one thread. https://www.postgresql.org/docs/15/sql-set.html
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "router/plan.hpp"

namespace weir::proxy {

class RouteSettings {
 public:
  static constexpr std::array<std::string_view, 3> kNames{"weir.shard", "weir.key", "weir.role"};

  // A start-up parameter: RESET goes back to it. False: there is no such setting.
  [[nodiscard]] bool start(std::string_view name, std::string value);
  // SET, SET LOCAL, RESET; of one of kNames.
  void apply(std::string_view name, const router::OwnSetting& setting);
  void reset_all();

  void savepoint(std::string name);
  void release(std::string_view name);
  void rollback_to(std::string_view name);
  void commit();
  void rollback();

  [[nodiscard]] const std::string& value(std::string_view name) const;
  // All of them, as router::SessionContext wants them; empty: nothing is set.
  [[nodiscard]] const std::string& hints() const { return hints_; }
  // What RESET ALL makes of them.
  [[nodiscard]] std::string startup_hints() const { return words_of(startup_); }
  // Another one whenever hints() may have changed; never 0.
  [[nodiscard]] std::uint64_t version() const { return version_; }

 private:
  struct Value {
    std::string session;
    std::optional<std::string> local;   // SET LOCAL
    [[nodiscard]] const std::string& now() const { return local ? *local : session; }
  };
  using State = std::array<Value, kNames.size()>;
  struct Savepoint {
    std::string name;
    State state;
  };

  [[nodiscard]] static std::string words_of(const State& state);
  void changed();
  std::vector<Savepoint>::iterator find_savepoint(std::string_view name);

  State startup_, committed_, current_;
  std::vector<Savepoint> savepoints_;
  std::string hints_;
  std::uint64_t version_ = 1;
};

}  // namespace weir::proxy
