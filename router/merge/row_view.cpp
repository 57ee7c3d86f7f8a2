#include "router/merge/row_view.hpp"

#include "router/merge/bytes.hpp"

namespace weir::router::merge {

namespace {
constexpr std::size_t kCount = 2;    // the number of columns
constexpr std::size_t kLength = 4;   // a column's length word
constexpr std::uint32_t kNull = 0xffffffff;
}  // namespace

bool RowView::read(ByteView body) {
  values_.clear();
  ends_.clear();
  body_ = body;
  if (body.size() < kCount) return false;
  const std::size_t columns = load16(body.data());
  std::size_t at = kCount;
  for (std::size_t i = 0; i < columns && body.size() - at >= kLength; ++i) {
    const std::uint32_t length = load32(body.data() + at);
    at += kLength;
    if (length == kNull) {
      values_.emplace_back();
    } else {
      if (length > body.size() - at) break;
      values_.emplace_back(body.subspan(at, length));
      at += length;
    }
    ends_.push_back(at);
  }
  if (values_.size() == columns && at == body.size()) return true;
  values_.clear();
  ends_.clear();
  return false;
}

ByteView RowView::first(std::size_t n) const {
  return n == 0 ? ByteView{} : body_.subspan(kCount, ends_[n - 1] - kCount);
}

void write_first_columns(ByteBuffer& out, const RowView& row, std::size_t visible) {
  const ByteView values = row.first(visible);
  std::uint8_t header[1 + kLength + kCount] = {'D'};
  store32(header + 1, static_cast<std::uint32_t>(kLength + kCount + values.size()));
  store16(header + 1 + kLength, static_cast<std::uint16_t>(visible));
  out.append(ByteView(header));
  out.append(values);
}

}  // namespace weir::router::merge
