// What recovery may do with a transaction that it finds prepared on a shard (design section 6). Pure; proxy/recovery.hpp carries it out.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/deadline.hpp"
#include "router/gid.hpp"

namespace weir::router {

struct FoundPrepared {
  std::string gid;
  std::string shard;   // where it is
  Duration age{};      // by that server's clock
};

struct InDoubtRules {
  std::string cluster;               // uuid of weir.identity
  std::vector<std::string> shards;   // of the database, by name
  Duration in_doubt_after{};
};

struct InDoubtVerdict {
  // leave: not ours, or nobody can say whose; `reason` tells why. coordinators: so young that its coordinator is surely at work.
  // read: finish it if there is a decision. decide: its coordinator is taken for dead: what is undecided is aborted, then finished.
  enum class Action { leave, coordinators, read, decide };
  Action action = Action::leave;
  Gid gid{};            // unless left alone
  std::string reason{};
};

// A coordinator has given up waiting for its shards by then (TwoPhase::kPhaseTwoPatience), so that nobody else is at it.
inline constexpr Duration kCoordinatorsOwn = std::chrono::seconds(2);

[[nodiscard]] InDoubtVerdict judge(const FoundPrepared& found, const InDoubtRules& rules);

}  // namespace weir::router
