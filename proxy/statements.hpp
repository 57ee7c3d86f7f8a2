// Prepared statements of one session, and the process-wide names they have on servers.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "base/strings.hpp"
#include "proxy/settings_state.hpp"
#include "router/router.hpp"

namespace weir::proxy {

// A Parse: its text, parameter types, and the plan made for it. Immutable once shared, but for the plan, which is
// renewed when the router's generation changes (one session, one thread).
struct PreparedStatement {
  std::uint64_t id = 0;                 // names it on servers: server_statement_name(id); equal text and types share it
  std::string sql;
  std::vector<std::uint32_t> types;
  std::vector<router::Literal> literals;
  router::PlanRef plan;
  std::uint64_t generation = 0;         // of the router when it was planned
  SettingsRef planned_for;              // the session settings it was planned under
};
using PreparedRef = std::shared_ptr<PreparedStatement>;

// A text with its types in one database, for one user: the same object for every session while anybody holds it.
struct InternedStatement {
  std::uint64_t id = 0;
  // A server has accepted it: a later Parse of it need not wait for one (a table dropped since is an error at Bind).
  std::atomic<bool> accepted{false};
};
using InternedRef = std::shared_ptr<InternedStatement>;

// `scope` is what else the meaning depends on (database, user, search_path). Thread-safe.
[[nodiscard]] InternedRef intern_statement(std::string_view scope, std::string_view sql, const std::vector<std::uint32_t>& types);
[[nodiscard]] std::string server_statement_name(std::uint64_t id);

// Named statements of a session. Entries made in a batch that fails are undone in the order they were parsed.
class StatementNames {
 public:
  struct Entry {
    PreparedRef statement;
    InternedRef interned;   // keeps the id alive
  };
  [[nodiscard]] const Entry* find(std::string_view name) const {
    const auto it = names_.find(name);
    return it == names_.end() ? nullptr : &it->second;
  }
  void add(std::string_view name, Entry entry) { names_.insert_or_assign(std::string(name), std::move(entry)); }
  void remove(std::string_view name) {
    if (const auto it = names_.find(name); it != names_.end()) names_.erase(it);
  }
  void clear() { names_.clear(); }
  [[nodiscard]] std::size_t size() const { return names_.size(); }

 private:
  std::unordered_map<std::string, Entry, StringHash, std::equal_to<>> names_;
};

}  // namespace weir::proxy
