#include "proxy/work.hpp"

namespace weir::proxy {

namespace {
#if defined(__SANITIZE_ADDRESS__)
constexpr bool kKeeps = false;  // whoever still points at one that was given back is found out
#else
constexpr bool kKeeps = true;
#endif
}  // namespace

bool Work::at_rest() const {
  return ops.empty() && rewritten.empty() && steps_in_text.empty() && !queued_at && expected.empty() && to_server.empty() && carry.empty() && own.empty() &&
         lost_by_reset.empty() && asked_names.empty() && held.empty() && portals.empty();
}

std::unique_ptr<Work> Works::take() {
  if (spare_.empty()) return std::make_unique<Work>();
  auto work = std::move(spare_.back());
  spare_.pop_back();
  return work;
}

void Works::give_back(std::unique_ptr<Work> work) {
  if (kKeeps && spare_.size() < kKept) spare_.push_back(std::move(work));
}

}  // namespace weir::proxy
