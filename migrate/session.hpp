// Session: a libpqxx connection of weirctl's to one backend.
#pragma once

#include <memory>
#include <optional>
#include <pqxx/connection>
#include <pqxx/errorhandler>
#include <pqxx/transaction_base>
#include <stdexcept>
#include <string>
#include <vector>

#include "config/settings.hpp"
#include "schema/identity.hpp"

namespace weir::migrate {

// A command cannot go on. The message says what and what to do next; weirctl prints it and exits with `status`.
class Failure : public std::runtime_error {
 public:
  explicit Failure(const std::string& message, int status = 1) : std::runtime_error(message), status_(status) {}
  [[nodiscard]] int status() const noexcept { return status_; }

 private:
  int status_;
};

// Exit statuses of weirctl beside 0 and 1.
inline constexpr int kBusy = 75;  // EX_TEMPFAIL: another instance is at it; try later

// Logs in as database.maintenance says, with gssencmode=disable and application_name=weirctl. Notices are dropped.
// Throws Failure naming the shard. Never reconnects.
class Session {
 public:
  Session(const config::Database& database, const std::string& shard, const std::string& conninfo);
  [[nodiscard]] pqxx::connection& operator*() { return *connection_; }
  [[nodiscard]] pqxx::connection* operator->() { return connection_.get(); }
  [[nodiscard]] const std::string& shard() const { return shard_; }
  [[nodiscard]] const std::string& label() const { return label_; }  // "10.0.0.1:5432/app"

 private:
  std::string shard_;
  std::string label_;
  std::unique_ptr<pqxx::connection> connection_;
  std::unique_ptr<pqxx::quiet_errorhandler> quiet_;  // goes before the connection
};

// To every shard's primary, in the order of the shards. Throws Failure if one is away or is no primary.
[[nodiscard]] std::vector<Session> connect_primaries(const config::Database& database);

// The connection string Session uses.
[[nodiscard]] std::string maintenance_conninfo(const config::Database& database, const std::string& conninfo);

// The identity row; nullopt: `weirctl init` never ran there.
[[nodiscard]] std::optional<schema::Identity> read_identity(pqxx::transaction_base& tx);

// The settings of `file`, or Failure with every mistake in it.
[[nodiscard]] config::Settings load_settings(const std::string& file);
// Those databases of `settings` that `name` means: all for "". Throws Failure for an unknown name.
[[nodiscard]] std::vector<const config::Database*> databases_of(const config::Settings& settings,
                                                                const std::string& name);
// The one database `name` means; "" where there is only one.
[[nodiscard]] const config::Database& one_database(const config::Settings& settings, const std::string& name);

}  // namespace weir::migrate
