// Rows of the binary format. https://www.postgresql.org/docs/15/sql-copy.html#id-1.9.3.55.9.4
#include <algorithm>
#include <string_view>

#include "router/copy/row_scanner.hpp"

namespace weir::router::copy {
namespace {

using Kind = RowEnd::Kind;
using namespace std::string_view_literals;

constexpr std::string_view kSignature = "PGCOPY\n\377\r\n\0"sv;

class BinaryScanner final : public RowScanner {
 public:
  explicit BinaryScanner(std::uint16_t columns) : columns_(columns) {}

  RowEnd scan(ByteView bytes) override;
  RowEnd finish() override { return {begun_ ? Kind::wrong : Kind::incomplete, 0, 0}; }
  std::uint64_t lines(bool) const override { return header_ ? 0 : 1; }

 private:
  enum class State : std::uint8_t { signature, flags, extension_size, extension, count, size, value, rest };

  [[nodiscard]] Kind take(std::uint8_t b);
  [[nodiscard]] Kind take_signature(std::uint8_t b);
  [[nodiscard]] Kind take_number();
  [[nodiscard]] Kind take_count();
  [[nodiscard]] Kind take_size();
  [[nodiscard]] Kind field_is_over();
  void expect(State state, std::uint32_t bytes);
  [[nodiscard]] RowEnd end(Kind kind, std::size_t used);
  Kind wrong() { return expect(State::rest, 0), Kind::wrong; }

  const std::uint16_t columns_;
  State state_ = State::signature;
  std::uint32_t left_ = kSignature.size();   // bytes until the state is over
  std::uint32_t number_ = 0;
  std::uint16_t fields_left_ = 0;
  bool begun_ = false;
  bool header_ = false;                      // the last was no row
  bool over_ = false;                        // the trailer has come
};

void BinaryScanner::expect(State state, std::uint32_t bytes) {
  state_ = state;
  left_ = bytes;
  number_ = 0;
}

RowEnd BinaryScanner::scan(ByteView bytes) {
  if (bytes.empty()) return {};
  if (state_ == State::rest || over_) return {Kind::wrong, bytes.size(), 0};
  for (std::size_t at = 0; at < bytes.size();) {
    begun_ = true;
    if (state_ == State::value || state_ == State::extension) {
      const std::size_t n = std::min<std::size_t>(left_, bytes.size() - at);
      at += n;
      left_ -= static_cast<std::uint32_t>(n);
      if (left_ > 0) break;
      const bool header = state_ == State::extension;
      if (header) expect(State::count, 2);
      const Kind kind = header ? Kind::header : field_is_over();
      if (kind == Kind::incomplete) continue;
      return end(kind, at);
    }
    const Kind kind = take(bytes[at++]);
    if (kind == Kind::incomplete) continue;
    return end(kind, kind == Kind::wrong ? bytes.size() : at);
  }
  return {Kind::incomplete, bytes.size(), 0};
}

RowEnd BinaryScanner::end(Kind kind, std::size_t used) {
  begun_ = false;
  header_ = kind == Kind::header;
  return {kind, used, 0};
}

Kind BinaryScanner::take(std::uint8_t b) {
  if (state_ == State::signature) return take_signature(b);
  number_ = (number_ << 8) | b;
  return --left_ > 0 ? Kind::incomplete : take_number();
}

Kind BinaryScanner::take_signature(std::uint8_t b) {
  if (b != static_cast<std::uint8_t>(kSignature[kSignature.size() - left_])) return wrong();
  if (--left_ == 0) expect(State::flags, 4);
  return Kind::incomplete;
}

Kind BinaryScanner::take_number() {
  switch (state_) {
    case State::flags:
      expect(State::extension_size, 4);   // the servers read them
      return Kind::incomplete;
    case State::extension_size:
      if (static_cast<std::int32_t>(number_) < 0) return wrong();
      if (number_ > 0) return expect(State::extension, number_), Kind::incomplete;
      expect(State::count, 2);
      return Kind::header;
    case State::count: return take_count();
    case State::size: return take_size();
    case State::signature:
    case State::extension:
    case State::value:
    case State::rest: break;
  }
  return wrong();
}

Kind BinaryScanner::take_count() {
  if (number_ == 0xffff) {
    over_ = true;
    return Kind::header;
  }
  if (number_ != columns_) return wrong();
  fields_left_ = columns_;
  expect(State::size, 4);
  return Kind::incomplete;
}

Kind BinaryScanner::take_size() {
  const auto size = static_cast<std::int32_t>(number_);
  if (size < -1) return wrong();
  if (size <= 0) return field_is_over();
  expect(State::value, number_);
  return Kind::incomplete;
}

Kind BinaryScanner::field_is_over() {
  if (--fields_left_ > 0) return expect(State::size, 4), Kind::incomplete;
  expect(State::count, 2);
  return Kind::row;
}

}  // namespace

std::unique_ptr<RowScanner> make_binary_scanner(std::uint16_t columns) { return std::make_unique<BinaryScanner>(columns); }

}  // namespace weir::router::copy
