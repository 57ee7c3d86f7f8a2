#include "proxy/session_limits.hpp"

#include "base/strings.hpp"

namespace weir::proxy {

namespace {

using Key = std::optional<config::Millis> config::PoolOverrides::*;

Duration choose(Key key, const config::User* user, const config::Database& database, config::Millis otherwise) {
  if (user && user->*key) return *(user->*key);
  return (database.*key).value_or(otherwise);
}

bool is_full(unsigned count, const std::optional<unsigned>& most) { return most && *most > 0 && count >= *most; }

Error too_many(std::string whose, unsigned most, std::string_view key) {
  return {sqlstate::kTooManyConnections, concat("too many clients of ", whose, ": there are ", std::to_string(most)),
          concat("See ", key, ".max_clients.")};
}

unsigned count_of(const std::map<std::string, unsigned>& counts, const std::string& name) {
  const auto found = counts.find(name);
  return found == counts.end() ? 0 : found->second;
}

void take_one(std::map<std::string, unsigned>& counts, const std::string& name) {
  const auto found = counts.find(name);
  if (found != counts.end() && --found->second == 0) counts.erase(found);
}

}  // namespace

SessionLimits limits_of(const config::Settings& settings, const config::Database& database, const config::User* user) {
  using Overrides = config::PoolOverrides;
  const config::Pool& pool = settings.pool;
  return {choose(&Overrides::query_timeout, user, database, pool.query_timeout),
          choose(&Overrides::transaction_timeout, user, database, pool.transaction_timeout),
          choose(&Overrides::idle_transaction_timeout, user, database, pool.idle_transaction_timeout),
          choose(&Overrides::client_idle_timeout, user, database, pool.client_idle_timeout)};
}

Result<ClientPlaces::Place> ClientPlaces::enter(const config::Database& database, const std::string& name, const config::User* user) {
  const std::lock_guard lock(mutex_);
  if (is_full(count_of(databases_, database.name), database.max_clients))
    return too_many(concat("database \"", database.name, "\""), *database.max_clients, "database");
  if (user && is_full(count_of(users_, name), user->max_clients)) return too_many(concat("user \"", name, "\""), *user->max_clients, "user");
  ++databases_[database.name];
  ++users_[name];
  Place place;
  place.counts_ = this;
  place.database_ = database.name;
  place.user_ = name;
  return place;
}

unsigned ClientPlaces::of_database(const std::string& name) const {
  const std::lock_guard lock(mutex_);
  return count_of(databases_, name);
}

unsigned ClientPlaces::of_user(const std::string& name) const {
  const std::lock_guard lock(mutex_);
  return count_of(users_, name);
}

void ClientPlaces::leave(const Place& place) {
  const std::lock_guard lock(mutex_);
  take_one(databases_, place.database_);
  take_one(users_, place.user_);
}

ClientPlaces::Place::~Place() {
  if (counts_) counts_->leave(*this);
}

}  // namespace weir::proxy
