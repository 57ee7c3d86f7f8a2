// A cursor over one message's body with bounds on every step. Internal to wire/.
#pragma once

#include <cstring>
#include <string>
#include <string_view>

#include "base/bytes.hpp"
#include "base/error.hpp"
#include "base/strings.hpp"
#include "wire/frame.hpp"

namespace weir::wire {

// The first step that does not fit is remembered and everything read from then on is empty, so that a message is read
// in one go and asked once: finish() is true when all steps fitted and nothing is left over.
class BodyReader {
 public:
  explicit BodyReader(ByteView body) : rest_(body) {}

  std::uint8_t byte() {
    const ByteView b = bytes(1);
    return b.empty() ? std::uint8_t{0} : b[0];
  }
  std::uint16_t int16() {
    const ByteView b = bytes(2);
    return b.empty() ? std::uint16_t{0} : load16(b.data());
  }
  std::uint32_t int32() {
    const ByteView b = bytes(4);
    return b.empty() ? 0 : load32(b.data());
  }
  // Up to the next NUL, which is consumed.
  std::string_view string() {
    const void* end = rest_.empty() ? nullptr : std::memchr(rest_.data(), 0, rest_.size());
    if (end == nullptr) {
      fail("invalid string in message");
      return {};
    }
    const auto n = static_cast<std::size_t>(static_cast<const std::uint8_t*>(end) - rest_.data());
    const std::string_view s = as_text(rest_.first(n));
    rest_ = rest_.subspan(n + 1);
    return s;
  }
  ByteView bytes(std::size_t n) {
    if (n > rest_.size()) {
      fail("insufficient data left in message");
      return {};
    }
    const ByteView b = rest_.first(n);
    rest_ = rest_.subspan(n);
    return b;
  }
  [[nodiscard]] ByteView rest() const { return rest_; }
  [[nodiscard]] bool failed() const { return problem_ != nullptr; }

  [[nodiscard]] bool finish() {
    if (!rest_.empty()) fail("invalid message format");
    return problem_ == nullptr;
  }
  // PostgreSQL's wording, and which message it was.
  [[nodiscard]] Error error(std::string_view message) const {
    return {sqlstate::kProtocolViolation, concat(problem_, " (", message, ")"),
            "The sender does not keep to the PostgreSQL protocol; check its driver."};
  }

 private:
  void fail(const char* problem) {
    if (problem_ == nullptr) problem_ = problem;
    rest_ = {};
  }

  ByteView rest_;
  const char* problem_ = nullptr;
};

}  // namespace weir::wire
