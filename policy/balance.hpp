// Which of several usable backends gets the next read. Pure; randomness and counters come from the caller.
#pragma once

#include <cstdint>
#include <optional>
#include <span>

#include "config/settings.hpp"

namespace weir::policy {

struct Candidate {
  bool usable = false;
  unsigned weight = 1;
  unsigned in_use = 0;  // server connections busy now, plus waiting clients
};

// Index of the chosen candidate; none: nobody is usable. least_connections compares in_use / weight, ties go to the
// one after `turn` (a counter the caller raises), so that idle backends share evenly. Weight 0 is never chosen.
[[nodiscard]] std::optional<std::size_t> choose(config::Balance how, std::span<const Candidate> candidates,
                                                std::uint64_t turn);

}  // namespace weir::policy
