#include "base/log.hpp"

#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace weir::log {
namespace {

class Recorder : public Sink {
 public:
  void write(Level, std::string_view line, std::span<const Field> fields) override {
    lines.emplace_back(line);
    for (const Field& f : fields) lines.back() += std::string(" ").append(f.name).append("=").append(f.value);
  }
  std::vector<std::string> lines;
};

TEST(Log, WritesFromTheLowestLevelUpAndIsSilentWithoutASink) {
  Recorder recorder;
  info("nobody listens");
  EXPECT_FALSE(enabled(Level::error));
  set_sink(&recorder, Level::warning);
  debug("d");
  info("i");
  warning("w", {{"user", "bob"}});
  error("e");
  EXPECT_TRUE(enabled(Level::warning));
  EXPECT_FALSE(enabled(Level::info));
  set_sink(nullptr, Level::info);
  error("nobody listens");
  EXPECT_EQ(recorder.lines, (std::vector<std::string>{"w user=bob", "e"}));
}

}  // namespace
}  // namespace weir::log
