// Views of bytes, and a buffer that is appended at one end and consumed at the other.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string_view>
#include <vector>

namespace weir {

using ByteView = std::span<const std::uint8_t>;

inline ByteView as_bytes(std::string_view s) noexcept {
  return {reinterpret_cast<const std::uint8_t*>(s.data()), s.size()};
}
inline std::string_view as_text(ByteView b) noexcept {
  return {reinterpret_cast<const char*>(b.data()), b.size()};
}

// Growable FIFO of bytes. Not thread-safe. Views from view() last until the next append() or release().
// Consuming everything rewinds, so a buffer in the steady state does not allocate.
class ByteBuffer {
 public:
  void append(ByteView b) {
    compact_if_worthwhile(b.size());
    data_.insert(data_.end(), b.begin(), b.end());
  }
  void append(std::string_view s) { append(as_bytes(s)); }
  void append(std::uint8_t b) { data_.push_back(b); }

  void consume(std::size_t n) {
    head_ += n;
    if (head_ >= data_.size()) clear();
  }
  void clear() {
    data_.clear();
    head_ = 0;
  }
  // Gives the memory back (an idle client costs no buffer).
  void release() {
    std::vector<std::uint8_t>().swap(data_);
    head_ = 0;
  }

  [[nodiscard]] ByteView view() const { return ByteView(data_).subspan(head_); }
  [[nodiscard]] std::size_t size() const { return data_.size() - head_; }
  [[nodiscard]] bool empty() const { return size() == 0; }
  [[nodiscard]] std::size_t capacity() const { return data_.capacity(); }
  // For in-place patching (message lengths): the bytes from `offset` of the unread part.
  std::uint8_t* at(std::size_t offset) { return data_.data() + head_ + offset; }

 private:
  void compact_if_worthwhile(std::size_t extra) {
    if (head_ == 0 || data_.size() + extra <= data_.capacity()) return;
    data_.erase(data_.begin(), data_.begin() + static_cast<std::ptrdiff_t>(head_));
    head_ = 0;
  }

  std::vector<std::uint8_t> data_;
  std::size_t head_ = 0;
};

}  // namespace weir
