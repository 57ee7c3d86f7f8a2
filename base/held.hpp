// Held<T>: an optional that takes the room of a pointer while it is empty, for what is seldom there.
#pragma once

#include <memory>
#include <optional>
#include <utility>

namespace weir {

template <class T>
class Held {
 public:
  Held() = default;
  Held(std::nullopt_t) {}                                                       // NOLINT: as std::optional
  Held(T value) : value_(std::make_unique<T>(std::move(value))) {}              // NOLINT: as std::optional
  Held(std::optional<T> value) {                                                // NOLINT
    if (value) value_ = std::make_unique<T>(std::move(*value));
  }

  [[nodiscard]] bool has_value() const { return value_ != nullptr; }
  explicit operator bool() const { return has_value(); }
  T& operator*() & { return *value_; }
  const T& operator*() const& { return *value_; }
  T&& operator*() && { return std::move(*value_); }
  T* operator->() { return value_.get(); }
  const T* operator->() const { return value_.get(); }
  [[nodiscard]] T value_or(T other) const { return value_ ? *value_ : std::move(other); }
  void reset() {
    if (value_) value_.reset();
  }

 private:
  std::unique_ptr<T> value_;
};

}  // namespace weir
