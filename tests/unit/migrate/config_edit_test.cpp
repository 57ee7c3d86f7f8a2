#include "migrate/config_edit.hpp"

#include <gtest/gtest.h>
#include <sys/stat.h>

#include <filesystem>
#include <fstream>

#include "migrate/session.hpp"

namespace weir::migrate {
namespace {

constexpr const char* kFile = R"(# The top comment stays.
[listen]
port = 6432

[[database]]
name = "other"
  [database.sharding]
  buckets = 16
  [[database.shard]]
  name = "s0"
  buckets = "0-15"          # another database's shard of the same name

[[database]]   # the one that is edited
name = 'app'
  [database.sharding]
  function = "hash"         # why hash
  buckets = 16
  map_version = 7   # raised by weirctl

  [[database.shard]]
  # buckets = "0-15"
  buckets = "0-7"           # the lower half
  name = "s0"
  primary = "host=a dbname=app"

  [[ database.shard ]]
  name = "s1"
  buckets = '8-15'
  primary = "host=b dbname=app"
)";

MapEdit edit() { return {"app", {{"s0", {{2, 7}}}, {"s1", {{0, 1}, {8, 15}}}}, 8}; }

TEST(ConfigEdit, ChangesTheLinesThatSayTheMapAndNoOthers) {
  const auto text = edit_map(kFile, edit());
  ASSERT_TRUE(text) << text.error().message;
  std::string expected = kFile;
  const auto replace = [&expected](const std::string& from, const std::string& to) {
    expected.replace(expected.find(from), from.size(), to);
  };
  replace("map_version = 7   # raised", "map_version = 8   # raised");
  replace("buckets = \"0-7\"           # the", "buckets = \"2-7\"           # the");
  replace("buckets = '8-15'", "buckets = \"0-1,8-15\"");
  EXPECT_EQ(*text, expected);
}

TEST(ConfigEdit, WritesAMissingMapVersionBelowItsHeader) {
  std::string file = kFile;
  const std::string line = "  map_version = 7   # raised by weirctl\n";
  file.erase(file.find(line), line.size());
  const auto text = edit_map(file, edit());
  ASSERT_TRUE(text) << text.error().message;
  EXPECT_NE(text->find("  [database.sharding]\n  map_version = 8\n  function = \"hash\""), std::string::npos) << *text;
}

TEST(ConfigEdit, KeepsTheLinesEndsAsTheyAre) {
  const auto text = edit_map(
      "[[database]]\r\nname = \"app\"\r\n[database.sharding]\r\nmap_version = 1\r\n[[database.shard]]\r\nname = "
      "\"s0\"\r\nbuckets = \"0-3\"",
      {"app", {{"s0", {{1, 3}}}}, 2});
  ASSERT_TRUE(text) << text.error().message;
  EXPECT_EQ(*text,
            "[[database]]\r\nname = \"app\"\r\n[database.sharding]\r\nmap_version = 2\r\n[[database.shard]]\r\nname = "
            "\"s0\"\r\nbuckets = \"1-3\"");
}

TEST(ConfigEdit, SaysWhatItDidNotFind) {
  MapEdit unknown = edit();
  unknown.shards[0].name = "s9";
  const auto text = edit_map(kFile, unknown);
  ASSERT_FALSE(text);
  EXPECT_NE(text.error().message.find("s9"), std::string::npos);
  unknown.database = "nothing";
  EXPECT_FALSE(edit_map(kFile, unknown));
}

TEST(ConfigEdit, ReplacesAFileInOneStepWithItsMode) {
  const std::string path = testing::TempDir() + "config_edit_test.toml";
  std::ofstream(path) << "old";
  ::chmod(path.c_str(), 0640);
  write_beside(path, path + ".new", "new");
  EXPECT_EQ(read_file(path), "old");
  replace_file(path + ".new", path);
  EXPECT_EQ(read_file(path), "new");
  struct stat info {};
  ASSERT_EQ(::stat(path.c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 0777U, 0640U);
  EXPECT_FALSE(std::filesystem::exists(path + ".new"));
  std::filesystem::remove(path);
}

TEST(ConfigEdit, NamesAFileItCannotRead) {
  EXPECT_THROW(static_cast<void>(read_file("/nonexistent/weir.toml")), Failure);
}

}  // namespace
}  // namespace weir::migrate
