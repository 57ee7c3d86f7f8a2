#include "policy/health.hpp"

#include <utility>

#include "base/strings.hpp"

namespace weir::policy {
namespace {

std::string millis(Duration d) {
  return concat(std::to_string(std::chrono::duration_cast<std::chrono::milliseconds>(d).count()), " ms");
}

Verdict unusable(std::string reason) { return Verdict{false, std::move(reason)}; }

Verdict judge_replica(const Probe& probe, Duration max_lag) {
  if (!probe.in_recovery) return unusable("not in recovery: promoted, or never a replica");
  if (max_lag <= Duration::zero()) return Verdict{true, {}};
  if (!probe.lag) return unusable("its lag is unknown: nothing replayed yet");
  // Without a receiver the lag says how old the last replayed change is, which an idle primary makes look like 0.
  if (!probe.receiver_connected) return unusable("not streaming from a primary, so its lag is unknown");
  if (*probe.lag > max_lag) {
    return unusable(concat("lags ", millis(*probe.lag), " behind, max_lag is ", millis(max_lag)));
  }
  return Verdict{true, {}};
}

}  // namespace

Verdict judge(Role configured, const Probe& probe, Duration max_lag) {
  if (!probe.reachable) {
    return unusable(probe.error.empty() ? std::string("not reachable") : concat("not reachable: ", probe.error));
  }
  switch (configured) {
    case Role::primary:
      if (probe.in_recovery) return unusable("in recovery: configured as primary, but it takes no writes");
      return Verdict{true, {}};
    case Role::replica:
      return judge_replica(probe, max_lag);
  }
  return unusable("unknown role");
}

}  // namespace weir::policy
