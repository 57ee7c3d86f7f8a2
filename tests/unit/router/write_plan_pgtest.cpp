// Writes over several shards against PostgreSQL itself: the same statement over all rows in one place must count, return and leave behind the same.
// Random statements, the same in every run.

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
#include "tests/unit/router/written_shards.hpp"

namespace weir::router::testing {
namespace {

// Statements by a small grammar; some cannot be routed, some are errors.
class WriteSql {
 public:
  explicit WriteSql(const std::string& seed) {
    std::seed_seq sequence(seed.begin(), seed.end());
    random_.seed(sequence);
  }

  std::string next() {
    switch (random_() % 8) {
      case 0:
      case 1:
        return insert();
      case 2:
        return insert_select();
      case 3:
      case 4:
        return update();
      case 5:
        return remove();
      default:
        return reference();
    }
  }

 private:
  template <class... T>
  std::string one_of(T... texts) {
    const std::string all[] = {std::string(texts)...};
    return all[random_() % sizeof...(T)];
  }
  std::string number(int below = 16) { return std::to_string(random_() % static_cast<unsigned>(below)); }

  std::string rows(const std::string& first, const std::vector<std::string>& cells) {
    std::string out;
    const auto count = 1 + random_() % 5;
    for (std::size_t i = 0; i < count; ++i) {
      out += concat(i > 0 ? ", " : "", "(", number(24), ", ", std::to_string(100 * (random_() % 2) + random_() % 40));
      for (const std::string& cell : cells) out += concat(", ", random_() % 5 == 0 ? std::string("DEFAULT") : cell);
      out += ")";
    }
    return concat(first, " VALUES ", out);
  }

  std::string insert() {
    if (random_() % 3 == 0) {
      std::string values;
      for (auto i = 1 + random_() % 4; i > 0; --i) values += concat(values.empty() ? "" : ", ", "(", number(30), ", ", one_of("'x)'", "DEFAULT", "upper('a')", "'1' || '2'"), ")");
      return concat("INSERT INTO users (id, name) VALUES ", values,
                    one_of("", " ON CONFLICT DO NOTHING", " ON CONFLICT (id) DO UPDATE SET name = excluded.name || users.name", " ON CONFLICT (id) DO UPDATE SET friend = 60"),
                    one_of("", " RETURNING *", " RETURNING id, name AS n"));
    }
    return concat(rows("INSERT INTO orders (user_id, id, qty, at, note)", {one_of("1", "2 + 3", "-4"), one_of("now()", "NULL", "current_date", "localtimestamp"), one_of("'a'", "E'\\''", "$$)$$")}),
                  one_of("", "", " ON CONFLICT DO NOTHING", " ON CONFLICT (user_id, id) DO UPDATE SET qty = orders.qty + excluded.qty WHERE orders.qty > 3", " ON CONFLICT (id) DO NOTHING"),
                  one_of("", " RETURNING *", " RETURNING id, qty * 2", " RETURNING now() AS n, note"));
  }

  std::string insert_select() {
    return concat("INSERT INTO works (user_id, id, title) SELECT ",
                  one_of("o.user_id, o.id, o.status FROM orders o", "id, 1, name FROM users u WHERE EXISTS (SELECT FROM orders o WHERE o.user_id = u.id AND qty > 5)",
                         "u.id, o.id, c.title FROM users u JOIN orders o ON o.user_id = u.id LEFT JOIN countries c ON c.code = o.status",
                         "user_id, count(*), max(title) FROM works GROUP BY user_id", "DISTINCT user_id, 5, 'd' FROM orders", "friend, 1, 'x' FROM users",
                         "id, 1, 'x' FROM users ORDER BY id LIMIT 3", "user_id, row_number() OVER (PARTITION BY user_id ORDER BY id), 'w' FROM orders",
                         "user_id, row_number() OVER (ORDER BY id), 'w' FROM orders", "user_id, id, 'x' FROM orders WHERE user_id IN (1, 2, 3)", "max(id), 1, 'm' FROM users"),
                  one_of("", "", " RETURNING user_id, id"));
  }

  std::string where(const std::string& alias, const std::string& key) {
    const std::string qualified = concat(alias, ".", key);
    return one_of("", concat(" WHERE ", qualified, " IN (", number(), ", ", number(), ", ", number(), ")"), concat(" WHERE ", qualified, " > ", number()),
                  concat(" WHERE EXISTS (SELECT FROM users u WHERE u.id = ", qualified, " AND u.name = 'U", number(5), "')"),
                  concat(" WHERE ", qualified, " IN (SELECT user_id FROM works WHERE title = 's", number(3), "')"),
                  concat(" WHERE ", qualified, " NOT IN (SELECT user_id FROM works WHERE title = 's", number(3), "')"),
                  concat(" WHERE ", qualified, " = ANY (ARRAY[", number(), ", ", number(), "]) AND ", alias, ".id < ", number(50)),
                  concat(" WHERE (SELECT count(*) FROM works w WHERE w.user_id = ", qualified, ") > ", number(3)), concat(" WHERE ", alias, ".id = (SELECT max(id) FROM orders)"),
                  concat(" WHERE ", alias, ".id % 3 = ", number(3)));
  }

