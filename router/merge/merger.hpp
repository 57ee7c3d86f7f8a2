// Merger: sorted streams of rows into one, holding one row of each.
//
// Pure: the caller brings rows and takes them. What is equal comes in the order of the sources.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>
#include <vector>

#include "base/bytes.hpp"
#include "base/result.hpp"
#include "router/merge/order.hpp"
#include "router/merge/row_view.hpp"

namespace weir::router::merge {

// One column that the rows are sorted by. Its values are in binary format.
struct SortKey {
  std::size_t column = 0;      // 0-based, in the rows
  bool descending = false;
  bool nulls_first = false;
  ValueOrder order;
};

// Compares rows by `keys`; both hold the columns they name.
[[nodiscard]] int compare_rows(const std::vector<SortKey>& keys, const RowView& a, const RowView& b);

class Merger {
 public:
  // Without keys: all rows of the first source, then all of the next.
  Merger(std::vector<SortKey> keys, std::size_t sources);

  // The next row of `source`, which has none now. The body stays where it is until the row is taken. Fails (08P01) on
  // bytes that are no row with the keys' columns.
  [[nodiscard]] Result<void> put(std::size_t source, ByteView body);
  // No row of `source` will come any more.
  void end(std::size_t source);

  // Does the source have to give a row, or its end, before the next row is known?
  [[nodiscard]] bool wants(std::size_t source) const { return !sources_[source].ended && !sources_[source].has_row; }
  // Every source has a row or is at its end.
  [[nodiscard]] bool ready() const { return wanting_ == 0; }
  [[nodiscard]] bool done() const { return ready() && heap_.empty(); }

  // The source of the least row. Only when ready() and not done().
  [[nodiscard]] std::size_t least() const { return heap_.front(); }
  [[nodiscard]] const RowView& row(std::size_t source) const { return sources_[source].row; }
  // The least row is done with.
  void take();

 private:
  struct Source {
    RowView row;
    bool has_row = false;
    bool ended = false;
  };
  [[nodiscard]] bool before(std::size_t a, std::size_t b) const;
  [[nodiscard]] Result<void> check(const RowView& row) const;

  std::vector<SortKey> keys_;
  std::vector<Source> sources_;
  std::vector<std::size_t> heap_;   // sources that have a row; the least one first
  std::size_t wanting_ = 0;
};

// OFFSET and LIMIT over the merged rows.
class Window {
 public:
  static constexpr std::uint64_t kNoLimit = ~std::uint64_t{0};
  Window(std::uint64_t offset, std::uint64_t limit) : skip_(offset), left_(limit) {}
  Window() = default;

  // Does the next row belong to the answer?
  [[nodiscard]] bool take() {
    if (skip_ > 0) return --skip_, false;
    if (left_ == 0) return false;
    if (left_ != kNoLimit) --left_;
    return true;
  }
  // None of the rows to come does.
  [[nodiscard]] bool full() const { return left_ == 0; }

 private:
  std::uint64_t skip_ = 0;
  std::uint64_t left_ = kNoLimit;
};

}  // namespace weir::router::merge
