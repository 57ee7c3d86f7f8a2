// MetricFamilies: builds prometheus-cpp's families with as little ceremony as possible.
#pragma once

#include <initializer_list>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <prometheus/metric_family.h>

#include "base/cells.hpp"

namespace weir::proxy {

using MetricLabels = std::vector<prometheus::ClientMetric::Label>;

// A family that is being filled; lasts no longer than the next counter(), gauge() or histogram() of its maker.
class FamilyBuilder {
 public:
  explicit FamilyBuilder(prometheus::MetricFamily& family) : family_(family) {}

  void add(MetricLabels labels, double value) {
    prometheus::ClientMetric& m = family_.metric.emplace_back();
    m.label = std::move(labels);
    (family_.type == prometheus::MetricType::Counter ? m.counter.value : m.gauge.value) = value;
  }
  template <class Integer>
  void add(MetricLabels labels, Integer value) {
    add(std::move(labels), static_cast<double>(value));
  }
  void add(MetricLabels labels, const LatencyHistogram::Snapshot& snapshot) {
    prometheus::ClientMetric& m = family_.metric.emplace_back();
    m.label = std::move(labels);
    std::uint64_t sum = 0;
    for (std::size_t i = 0; i < LatencyHistogram::kBounds.size(); ++i) {
      sum += snapshot.counts[i];
      m.histogram.bucket.push_back({sum, LatencyHistogram::kBounds[i] / 1e6});
    }
    m.histogram.sample_count = snapshot.total();
    m.histogram.sample_sum = static_cast<double>(snapshot.nanoseconds) / 1e9;
  }

 private:
  prometheus::MetricFamily& family_;
};

class MetricFamilies {
 public:
  explicit MetricFamilies(std::vector<prometheus::MetricFamily>& out) : out_(out) {}
  FamilyBuilder counter(std::string name, std::string help) { return add(std::move(name), std::move(help), prometheus::MetricType::Counter); }
  FamilyBuilder gauge(std::string name, std::string help) { return add(std::move(name), std::move(help), prometheus::MetricType::Gauge); }
  FamilyBuilder histogram(std::string name, std::string help) {
    return add(std::move(name), std::move(help), prometheus::MetricType::Histogram);
  }

 private:
  FamilyBuilder add(std::string name, std::string help, prometheus::MetricType type) {
    out_.push_back({std::move(name), std::move(help), type, {}});
    return FamilyBuilder(out_.back());
  }
  std::vector<prometheus::MetricFamily>& out_;
};

}  // namespace weir::proxy
