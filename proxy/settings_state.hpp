// What a client has SET, kept by the proxy so that any server can be given it (design: no leaks between clients).
// Pure but for the interner's lock.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "base/error.hpp"
#include "base/strings.hpp"
#include "proxy/route_settings.hpp"

namespace weir::proxy {

struct Setting {
  std::string name;   // lower case
  std::string sql;    // the statement that makes it so: SET name = value
  friend bool operator==(const Setting&, const Setting&) = default;
};

// An immutable, interned set of settings: equal sets are the same object, so comparing is comparing pointers.
struct SettingsState {
  std::vector<Setting> settings;   // in the order they were set
  std::string replay;              // all of them as one simple Query string
  bool needs_discard = false;      // RESET ALL does not undo it (role, session authorization)
  std::string search_path;         // as the router reads it; empty: not set
  bool plain = true;               // `replay` reads the same in every client_encoding and by all rules for strings
  bool changes_reading = false;    // it sets one of these
  std::string meaning;             // `replay` without what never changes what a statement's text means
};
using SettingsRef = std::shared_ptr<const SettingsState>;   // null: nothing is set

// Of the settings by which a server reads the text of a Query, the whole of it before any of it runs?
[[nodiscard]] bool changes_reading(std::string_view name);

// Makes equal sets one object. Thread-safe; forgets sets nobody holds.
[[nodiscard]] SettingsRef intern_settings(std::vector<Setting> settings);

// Every encoding has the same characters below 128.
[[nodiscard]] bool is_ascii(std::string_view text);

// What no session asks for: a server marked with it is cleaned before anybody uses it.
[[nodiscard]] SettingsRef unknown_settings();

// One Query, in its parts, that gives a server that `has` these settings (null: none) the `wanted` ones. It is one transaction: if any part
// fails, the server refuses what stands behind it.
[[nodiscard]] std::array<std::string_view, 6> settings_query(const SettingsState* has, const SettingsState* wanted, bool sequences);
// A server reads a Query's text before it runs any of it. Text that is not plain must not be read by another client's encoding or rules for
// strings, nor before those of its own client are set.
[[nodiscard]] bool fit_one_query(const SettingsState* has, const SettingsState* wanted);
// What the client is told when a server has refused them.
[[nodiscard]] Error settings_refused(Error error);

// A setting as a statement that reads its value as the start-up packet does: SELECT set_config(...).
[[nodiscard]] std::string set_config_statement(std::string_view name, std::string_view value, bool local);
// A start-up parameter as a statement: SELECT set_config(...), which reads lists as the start-up packet does.
[[nodiscard]] Setting startup_setting(std::string_view name, std::string_view value);

// The value of a SET of one word: lower case, without its quotes.
[[nodiscard]] std::string value_of(std::string_view set_statement);
// Is a SET written so that search_path_of() and value_of() read it as the server does? (No E'', U&'', $$ $$, no comments.)
[[nodiscard]] bool is_plainly_written(std::string_view set_statement);

// The value of SET search_path ... in the list syntax of the search_path parameter itself ('a b' becomes "a b").
[[nodiscard]] std::string search_path_of(std::string_view set_statement);

// A client's settings through transactions and savepoints, as PostgreSQL would keep them. One session, one thread.
// https://www.postgresql.org/docs/15/sql-set.html
class SessionSettings {
 public:
  // Start-up parameters: RESET goes back to these.
  void start(std::vector<Setting> startup);
  // weir.shard, weir.key, weir.role: they go through transactions with the others, but no server is told. Null: never set.
  [[nodiscard]] const RouteSettings* route() const { return route_.get(); }
  [[nodiscard]] RouteSettings& make_route();
  // DISCARD ALL.
  void discard_all();

  void set(std::string name, std::string sql);
  // SET LOCAL, until the transaction ends (outside of a block, at the Sync): kept of those settings only that decide how statements are read.
  void set_local(std::string_view name, std::string sql);
  // What RESET search_path goes back to; empty: the login's own.
  [[nodiscard]] std::string_view startup_path() const;
  // By what the statements behind something are read: by search_path and hints their names; by client_encoding and the rules for strings the text
  // itself, which a server has read of the whole Query before any of it runs.
  enum class Reads : std::uint8_t { names, text };
  // May it be another behind RESET ALL; the transaction's end; ROLLBACK TO? Reads::text asks for both.
  [[nodiscard]] bool reset_changes(Reads what) const;
  [[nodiscard]] bool end_changes(Reads what) const;
  [[nodiscard]] bool savepoints_change(Reads what) const;
  // What a server says is set, outside of a transaction.
  void learn(std::vector<Setting> settings);
  // What RESET did on the server is not all: it knows nothing of the start-up parameters. Returned are the statements that
  // give it those it just lost; empty: none.
  [[nodiscard]] std::string reset(std::string_view name);
  [[nodiscard]] std::string reset_all();

  void savepoint(std::string name);
  void release(std::string_view name);
  void rollback_to(std::string_view name);
  [[nodiscard]] bool has_savepoint(std::string_view name) const;
  void commit();
  void rollback();

  [[nodiscard]] const SettingsRef& current() const { return current_; }
  // By which statements are read: with those that hold in this transaction only.
  [[nodiscard]] const SettingsRef& reading() const { return locals_.empty() ? current_ : reading_; }
  // Those of before the transaction.
  [[nodiscard]] const SettingsRef& committed() const { return committed_; }
  // Nothing is set but the start-up parameters.
  [[nodiscard]] bool at_start() const { return current_ == startup_; }

 private:
  struct Savepoint {
    std::string name;
    SettingsRef state;
    std::vector<Setting> locals;
    SettingsRef reading;
  };
  void forget_local(std::string_view name);
  void merge_locals();
  std::vector<Savepoint>::iterator find_savepoint(std::string_view name);

  SettingsRef startup_, committed_, current_;
  std::vector<Setting> locals_;
  SettingsRef reading_;                 // current_ and locals_, where there are any
  std::unique_ptr<RouteSettings> route_;
  std::vector<Savepoint> savepoints_;
};

}  // namespace weir::proxy
