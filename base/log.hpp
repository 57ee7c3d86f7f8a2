// Logging interface. The libraries know only this; the binaries bind spdlog to it (proxy/log_spdlog.cpp).
#pragma once

#include <atomic>
#include <initializer_list>
#include <span>
#include <string_view>

namespace weir::log {

enum class Level { debug, info, warning, error };

// A named value beside the message: user=bob, or a member of the JSON object. Any bytes.
struct Field {
  std::string_view name;
  std::string_view value;
};
using Fields = std::initializer_list<Field>;

// Where lines go. Called from any thread; must not throw or block for long.
class Sink {
 public:
  virtual ~Sink() = default;
  virtual void write(Level level, std::string_view line, std::span<const Field> fields) = 0;
};

// Installs the process-wide sink (not owned; must outlive every caller) and the lowest level written.
// nullptr silences. Thread-safe.
void set_sink(Sink* sink, Level lowest) noexcept;

// The lowest level written from now on. Thread-safe.
void set_level(Level lowest) noexcept;

[[nodiscard]] bool enabled(Level level) noexcept;
void write(Level level, std::string_view line, std::span<const Field> fields) noexcept;

inline void debug(std::string_view line, Fields fields = {}) noexcept { write(Level::debug, line, fields); }
inline void info(std::string_view line, Fields fields = {}) noexcept { write(Level::info, line, fields); }
inline void warning(std::string_view line, Fields fields = {}) noexcept { write(Level::warning, line, fields); }
inline void error(std::string_view line, Fields fields = {}) noexcept { write(Level::error, line, fields); }

}  // namespace weir::log
