#include "router/in_doubt.hpp"

#include <algorithm>

#include "base/strings.hpp"

namespace weir::router {

using Action = InDoubtVerdict::Action;

InDoubtVerdict judge(const FoundPrepared& found, const InDoubtRules& rules) {
  auto gid = parse_gid(found.gid);
  if (!gid) return {Action::leave, {}, "left alone: its name is not one that this Weir gives"};
  if (gid->cluster != rules.cluster) return {Action::leave, {}, concat("left alone: it is of cluster ", gid->cluster)};
  if (gid->participant != found.shard) return {Action::leave, {}, concat("left alone: it names shard ", gid->participant, " as its place")};
  if (std::find(rules.shards.begin(), rules.shards.end(), gid->decider) == rules.shards.end())
    return {Action::leave, {}, concat("left alone: shard ", gid->decider, ", which decides, is not in weir.toml")};
  if (found.age < std::min(kCoordinatorsOwn, rules.in_doubt_after)) return {Action::coordinators, std::move(*gid), ""};
  return {found.age < rules.in_doubt_after ? Action::read : Action::decide, std::move(*gid), ""};
}

}  // namespace weir::router
