#include "router/plan_cache.hpp"

#include <algorithm>
#include <cstring>
#include <utility>

#include "router/explain.hpp"
#include "router/key_fill.hpp"
#include "router/scatter_plan.hpp"

namespace weir::router {
namespace {

// What an allocator adds to each block, and the places of an entry in the cache's vectors.
constexpr std::size_t kRecordOverhead = 64;

std::size_t size_of_text(const std::string& text) { return text.capacity() > 15 ? text.capacity() + 1 : 0; }

std::size_t size_of_texts(const std::vector<std::string>& texts) {
  std::size_t bytes = texts.capacity() * sizeof(std::string);
  for (const std::string& text : texts) bytes += size_of_text(text);
  return bytes;
}

std::size_t size_of_source(const KeySource& source) {
  const bool text = source.value.has_value() && source.value->is_text();
  return sizeof(KeySource) + (text ? size_of_text(source.value->text()) : 0);
}

}  // namespace

std::size_t size_of(const Plan& plan) noexcept {
  std::size_t bytes = sizeof(Plan) + size_of_text(plan.setting) + size_of_texts(plan.tables) + size_of_texts(plan.why);
  for (const Binding& binding : plan.bindings) {
    bytes += sizeof(Binding) + size_of_text(binding.table);
    for (const KeySource& source : binding.values) bytes += size_of_source(source);
  }
  if (plan.refusal)
    bytes +=
        size_of_text(plan.refusal->message) + size_of_text(plan.refusal->detail) + size_of_text(plan.refusal->hint);
  if (plan.fill) bytes += sizeof(KeyFill) + size_of_text(plan.fill->column);
  bytes += plan.explain ? sizeof(ExplainPlan) + plan.explain->prefix.size() + plan.explain->finish_prefix.size() : 0;
  if (plan.target == Target::scatter && plan.verb == Verb::query) bytes += kDescribedBytes;   // what its driver may add
  return bytes + (plan.scatter ? size_of(*plan.scatter) : 0);
}

PlanRef PlanCache::find(std::uint64_t hash, ByteView key) {
  if (!buckets_.empty()) {
    for (Entry* entry = bucket_of(hash); entry != nullptr; entry = entry->next) {
      if (entry->hash != hash || entry->key.size() != key.size()) continue;
      if (!key.empty() && std::memcmp(entry->key.data(), key.data(), key.size()) != 0) continue;
      entry->used = true;
      ++counters_.hits;
      return entry->plan;
    }
  }
  ++counters_.misses;
  return nullptr;
}

void PlanCache::insert(std::uint64_t hash, ByteView key, PlanRef plan) {
  const std::size_t bytes = sizeof(Entry) + kRecordOverhead + key.size() + size_of(*plan);
  if (bytes > max_bytes_ / 8) return;
  make_room(bytes);
  if (entries_.size() >= buckets_.size()) grow_buckets();
  auto entry = std::make_unique<Entry>();
  entry->hash = hash;
  entry->key.assign(key.begin(), key.end());
  entry->plan = std::move(plan);
  entry->bytes = bytes;
  entry->next = std::exchange(bucket_of(hash), entry.get());
  entries_.push_back(std::move(entry));
  counters_.bytes += bytes;
  counters_.entries = entries_.size();
}

void PlanCache::clear() {
  entries_.clear();
  buckets_.clear();
  hand_ = 0;
  counters_.entries = counters_.bytes = 0;
}

void PlanCache::make_room(std::size_t bytes) {
  while (counters_.bytes + bytes > max_bytes_) evict_one();
}

// Takes the first entry under the hand that was not used since the hand last passed. There is one: bytes are counted.
void PlanCache::evict_one() {
  for (;; ++hand_) {
    if (hand_ >= entries_.size()) hand_ = 0;
    if (!std::exchange(entries_[hand_]->used, false)) break;
  }
  unlink(*entries_[hand_]);
  counters_.bytes -= entries_[hand_]->bytes;
  if (hand_ + 1 != entries_.size()) std::swap(entries_[hand_], entries_.back());
  entries_.pop_back();
  ++counters_.evictions;
  counters_.entries = entries_.size();
}

void PlanCache::unlink(const Entry& entry) {
  Entry** at = &bucket_of(entry.hash);
  while (*at != &entry) at = &(*at)->next;
  *at = entry.next;
}

void PlanCache::grow_buckets() {
  buckets_.assign(std::max<std::size_t>(64, buckets_.size() * 2), nullptr);
  for (const auto& entry : entries_) entry->next = std::exchange(bucket_of(entry->hash), entry.get());
}

}  // namespace weir::router
