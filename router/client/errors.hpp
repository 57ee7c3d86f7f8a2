// What weir::client throws beside libpqxx's own exceptions. Each is also one of libpqxx's, so that code written for
// libpqxx handles it as it is: a PoolTimeout is an insufficient_resources, a BackendUnavailable a broken_connection.
#pragma once

#include <pqxx/except>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.hpp"
#include "config/load.hpp"

namespace weir::client {

// Waited for a connection until the deadline. SQLSTATE 53300. Nothing was sent; calling again later is safe.
class PoolTimeout : public pqxx::insufficient_resources {
 public:
  PoolTimeout(const std::string& message, std::string pool, unsigned in_use, unsigned waiting)
      : pqxx::insufficient_resources(message, "", "53300"),
        pool_(std::move(pool)),
        in_use_(in_use),
        waiting_(waiting) {}

  [[nodiscard]] const std::string& pool() const noexcept { return pool_; }  // "app/s0/primary"
  [[nodiscard]] unsigned in_use() const noexcept { return in_use_; }
  [[nodiscard]] unsigned waiting() const noexcept { return waiting_; }  // the others that still wait

 private:
  std::string pool_;
  unsigned in_use_;
  unsigned waiting_;
};

// No backend can serve the role: it cannot be reached, its circuit is open, it has another role or another identity.
// SQLSTATE 57P03. Nothing was sent.
class BackendUnavailable : public pqxx::broken_connection {
 public:
  explicit BackendUnavailable(const std::string& message, SqlState code = sqlstate::kCannotConnectNow)
      : pqxx::broken_connection(message), code_(code) {}
  [[nodiscard]] std::string_view sqlstate() const noexcept { return code_.view(); }

 private:
  SqlState code_;
};

// weir.toml has mistakes (all of them are in problems()), or does not hold the database asked for.
class ConfigurationError : public pqxx::failure {
 public:
  explicit ConfigurationError(const std::string& message, std::vector<config::Problem> problems = {})
      : pqxx::failure(message), problems_(std::move(problems)) {}
  [[nodiscard]] const std::vector<config::Problem>& problems() const noexcept { return problems_; }

 private:
  std::vector<config::Problem> problems_;
};

// "message (hint)" of an Error, for what().
[[nodiscard]] inline std::string text_of(const Error& error) {
  return error.hint.empty() ? error.message : error.message + " (" + error.hint + ")";
}

}  // namespace weir::client
