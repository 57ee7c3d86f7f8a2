#include "router/merge/merger.hpp"

#include <algorithm>
#include <utility>

namespace weir::router::merge {

int compare_rows(const std::vector<SortKey>& keys, const RowView& a, const RowView& b) {
  for (const SortKey& key : keys) {
    const Value& x = a[key.column];
    const Value& y = b[key.column];
    if (!x && !y) continue;
    if (!x || !y) return !x == key.nulls_first ? -1 : 1;
    const int order = key.order.compare(*x, *y);
    if (order != 0) return (order < 0) != key.descending ? -1 : 1;
  }
  return 0;
}

Merger::Merger(std::vector<SortKey> keys, std::size_t sources) : keys_(std::move(keys)), sources_(sources), wanting_(sources) {}

Result<void> Merger::check(const RowView& row) const {
  for (const SortKey& key : keys_)
    if (key.column >= row.columns() || (row[key.column] && !key.order.fits(*row[key.column])))
      return Error(sqlstate::kProtocolViolation, "a shard sent a row whose sort columns cannot be read");
  return {};
}

Result<void> Merger::put(std::size_t source, ByteView body) {
  Source& s = sources_[source];
  if (!s.row.read(body)) return Error(sqlstate::kProtocolViolation, "a shard sent a malformed DataRow");
  if (auto fits = check(s.row); !fits) return fits.take_error();
  s.has_row = true;
  --wanting_;
  heap_.push_back(source);
  std::push_heap(heap_.begin(), heap_.end(), [this](std::size_t a, std::size_t b) { return before(b, a); });
  return {};
}

void Merger::end(std::size_t source) {
  if (wants(source)) --wanting_;
  sources_[source].ended = true;
}

void Merger::take() {
  const std::size_t source = heap_.front();
  std::pop_heap(heap_.begin(), heap_.end(), [this](std::size_t a, std::size_t b) { return before(b, a); });
  heap_.pop_back();
  sources_[source].has_row = false;
  if (!sources_[source].ended) ++wanting_;
}

bool Merger::before(std::size_t a, std::size_t b) const {
  const int order = compare_rows(keys_, sources_[a].row, sources_[b].row);
  return order != 0 ? order < 0 : a < b;
}

}  // namespace weir::router::merge
