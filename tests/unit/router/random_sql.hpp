// RandomSql: statements of every construct that the analysis reasons about, over four small tables: joins of all kinds,
// USING and NATURAL, aliases that rename columns, nested and lateral subqueries, CTEs that hide tables, conditions of
// three-valued logic. Not all of them are valid SQL: names may be ambiguous, as in life.
#pragma once

#include <cstddef>
#include <random>
#include <string>
#include <string_view>
#include <vector>

namespace weir::router::testing {

struct RandomTable {
  std::string name;
  std::vector<std::string> columns;
  std::string key;  // empty: a reference table
};
// users(id), orders(user_id), works(user_id), countries: the first three are sharded.
[[nodiscard]] const std::vector<RandomTable>& random_tables();

class RandomSql {
 public:
  // The same seed gives the same statements, as long as the compiler orders calls the same way.
  explicit RandomSql(std::string_view seed);

  std::string select() { return select(nullptr, 2, {}, Output::two_columns); }
  // INSERT ... SELECT, UPDATE or DELETE, RETURNING something.
  std::string write();

 private:
  using Names = std::vector<std::string>;
  enum class Output { two_columns, one_column };

  // An item of a FROM list.
  struct Item {
    std::string alias;
    Names columns;
    std::string key;  // empty: none
  };
  // What a query's names may mean.
  struct Scope {
    std::vector<Item> items;
    const Scope* outer = nullptr;
    Names ctes;
  };

  // Dice. Not the standard's distributions: those differ between libraries.
  std::size_t below(std::size_t n) { return static_cast<std::size_t>(engine_() % n); }
  bool chance(unsigned percent) { return below(100) < percent; }
  template <class List>
  const auto& pick(const List& list) {
    return list[below(std::size(list))];
  }

  // Conditions.
  std::string constant();
  std::string column(const Scope& scope);
  std::string key_column(const Scope& scope);
  std::string key_equality(const Scope& scope);
  std::string test(const Scope& scope, int depth);
  std::string subquery_test(const Scope& scope, int depth);
  std::string condition(const Scope& scope, int depth, int size = 3);
  std::string bound_keys(const Scope& scope);

  // FROM. Each adds to the scope what it names.
  std::string fresh_alias(const Scope& scope);
  std::string table_item(Scope& scope);
  std::string rename_columns(Item& item);
  std::string subquery_item(Scope& scope, int depth);
  std::string item(Scope& scope, int depth);
  std::string join(Scope& scope, int depth, std::size_t joins);
  std::string from_list(Scope& scope, int depth);

  std::string with(const Scope* outer, int depth, Names& ctes);
  std::string output(const Scope& scope, int depth, Output wanted);
  std::string select(const Scope* outer, int depth, Names ctes, Output wanted);
  std::string insert();

  std::mt19937_64 engine_;
};

}  // namespace weir::router::testing
