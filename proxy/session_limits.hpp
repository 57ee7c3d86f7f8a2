// What one client is bounded by, as its user, its database and [pool] say; and how many clients a database and a user have.
#pragma once

#include <algorithm>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <utility>

#include "base/deadline.hpp"
#include "base/result.hpp"
#include "config/settings.hpp"

namespace weir::proxy {

// Limits in time; zero: none.
struct SessionLimits {
  Duration query{}, transaction{}, idle_transaction{}, client_idle{};
  // When what runs since `sent` in a transaction that runs since `began` must have ended.
  [[nodiscard]] Deadline running(TimePoint sent, TimePoint began) const {
    return std::min(Deadline::after(sent, query), Deadline::after(began, transaction));
  }
  [[nodiscard]] bool bounds_running() const { return query > Duration::zero() || transaction > Duration::zero(); }
};
// `user`: the client's; nullptr if the users file does not have it.
[[nodiscard]] SessionLimits limits_of(const config::Settings& settings, const config::Database& database, const config::User* user);

// Clients that are logged in, of each database and of each user. Any thread.
class ClientPlaces {
 public:
  // One client's place; given up when it goes.
  class Place {
   public:
    Place() = default;
    Place(Place&& other) noexcept { std::swap(counts_, other.counts_), std::swap(database_, other.database_), std::swap(user_, other.user_); }
    Place& operator=(Place&& other) noexcept {
      std::swap(counts_, other.counts_), std::swap(database_, other.database_), std::swap(user_, other.user_);
      return *this;
    }
    ~Place();

   private:
    friend class ClientPlaces;
    ClientPlaces* counts_ = nullptr;
    std::string database_, user_;
  };

  // 53300 if the database or the user has as many as database.max_clients, user.max_clients say.
  [[nodiscard]] Result<Place> enter(const config::Database& database, const std::string& name, const config::User* user);
  // For SHOW LIMITS.
  [[nodiscard]] unsigned of_database(const std::string& name) const;
  [[nodiscard]] unsigned of_user(const std::string& name) const;

 private:
  void leave(const Place& place);

  mutable std::mutex mutex_;
  std::map<std::string, unsigned> databases_, users_;
};

}  // namespace weir::proxy
