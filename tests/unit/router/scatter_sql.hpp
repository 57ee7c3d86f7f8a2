// Random SELECTs over several shards: aggregates, joins, subqueries, set operations, windows, each in many shapes.
#pragma once

#include <cstddef>
#include <random>
#include <string>
#include <string_view>
#include <vector>

namespace weir::router::testing {

struct ScatterStatement {
  std::string construct;  // for the report
  std::string sql;
  bool ordered = false;   // ORDER BY says the place of every row
};

// The tables: users(id), orders(user_id), works(user_id), countries (the same on every shard). See ShardedRows.
class ScatterSql {
 public:
  explicit ScatterSql(std::string_view seed);
  ScatterStatement next();

 private:
  std::size_t below(std::size_t n) { return static_cast<std::size_t>(engine_() % n); }
  bool chance(unsigned percent) { return below(100) < percent; }
  std::string pick(const std::vector<std::string>& list) { return list[below(list.size())]; }
  std::string number() { return std::to_string(below(9)); }

  std::string condition(const std::string& alias);
  std::string where(const std::string& alias);
  std::string aggregate(const std::string& alias);
  std::string group(const std::string& alias);
  std::string tail(std::size_t columns);

  ScatterStatement rows();
  ScatterStatement totals();
  ScatterStatement groups();
  ScatterStatement joins();
  ScatterStatement subqueries();
  ScatterStatement sets();
  ScatterStatement windows();
  ScatterStatement distincts();
  ScatterStatement withs();
  ScatterStatement specials();

  std::mt19937_64 engine_;
  bool ordered_ = false;
};

}  // namespace weir::router::testing
