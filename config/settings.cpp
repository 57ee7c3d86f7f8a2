#include "config/settings.hpp"

#include <algorithm>

namespace weir::config {
namespace {

template <class T>
const T* find_named(const std::vector<T>& all, std::string_view name) {
  const auto it = std::find_if(all.begin(), all.end(), [&](const T& each) { return each.name == name; });
  return it == all.end() ? nullptr : &*it;
}

}  // namespace

const Database& described(const Database& database) { return database.observed ? *database.observed : database; }

const Database* Settings::find_database(std::string_view name) const { return find_named(databases, name); }
const User* Settings::find_user(std::string_view name) const { return find_named(users, name); }

}  // namespace weir::config