  std::string update() {
    switch (random_() % 4) {
      case 0:
        return concat("UPDATE orders o SET status = u.name, qty = DEFAULT FROM users u WHERE o.", one_of("user_id", "user_id", "id"), " = u.id", one_of("", " AND u.friend > 4"), one_of("", " RETURNING o.*, u.name"));
      case 1:
        return concat("UPDATE orders o SET (qty, at) = (qty + 1, ", one_of("now()", "now() - interval '1 day'", "current_timestamp", "clock_timestamp()"), ")", where("o", "user_id"), one_of("", " RETURNING user_id, id, at"));
      case 2:
        return concat("UPDATE users u SET name = (SELECT ", one_of("max(status)", "string_agg(status, ',' ORDER BY id)", "count(*)::text"), " FROM orders o WHERE o.", one_of("user_id", "user_id", "qty"), " = u.id)", where("u", "id"));
      default:
        return concat("UPDATE works w SET title = ", one_of("upper(title)", "(SELECT title FROM countries c WHERE c.code = w.title)", "NULL", "random()::text"), one_of("", " || 'x'"), where("w", "user_id"), one_of("", " RETURNING *"));
    }
  }

  std::string remove() {
    if (random_() % 3 == 0)
      return concat("DELETE FROM orders o USING ", one_of("users u, countries c WHERE c.code = o.status AND ", "users u WHERE ", "works u WHERE u.id = 3 AND "), one_of("o.user_id = u.id", "o.id = u.id"), one_of("", " RETURNING o.id"));
    return concat(one_of("", "WITH c AS (SELECT code FROM countries) "), "DELETE FROM orders o", where("o", "user_id"), one_of("", " RETURNING *"));
  }

  std::string reference() {
    switch (random_() % 4) {
      case 0: {
        std::string values;
        for (auto i = 1 + random_() % 3; i > 0; --i) values += concat(values.empty() ? "" : ", ", "('", one_of("s", "n"), number(6), "', ", one_of("'t'", "DEFAULT"), ")");
        return concat("INSERT INTO countries ", one_of("(code, title)", ""), " VALUES ", values, one_of("", " ON CONFLICT DO NOTHING", " ON CONFLICT (code) DO UPDATE SET title = excluded.title, made = now()", " ON CONFLICT (code) DO UPDATE SET made = DEFAULT"),
                      one_of("", " RETURNING *", " RETURNING code, made, day"));
      }
      case 1:
        return concat("UPDATE countries SET ", one_of("title = lower(title)", "made = now()", "made = DEFAULT, title = DEFAULT", "id = (SELECT count(*) FROM countries)", "day = current_date - 1", "(made, day) = (DEFAULT, '2020-01-01')"), one_of("", " WHERE id > 1", " WHERE code IN (SELECT code FROM countries WHERE id = 2)"), one_of("", " RETURNING *"));
      case 2:
        return concat("INSERT INTO countries (code, made, day, id) SELECT code || 'x', ", one_of("made", "now()"), ", day, id FROM countries", one_of("", " WHERE id < 2"), one_of("", " RETURNING code"));
      default:
        return concat("DELETE FROM countries", one_of("", " WHERE id = 1", " c USING countries d WHERE d.id = c.id + 1"), one_of("", " RETURNING code"));
    }
  }

  std::mt19937_64 random_;
};

class WritesOnServer : public ::testing::Test {
 protected:
  static void SetUpTestSuite() { shards_ = new WrittenShards(); }
  static void TearDownTestSuite() {
    delete shards_;
    shards_ = nullptr;
  }

  static Plan plan_of(const std::string& sql, const Lifted& lifted) {
    AnalysisInput input;
    input.sql = sql, input.literals = lifted.literals, input.catalog = &shards_->catalog();
    input.search_path = {"whole"};
    return analyse(input);
  }

  void check(const std::string& sql, const Plan& plan) {
    Lifted lifted;
    lift(sql, true, lifted);
    Arguments arguments;
    arguments.sql = sql, arguments.literals = lifted.literals;
    const auto route = plan.target == Target::refused ? Result<Route>(plan.refusal.value_or(Error())) : resolve(plan, arguments, shards_->map());
    if (!route) {
      ++reasons_[route.error().message];
      return;
    }
    if (route->shards.empty()) return;
    Written whole = shards_->run_on_whole(sql);
    Written mine = shards_->run(plan, *route, arguments);
    ++answered_[concat(name_of(plan.scatter->write->kind), whole.error.empty() ? "" : " (errors)")];
    const bool ordered = plan.scatter->write->kind == WritePlan::Kind::rows && sql.find("ON CONFLICT") == std::string::npos;
    if (!ordered) {
      std::sort(whole.rows.begin(), whole.rows.end());
      std::sort(mine.rows.begin(), mine.rows.end());
    }
    // Of several errors any may be the first.
    EXPECT_TRUE(mine == whole || (!mine.error.empty() && !whole.error.empty())) << sql << "\nover shards: " << str(mine) << "\non the whole: " << str(whole);
  }

  static WrittenShards* shards_;
  std::map<std::string, int> answered_, reasons_;
};
WrittenShards* WritesOnServer::shards_ = nullptr;

TEST_F(WritesOnServer, AWriteOverShardsDoesWhatOnePostgreSQLDoes) {
  WriteSql random("WritesOnServer");
  std::mt19937_64 dice(1);
  for (int i = 0; i < 2'000 && !HasFailure(); ++i) {
    const std::string sql = random.next();
    Lifted lifted;
    lift(sql, true, lifted);
    const Plan plan = plan_of(sql, lifted);
    check(sql, plan);
    check(with_other_numbers(sql, lifted, dice, 16), plan);
  }
  for (const auto& [kind, count] : answered_) std::printf("%6d  %s\n", count, kind.c_str());
  for (const auto& [reason, count] : reasons_) std::printf("%6d  refused: %s\n", count, reason.c_str());
  EXPECT_GT(answered_["each"], 500);
  EXPECT_GT(answered_["rows"], 200);
  EXPECT_GT(answered_["same"], 300);
}

}  // namespace
}  // namespace weir::router::testing
