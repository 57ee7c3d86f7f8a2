// Metrics: everything that is counted, as prometheus-cpp's families; docs/monitoring.md lists them.
#pragma once

#include <string>
#include <vector>

#include <prometheus/metric_family.h>

namespace weir::proxy {

class Proxy;

// Everything. Blocks for a worker that hangs, up to a second. Not to be called from a worker.
[[nodiscard]] std::vector<prometheus::MetricFamily> collect_metrics(Proxy& proxy);
// Of the process alone: also while the proxy starts.
void collect_process(std::vector<prometheus::MetricFamily>& families);
// Prometheus' text format.
[[nodiscard]] std::string metrics_text(const std::vector<prometheus::MetricFamily>& families);

}  // namespace weir::proxy
