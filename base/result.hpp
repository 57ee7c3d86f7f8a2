// Result<T>: a value or an Error. The data path's only way to fail.
#pragma once

#include <memory>
#include <utility>
#include <variant>

#include "base/error.hpp"

namespace weir {

// Holds a T, or an Error on the heap (so that a Result in the steady state is as small as its value and
// allocates nothing). Asking value() of a failed Result, or error() of a good one, is a programming error.
template <class T>
class [[nodiscard]] Result {
 public:
  Result(T value) : v_(std::in_place_index<0>, std::move(value)) {}  // NOLINT: implicit by design
  Result(Error error) : v_(std::in_place_index<1>, std::make_unique<Error>(std::move(error))) {}  // NOLINT

  [[nodiscard]] bool ok() const noexcept { return v_.index() == 0; }
  explicit operator bool() const noexcept { return ok(); }

  T& value() & { return *std::get_if<0>(&v_); }
  const T& value() const& { return *std::get_if<0>(&v_); }
  T&& value() && { return std::move(*std::get_if<0>(&v_)); }
  T& operator*() & { return value(); }
  const T& operator*() const& { return value(); }
  T* operator->() { return &value(); }
  const T* operator->() const { return &value(); }

  [[nodiscard]] const Error& error() const& { return **std::get_if<1>(&v_); }
  [[nodiscard]] Error take_error() { return std::move(**std::get_if<1>(&v_)); }

 private:
  std::variant<T, std::unique_ptr<Error>> v_;
};

// Success without a value.
template <>
class [[nodiscard]] Result<void> {
 public:
  Result() = default;
  Result(Error error) : e_(std::make_unique<Error>(std::move(error))) {}  // NOLINT: implicit by design

  [[nodiscard]] bool ok() const noexcept { return e_ == nullptr; }
  explicit operator bool() const noexcept { return ok(); }
  [[nodiscard]] const Error& error() const { return *e_; }
  [[nodiscard]] Error take_error() { return std::move(*e_); }

 private:
  std::unique_ptr<Error> e_;
};

}  // namespace weir
