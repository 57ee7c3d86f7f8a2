// Prepared statements of one session, and the process-wide names they have on servers.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "base/bytes.hpp"
#include "base/error.hpp"
#include "base/strings.hpp"
#include "proxy/settings_state.hpp"
#include "router/router.hpp"

namespace weir::proxy {

struct Filled;
using FilledRef = std::shared_ptr<const Filled>;

// A text that a client prepared, by Parse or by PREPARE, with its parameter types, and the plan made for it. Immutable once shared,
// but for the plan, which is renewed when the router's generation changes (one session, one thread).
struct PreparedStatement {
  std::uint64_t id = 0;                 // names it on servers: server_statement_name(id); equal text and types share it
  std::string sql;
  std::vector<std::uint32_t> types;
  std::string type_names;               // of PREPARE a (int, text), until a server has told their OIDs
  std::vector<router::Literal> literals;
  router::PlanRef plan;
  router::PlanRef observed;             // where it would go; null: nothing is observed
  std::uint64_t generation = 0;         // of the router when it was planned
  SettingsRef planned_for;              // the session settings it was planned under
  std::uint64_t planned_hints = 0;      // and the version of its RouteSettings; 0: it had none
  bool by_protocol = false;             // of a Parse: keys can be filled in
  FilledRef filled;                     // `sql` and `types` have parameters for keys; null: they are the client's own
};
using PreparedRef = std::shared_ptr<PreparedStatement>;

// A text with its types in one database, for one user: the same object for every session while anybody holds it.
struct InternedStatement {
  std::uint64_t id = 0;
  std::string key;                      // scope, types and text
  std::size_t text_at = 0;              // where the text begins in it
  std::vector<std::uint32_t> types;
  // A server has accepted it: a later Parse of it need not wait for one (a table dropped since is an error at Bind).
  std::atomic<bool> accepted{false};
  // What servers are told.
  [[nodiscard]] std::string_view sql() const { return std::string_view(key).substr(text_at); }
  // What it counts on a server, and in the process.
  [[nodiscard]] std::size_t bytes() const { return key.size() - text_at; }
};
using InternedRef = std::shared_ptr<InternedStatement>;

// What all statements of the process may take, in bytes of text.
inline constexpr std::size_t kMaxInternedBytes = std::size_t{512} << 20;
// What one client may keep prepared, in bytes of text, a statement counting at least kStatementOverhead.
inline constexpr std::size_t kMaxClientPreparedBytes = std::size_t{64} << 20;
inline constexpr std::size_t kStatementOverhead = 512;

// `scope` is what else the meaning depends on (database, user, search_path). Null: kMaxInternedBytes are in use. Thread-safe.
[[nodiscard]] InternedRef intern_statement(std::string_view scope, std::string_view sql, const std::vector<std::uint32_t>& types);
// Bytes in use, for tests and the console.
[[nodiscard]] std::size_t interned_bytes();
[[nodiscard]] std::string server_statement_name(std::uint64_t id);
// Does the name look like one that server_statement_name() makes?
[[nodiscard]] bool is_server_statement_name(std::string_view name);

// Calls f(code, value) for each field of an ErrorResponse.
template <class F>
void for_each_error_field(ByteView body, F&& f) {
  std::string_view rest(reinterpret_cast<const char*>(body.data()), body.size());
  while (!rest.empty() && rest[0] != '\0') {
    const char code = rest[0];
    const std::size_t end = rest.find('\0', 1);
    if (end == std::string_view::npos) return;
    f(code, rest.substr(1, end - 1));
    rest.remove_prefix(end + 1);
  }
}

// Is the ErrorResponse "cached plan must not change result type"? (By its routine: messages are translated.)
[[nodiscard]] bool is_stale_plan(ByteView error);
// PREPARE and DEALLOCATE are the proxy's own doing: at most a Parse goes to a server for them.
[[nodiscard]] bool runs_in_proxy(const router::Plan& plan);
// What a client is told when intern_statement() has no room.
[[nodiscard]] Error too_many_texts();

// Named statements of a session. Entries made in a batch that fails are undone in the order they were parsed.
class StatementNames {
 public:
  struct Entry {
    PreparedRef statement;
    InternedRef interned;   // keeps the id alive; null: a statement the proxy runs itself, or one whose types are not known yet
  };
  [[nodiscard]] const Entry* find(std::string_view name) const {
    const auto it = names_.find(name);
    return it == names_.end() ? nullptr : &it->second;
  }
  void add(std::string_view name, Entry entry);
  void remove(std::string_view name);
  void clear() {
    names_.clear();
    bytes_ = 0;
  }
  [[nodiscard]] std::size_t size() const { return names_.size(); }
  // Of texts and names, each statement at least kStatementOverhead.
  [[nodiscard]] std::size_t bytes() const { return bytes_; }
  // The client's name for the statement that servers know by `id`; empty: none of its names.
  [[nodiscard]] std::string_view name_of(std::uint64_t id) const;

 private:
  static std::size_t cost(std::string_view name, const Entry& entry) {
    return kStatementOverhead + name.size() + (entry.statement ? entry.statement->sql.size() : 0);
  }
  std::unordered_map<std::string, Entry, StringHash, std::equal_to<>> names_;
  std::size_t bytes_ = 0;
};

// A text that names prepared statements, which have other names on servers (session_prepared.cpp).
struct PreparedText {
  struct Use {
    router::PreparedUse::Kind kind = router::PreparedUse::Kind::execute;
    std::uint32_t statement = 0;    // which of several in the text
    std::string name;               // the client's
    PreparedRef prepared;
    InternedRef interned;
  };
  // Where the text that is sent differs: positions in errors are counted in characters.
  struct Edit {
    std::size_t at = 0, size = 0;   // in the text that is sent
    std::ptrdiff_t shift = 0;       // from there on, a position in the client's text is that much greater
  };
  std::string sql;                  // Query: what is sent
  std::vector<Use> uses;
  std::vector<Edit> edits;
  std::unique_ptr<StatementNames> before_deallocate_all;
};

// A text that the proxy has put keys into (session_fill.cpp).
struct Filled {
  std::vector<PreparedText::Edit> edits;
  // Of a Parse, and of what is bound to it.
  std::string sql, client_sql;                       // as servers are told, and as the client sent it
  std::vector<std::uint32_t> types, client_types;
  std::uint16_t parameters = 0;                      // the client's own; behind them
  std::uint16_t ids = 0;                             // are as many of the proxy's
};

}  // namespace weir::proxy
