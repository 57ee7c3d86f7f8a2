#include "base/log.hpp"

namespace weir::log {
namespace {
std::atomic<Sink*> current_sink{nullptr};
std::atomic<Level> lowest_level{Level::info};
}  // namespace

void set_sink(Sink* sink, Level lowest) noexcept {
  lowest_level.store(lowest, std::memory_order_relaxed);
  current_sink.store(sink, std::memory_order_release);
}

void set_level(Level lowest) noexcept { lowest_level.store(lowest, std::memory_order_relaxed); }

bool enabled(Level level) noexcept {
  return current_sink.load(std::memory_order_acquire) != nullptr &&
         level >= lowest_level.load(std::memory_order_relaxed);
}

void write(Level level, std::string_view line, std::span<const Field> fields) noexcept {
  if (!enabled(level)) return;
  current_sink.load(std::memory_order_acquire)->write(level, line, fields);
}

}  // namespace weir::log
