// The analysis against PostgreSQL itself: a statement that it routes to a shard, or to any, must answer from that
// shard's rows, and leave behind, what it does on all rows. Random statements, the same in every run.

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "router/analysis.hpp"
#include "router/lexer.hpp"
#include "tests/unit/router/random_sql.hpp"
#include "tests/unit/router/split_rows.hpp"

namespace weir::router::testing {
namespace {

class AnalysisOnServer : public ::testing::Test {
 protected:
  static void SetUpTestSuite() { split_ = new SplitRows(); }
  static void TearDownTestSuite() {
    delete split_;
    split_ = nullptr;
  }

  static std::string seed() {
    const auto* info = ::testing::UnitTest::GetInstance()->current_test_info();
    return std::string(info->test_suite_name()) + "." + info->name();
  }

  // The shards a statement may run on; none: it is refused, or needs several (scatter_plan_pgtest.cpp).
  static std::vector<std::size_t> shards_of(const std::string& sql) {
    Lifted lifted;
    lift(sql, true, lifted);
    AnalysisInput input;
    input.sql = sql, input.literals = lifted.literals, input.catalog = &split_->catalog();
    input.search_path = {"whole"};
    const Plan plan = analyse(input);
    if (plan.target == Target::refused) return {};
    Arguments arguments;
    arguments.sql = sql, arguments.literals = lifted.literals;
    const auto route = resolve(plan, arguments, split_->map());
    if (!route || !route->shards.empty()) return {};
    if (plan.target == Target::keyed && !route->any_shard) return {static_cast<std::size_t>(route->shard)};
    EXPECT_TRUE(plan.target == Target::keyed || plan.target == Target::any || plan.target == Target::no_table)
        << sql << "\nnames listed tables only";
    return {0, 1};
  }

  void compare(const std::string& sql, bool writes) {
    const std::vector<std::size_t> shards = shards_of(sql);
    if (shards.empty()) return;
    const Outcome whole = split_->run_on_whole(sql, writes);
    if (!whole.error.empty()) return;
    ++(shards.size() == 1 ? on_one_shard_ : on_any_shard_);
    for (const std::size_t shard : shards) {
      const Outcome part = split_->run_on_shard(shard, sql, writes);
      EXPECT_EQ(part, whole) << sql << "\non shard " << shard << ": " << str(part) << "\non the whole: " << str(whole);
    }
  }

  static SplitRows* split_;
  int on_one_shard_ = 0, on_any_shard_ = 0;
};
SplitRows* AnalysisOnServer::split_ = nullptr;

TEST_F(AnalysisOnServer, ASelectReadsFromItsShardWhatItReadsFromTheWhole) {
  RandomSql random(seed());
  for (int i = 0; i < 90'000 && !HasFailure(); ++i) compare(random.select(), false);
  EXPECT_GT(on_one_shard_, 4'000);
  EXPECT_GT(on_any_shard_, 500);
}

TEST_F(AnalysisOnServer, AWriteDoesToItsShardWhatItDoesToTheWhole) {
  RandomSql random(seed());
  for (int i = 0; i < 10'000 && !HasFailure(); ++i) compare(random.write(), true);
  EXPECT_GT(on_one_shard_, 2'000);
}

}  // namespace
}  // namespace weir::router::testing
