// The numbers and shapes of catalog_queries(), shared by the queries and by the builder that reads their rows.
#pragma once

#include <cstddef>

namespace weir::schema {

// In the order of catalog_queries().
enum class QueryId : std::size_t {
  search_path,
  database,
  types,
  relations,
  columns,
  system_relations,
  inherits,
  hazardous_relations,
  unique_indexes,
  view_dependencies,
  foreign_keys,
  functions,
  hazardous_operators,
  hazardous_types,
  function_sources,
  hidden_code,
  dependents,
};
inline constexpr std::size_t kQueries = 17;

// How many columns a row of each query has.
inline constexpr std::size_t kQueryColumns[kQueries] = {1, 2, 8, 6, 10, 2, 2, 2, 5, 3, 5, 7, 1, 2, 5, 3, 4};

}  // namespace weir::schema
