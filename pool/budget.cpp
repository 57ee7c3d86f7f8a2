#include "pool/budget.hpp"

#include <algorithm>
#include <utility>

namespace weir::pool {

bool Budget::take(const Pool* who, TimePoint since) {
  const std::lock_guard lock(mutex_);
  if (const InLine* earlier = first(); earlier && earlier->pool != who && earlier->since < since) return false;
  if (used_ >= limit()) return false;
  ++used_;
  return true;
}

void Budget::keep() {
  const std::lock_guard lock(mutex_);
  high_water_ = std::max(high_water_, used_);
}

void Budget::give_back() {
  const std::lock_guard lock(mutex_);
  --used_;
  note_use();
  if (promised_ == 0 || used_ >= limit()) return;
  --promised_;
  ++lent_;
  ++collected_;
}

// ---- the line ----

void Budget::starve(const std::shared_ptr<Pool>& who, TimePoint since) {
  const std::lock_guard lock(mutex_);
  const auto found = std::find_if(line_.begin(), line_.end(), [&](const InLine& p) { return p.pool == who.get(); });
  if (found == line_.end())
    line_.push_back({who.get(), who, since});
  else
    found->since = since;
  note_first();
}

void Budget::sated(const Pool* who) {
  const std::lock_guard lock(mutex_);
  std::erase_if(line_, [&](const InLine& p) { return p.pool == who; });
  note_first();
}

std::shared_ptr<Pool> Budget::hungriest() const {
  const std::lock_guard lock(mutex_);
  const InLine* hungriest = first();
  return hungriest ? hungriest->held.lock() : nullptr;
}

const Budget::InLine* Budget::first() const {
  const auto found = std::min_element(line_.begin(), line_.end(), [](const InLine& a, const InLine& b) { return a.since < b.since; });
  return found == line_.end() ? nullptr : &*found;
}

void Budget::note_first() {
  const InLine* hungriest = first();
  since_.store((hungriest ? hungriest->since : TimePoint::max()).time_since_epoch().count(), std::memory_order_relaxed);
  starving_.store(hungriest != nullptr, std::memory_order_relaxed);
}

// ---- numbers ----

void Budget::set_bound(unsigned bound) {
  const std::lock_guard lock(mutex_);
  bound_ = bound;
  note_use();
}

unsigned Budget::bound() const {
  const std::lock_guard lock(mutex_);
  return limit();
}

unsigned Budget::whole_bound() const {
  const std::lock_guard lock(mutex_);
  return bound_;
}

unsigned Budget::used() const {
  const std::lock_guard lock(mutex_);
  return used_;
}

unsigned Budget::high_water() const {
  const std::lock_guard lock(mutex_);
  return high_water_;
}

bool Budget::is_used_up() const {
  const std::lock_guard lock(mutex_);
  return used_ >= limit();
}

// ---- sharing with another process ----

void Budget::change_lent(int change) {
  const std::lock_guard lock(mutex_);
  lent_ = change < 0 && lent_ < static_cast<unsigned>(-change) ? 0 : lent_ + static_cast<unsigned>(change);
  note_use();
}

unsigned Budget::free() const {
  const std::lock_guard lock(mutex_);
  return limit() > used_ ? limit() - used_ : 0;
}

unsigned Budget::lend(unsigned most) {
  const std::lock_guard lock(mutex_);
  const unsigned free = limit() > used_ ? limit() - used_ : 0;
  const unsigned lent = std::min(free, most);
  lent_ += lent;
  return lent;
}

void Budget::promise(unsigned count) {
  const std::lock_guard lock(mutex_);
  promised_ = count;
}

unsigned Budget::collect_promised() {
  const std::lock_guard lock(mutex_);
  return std::exchange(collected_, 0);
}

}  // namespace weir::pool
