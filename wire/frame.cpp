#include "wire/frame.hpp"

namespace weir::wire {

FrameScanner::Item FrameScanner::gather_header(ByteView& bytes, std::uint32_t max_length) noexcept {
  const std::size_t n = std::min(kHeader - header_used_, bytes.size());
  std::copy_n(bytes.begin(), n, header_ + header_used_);
  header_used_ = static_cast<std::uint8_t>(header_used_ + n);
  bytes = bytes.subspan(n);
  if (header_used_ < kHeader) return {};

  const std::uint32_t length = load32(header_ + 1);
  // header_used_ stays full, so that the answer is the same for ever.
  if (length < 4 || length > max_length) return {Step::bad_length, {}};
  type_ = static_cast<char>(header_[0]);
  left_ = length - 4;
  header_used_ = 0;
  return {Step::header, {}};
}

}  // namespace weir::wire
