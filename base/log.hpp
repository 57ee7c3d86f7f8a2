// Logging interface. The libraries know only this; the binaries bind spdlog to it (proxy/log_spdlog.cpp).
#pragma once

#include <atomic>
#include <string_view>

namespace weir::log {

enum class Level { debug, info, warning, error };

// Where lines go. Called from any thread; must not throw or block for long.
class Sink {
 public:
  virtual ~Sink() = default;
  virtual void write(Level level, std::string_view line) = 0;
};

// Installs the process-wide sink (not owned; must outlive every caller) and the lowest level written.
// nullptr silences. Thread-safe.
void set_sink(Sink* sink, Level lowest) noexcept;

[[nodiscard]] bool enabled(Level level) noexcept;
void write(Level level, std::string_view line) noexcept;

inline void debug(std::string_view line) noexcept { write(Level::debug, line); }
inline void info(std::string_view line) noexcept { write(Level::info, line); }
inline void warning(std::string_view line) noexcept { write(Level::warning, line); }
inline void error(std::string_view line) noexcept { write(Level::error, line); }

}  // namespace weir::log
