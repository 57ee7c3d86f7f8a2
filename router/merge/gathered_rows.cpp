#include "router/merge/gathered_rows.hpp"

#include "router/merge/bytes.hpp"

namespace weir::router::merge {

namespace {
constexpr std::size_t kWord = 4;
constexpr std::size_t kNoDimension = 3 * kWord;        // ndim, flags, element type
constexpr std::size_t kOneDimension = 5 * kWord;       // and its length and lower bound

void append32(ByteBuffer& out, std::uint32_t v) {
  std::uint8_t word[kWord];
  store32(word, v);
  out.append(ByteView(word));
}
}  // namespace

GatheredRows::GatheredRows(std::vector<std::uint32_t> types) {
  for (const std::uint32_t type : types) columns_.push_back({type, false, {}});
}

Result<void> GatheredRows::add(ByteView body) {
  if (!row_.read(body) || row_.columns() != columns_.size())
    return Error(sqlstate::kProtocolViolation, "a shard sent a malformed DataRow");
  for (std::size_t i = 0; i < columns_.size(); ++i) {
    Column& column = columns_[i];
    const Value& value = row_[i];
    column.has_null |= !value;
    append32(column.elements, value ? static_cast<std::uint32_t>(value->size()) : 0xffffffff);
    if (value) column.elements.append(*value);
    bytes_ += kWord + (value ? value->size() : 0);
  }
  ++rows_;
  return {};
}

std::size_t GatheredRows::array_size(std::size_t i) const {
  return rows_ == 0 ? kNoDimension : kOneDimension + columns_[i].elements.size();
}

void GatheredRows::write_array(std::size_t i, ByteBuffer& out) const {
  const Column& column = columns_[i];
  append32(out, rows_ == 0 ? 0 : 1);
  append32(out, column.has_null ? 1 : 0);
  append32(out, column.type);
  if (rows_ == 0) return;
  append32(out, static_cast<std::uint32_t>(rows_));
  append32(out, 1);
  out.append(column.elements.view());
}

}  // namespace weir::router::merge
