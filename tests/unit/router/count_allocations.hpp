// How often operator new was called in this program; link count_allocations.cpp.
#pragma once

#include <cstddef>

namespace weir::testing {

[[nodiscard]] std::size_t allocations() noexcept;

}  // namespace weir::testing
