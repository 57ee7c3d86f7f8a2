#include "proxy/route_settings.hpp"

#include <algorithm>
#include <utility>

#include "router/hint.hpp"

namespace weir::proxy {

namespace {

std::size_t place_of(std::string_view name) {
  const auto found = std::find(RouteSettings::kNames.begin(), RouteSettings::kNames.end(), name);
  return static_cast<std::size_t>(found - RouteSettings::kNames.begin());
}

}  // namespace

bool RouteSettings::start(std::string_view name, std::string value) {
  const std::size_t place = place_of(name);
  if (place == kNames.size()) return false;
  startup_[place].session = committed_[place].session = current_[place].session = std::move(value);
  changed();
  return true;
}

void RouteSettings::apply(std::string_view name, const router::OwnSetting& setting) {
  using Kind = router::OwnSetting::Kind;
  const std::size_t place = place_of(name);
  Value& value = current_.at(place);
  switch (setting.kind) {
    case Kind::show: return;
    case Kind::set_local: value.local = setting.value; break;
    case Kind::set: value = {setting.value, std::nullopt}; break;
    case Kind::reset: value = {startup_[place].session, std::nullopt}; break;
  }
  changed();
}

void RouteSettings::reset_all() {
  current_ = startup_;
  changed();
}

std::vector<RouteSettings::Savepoint>::iterator RouteSettings::find_savepoint(std::string_view name) {
  const auto found = std::find_if(savepoints_.rbegin(), savepoints_.rend(), [&](const Savepoint& s) { return s.name == name; });
  return found == savepoints_.rend() ? savepoints_.end() : found.base() - 1;
}

void RouteSettings::savepoint(std::string name) { savepoints_.push_back({std::move(name), current_}); }

void RouteSettings::release(std::string_view name) { savepoints_.erase(find_savepoint(name), savepoints_.end()); }

// The savepoint itself stays.
void RouteSettings::rollback_to(std::string_view name) {
  const auto found = find_savepoint(name);
  if (found == savepoints_.end()) return;
  current_ = found->state;
  savepoints_.erase(found + 1, savepoints_.end());
  changed();
}

void RouteSettings::commit() {
  for (Value& value : current_) value.local.reset();
  committed_ = current_;
  savepoints_.clear();
  changed();
}

void RouteSettings::rollback() {
  current_ = committed_;
  savepoints_.clear();
  changed();
}

const std::string& RouteSettings::value(std::string_view name) const { return current_.at(place_of(name)).now(); }

std::string RouteSettings::words_of(const State& state) {
  router::Hint hint;
  hint.shard = state[0].now();
  if (!state[1].now().empty()) hint.key = state[1].now();
  hint.primary = !state[2].now().empty();
  return router::words_of(hint);
}

void RouteSettings::changed() {
  hints_ = words_of(current_);
  ++version_;
}

}  // namespace weir::proxy
