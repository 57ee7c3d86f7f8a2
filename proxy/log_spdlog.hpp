// spdlog behind base's logging interface. Bound in the binaries only.
//
// Lines are formatted on the caller's thread, put into a bounded queue and written by a thread of their own: whoever reads stderr, however
// slowly, never holds up a worker. When the queue is full the oldest lines are dropped, and counted.
#pragma once

#include <cstdint>

#include "base/deadline.hpp"
#include "config/settings.hpp"

namespace weir::proxy {

// Writes lines to stderr from now on, as text or JSON. Call once, before threads start.
void start_logging(const config::Log& log);
// Waits until what was said is written, or the deadline. Lines may still be logged afterwards, and may be lost.
void flush_logging(Deadline until);
// Since the start.
[[nodiscard]] std::uint64_t dropped_log_lines();

}  // namespace weir::proxy
