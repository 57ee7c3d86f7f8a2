#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <fstream>
#include <sstream>

#include "config/load.hpp"

namespace weir::config {
namespace {

TEST(Reference, IsThePageInDocs) {
  const std::string path = WEIR_SOURCE_DIR "/docs/configuration.md";
  if (std::getenv("WEIR_WRITE_DOCS") != nullptr) std::ofstream(path) << reference_markdown();
  std::ifstream in(path);
  std::ostringstream page;
  page << in.rdbuf();
  EXPECT_EQ(page.str(), reference_markdown())
      << "to write the new text, run this test with WEIR_WRITE_DOCS=1 in the environment";
}

TEST(Reference, ShowsDefaultsRangesAndReload) {
  const std::string page = reference_markdown();
  EXPECT_THAT(page, testing::HasSubstr("| `port` | an integer from 0 to 65535 | `6432` | restart |"));
  EXPECT_THAT(page, testing::HasSubstr("| `buckets` | an integer from 1 to 1048576 (buckets) | `4096` | never |"));
  EXPECT_THAT(page, testing::HasSubstr("## `[[database.shard]]`"));
}

}  // namespace
}  // namespace weir::config
