// Plans over several shards against PostgreSQL itself: the same statement over all rows in one place must give the same
// columns and rows. Random statements, the same in every run.

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdio>
#include <map>
#include <random>
#include <string>
#include <vector>

#include "base/strings.hpp"
#include "router/analysis.hpp"
#include "router/lexer.hpp"
#include "tests/unit/router/other_numbers.hpp"
#include "tests/unit/router/scatter_sql.hpp"
#include "tests/unit/router/sharded_rows.hpp"

namespace weir::router::testing {
namespace {

struct Tally {
  int stream = 0, finish = 0, one = 0, refused = 0, failed = 0;
};

class ScatterOnServer : public ::testing::Test {
 protected:
  static void SetUpTestSuite() { rows_ = new ShardedRows(); }
  static void TearDownTestSuite() {
    delete rows_;
    rows_ = nullptr;
  }

  static std::string seed() {
    const auto* info = ::testing::UnitTest::GetInstance()->current_test_info();
    return std::string(info->test_suite_name()) + "." + info->name();
  }

  static Plan plan_of(const std::string& sql, const Lifted& lifted) {
    AnalysisInput input;
    input.sql = sql, input.literals = lifted.literals, input.catalog = &rows_->catalog();
    input.search_path = {"whole"};
    return analyse(input);
  }

  void check(const ScatterStatement& statement, const std::string& sql, const Plan& plan, Tally& tally) {
    Lifted lifted;
    lift(sql, true, lifted);
    Arguments arguments;
    arguments.sql = sql, arguments.literals = lifted.literals;
    const auto route = plan.target == Target::refused ? Result<Route>(Error()) : resolve(plan, arguments, rows_->map());
    if (!route) {
      ++tally.refused;
      if (plan.refusal) ++reasons_[plan.refusal->message];
      return;
    }
    if (route->shards.empty()) {
      ++tally.one;
      return;
    }
    Answer whole = rows_->run_on_whole(sql);
    if (!whole.error.empty()) return;
    if (plan.scatter->otherwise) compare(statement, sql, *plan.scatter->otherwise, *route, arguments, whole, tally);
    compare(statement, sql, *plan.scatter, *route, arguments, std::move(whole), tally);
  }

  void compare(const ScatterStatement& statement, const std::string& sql, const ScatterPlan& plan, const Route& route,
               const Arguments& arguments, Answer whole, Tally& tally) {
    Answer mine = rows_->run(plan, route, arguments);
    // An error is no answer: a shard may look at a row that one server would have left out (LIMIT 0).
    if (mine.error.find("division by zero") != std::string::npos) return;
    if (mine.error.starts_with("driver:")) {
      if (plan.otherwise) return;
      ++tally.failed;
      ++reasons_[mine.error];
      return;
    }
    ++(plan.strategy == ScatterPlan::Strategy::stream ? tally.stream : tally.finish);
    if (!statement.ordered) {
      std::sort(whole.rows.begin(), whole.rows.end());
      std::sort(mine.rows.begin(), mine.rows.end());
    }
    EXPECT_TRUE(mine == whole) << statement.construct << ": " << sql << "\nplan: " << texts(plan, arguments)
                           << "\nover shards: " << str(mine) << "\non the whole: " << str(whole);
  }

  static std::string texts(const ScatterPlan& plan, const Arguments& arguments) {
    Rendering rendering;
    rendering.arguments = &arguments;
    std::string out = concat(name_of(plan.strategy), ": ", plan.shard_sql.render(rendering));
    for (const Gathered& gathered : plan.gathered) out += concat("\n  ", gathered.shard_sql.render(rendering));
    return concat(out, "\n  ", plan.finish_sql.render(rendering));
  }

  void report() const {
    for (const auto& [construct, tally] : tallies_)
      std::printf("%-34s stream %5d  finish %5d  one shard %5d  refused %5d  refused by the driver %d\n", construct.c_str(),
                  tally.stream, tally.finish, tally.one, tally.refused, tally.failed);
    for (const auto& [reason, count] : reasons_) std::printf("%6d  %s\n", count, reason.c_str());
  }

  static ShardedRows* rows_;
  std::map<std::string, Tally> tallies_;
  std::map<std::string, int> reasons_;
};
ShardedRows* ScatterOnServer::rows_ = nullptr;

TEST_F(ScatterOnServer, AStatementOverShardsAnswersAsOnePostgreSQL) {
  ScatterSql random(seed());
  std::mt19937_64 dice(1);
  int answered = 0, asked = 0;
  for (int i = 0; i < 6'000 && !HasFailure(); ++i) {
    const ScatterStatement statement = random.next();
    Lifted lifted;
    lift(statement.sql, true, lifted);
    const Plan plan = plan_of(statement.sql, lifted);
    Tally& tally = tallies_[statement.construct];
    check(statement, statement.sql, plan, tally);
    check(statement, with_other_numbers(statement.sql, lifted, dice, 9), plan, tally);
  }
  for (const auto& [construct, tally] : tallies_) {
    answered += tally.stream + tally.finish;
    asked += tally.stream + tally.finish + tally.refused + tally.failed;
  }
  report();
  EXPECT_GT(answered, asked * 9 / 10);
}

}  // namespace
}  // namespace weir::router::testing
