// Health verdict: what a probe of a backend says about using it. Pure.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "base/deadline.hpp"

namespace weir::policy {

// The outcome of one probe.
struct Probe {
  bool reachable = false;
  bool in_recovery = false;         // pg_is_in_recovery()
  std::optional<Duration> lag;      // replica: none if unknown (nothing replayed yet)
  bool receiver_connected = false;  // replica: a wal receiver is streaming
  std::uint32_t timeline = 0;
  std::string error;  // not reachable: why
};

enum class Role { primary, replica };

struct Verdict {
  bool usable = false;
  std::string reason;  // why not, for SHOW BACKENDS and messages
};

// `configured` is the role of weir.toml. A configured primary that is in recovery is unusable for writes; a replica
// that is not in recovery (promoted, or never one) serves no reads as a replica; one further behind than `max_lag` (0:
// any) neither.
[[nodiscard]] Verdict judge(Role configured, const Probe& probe, Duration max_lag);

}  // namespace weir::policy
