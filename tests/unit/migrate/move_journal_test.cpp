#include "migrate/move_journal.hpp"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

#include "migrate/session.hpp"

namespace weir::migrate {
namespace {

class MoveJournalTest : public testing::Test {
 protected:
  void SetUp() override { std::ofstream(file_) << "# weir.toml"; }
  void TearDown() override {
    MoveJournal::remove(file_);
    std::filesystem::remove(file_);
  }
  const std::string file_ = testing::TempDir() + "move_journal_test.toml";
};

TEST_F(MoveJournalTest, ReadsBackWhatItWrote) {
  MoveJournal journal{"app", "s0", "s1", "0-9,12", 3, 4, true, {{R"("public"."my orders")", {"12", "-34"}}}, true};
  journal.save(file_);
  const auto read = MoveJournal::load(file_);
  ASSERT_TRUE(read);
  EXPECT_EQ(read->database, "app");
  EXPECT_EQ(read->from, "s0");
  EXPECT_EQ(read->to, "s1");
  EXPECT_EQ(read->buckets, "0-9,12");
  EXPECT_EQ(read->old_version, 3U);
  EXPECT_EQ(read->new_version, 4U);
  EXPECT_TRUE(read->copying);
  EXPECT_TRUE(read->deleting);
  EXPECT_EQ(read->copied, journal.copied);
}

TEST_F(MoveJournalTest, IsNoneWhereNoMoveIsUnderWay) { EXPECT_FALSE(MoveJournal::load(file_)); }

TEST_F(MoveJournalTest, RefusesAFileThatIsNoJournal) {
  std::ofstream(MoveJournal::path_for(file_)) << "something else\n";
  EXPECT_THROW(static_cast<void>(MoveJournal::load(file_)), Failure);
}

}  // namespace
}  // namespace weir::migrate
