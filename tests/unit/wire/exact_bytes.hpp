// Test inputs on the heap, exactly as large as their content, so that ASan sees an over-read of one byte.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string_view>

#include "base/bytes.hpp"

namespace weir::wire {

class ExactBytes {
 public:
  explicit ExactBytes(ByteView b) : data_(new std::uint8_t[b.size()]), size_(b.size()) {
    std::copy(b.begin(), b.end(), data_.get());
  }
  explicit ExactBytes(std::string_view s) : ExactBytes(as_bytes(s)) {}

  [[nodiscard]] ByteView view() const { return {data_.get(), size_}; }
  [[nodiscard]] std::string_view text() const { return as_text(view()); }

 private:
  std::unique_ptr<std::uint8_t[]> data_;
  std::size_t size_;
};

// Calls f(size, prefix) for every proper prefix of `whole`, each in its own buffer.
template <class F>
void for_each_cut(std::string_view whole, F&& f) {
  for (std::size_t n = 0; n < whole.size(); ++n) {
    const ExactBytes cut(whole.substr(0, n));
    f(n, cut);
  }
}

}  // namespace weir::wire
