#include "proxy/session_channels.hpp"

#include <algorithm>

namespace weir::proxy {

void SessionChannels::unlisten(std::string channel) {
  if (!committed_.empty() || !pending_.empty()) pending_.push_back({false, std::move(channel)});
}

std::set<std::string> SessionChannels::pending() const {
  std::set<std::string> channels;
  for (const Action& action : pending_)
    if (action.listens) channels.insert(action.channel);
  return channels;
}

// The newest of that name.
std::vector<SessionChannels::Savepoint>::iterator SessionChannels::find_savepoint(std::string_view name) {
  const auto newest = std::find_if(savepoints_.rbegin(), savepoints_.rend(), [&](const Savepoint& s) { return s.name == name; });
  return newest == savepoints_.rend() ? savepoints_.end() : std::prev(newest.base());
}

// One that is not known was set before this object was made, and with it before everything in here.
void SessionChannels::release(std::string_view name) {
  const auto it = find_savepoint(name);
  savepoints_.erase(it == savepoints_.end() ? savepoints_.begin() : it, savepoints_.end());
}

void SessionChannels::rollback_to(std::string_view name) {
  const auto it = find_savepoint(name);
  if (it == savepoints_.end()) return rollback();
  pending_.resize(it->actions);
  savepoints_.erase(std::next(it), savepoints_.end());   // the savepoint itself stays
}

void SessionChannels::commit() {
  for (Action& action : pending_) {
    if (action.listens)
      committed_.insert(std::move(action.channel));
    else if (action.channel.empty())
      committed_.clear();
    else
      committed_.erase(action.channel);
  }
  rollback();
}

void SessionChannels::rollback() {
  pending_.clear();
  savepoints_.clear();
}

}  // namespace weir::proxy
