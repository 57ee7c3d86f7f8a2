// What the functions of pg_catalog do that their volatility does not tell: which volatile ones leave no trace, which
// stable ones are not so harmless, which keep state in the session, which read tables they are given by name.
#pragma once

#include <optional>
#include <string_view>

#include "router/plan.hpp"

namespace weir::router {

struct BuiltinTraits {
  bool read_only = false;    // gives the same answer on a replica, as far as a volatile function can
  Effects effects = {};      // what it leaves behind in the session
  bool home = false;         // its state is the home shard's: locks, sequences, large objects
  bool reads_data = false;   // executes SQL text, or reads relations given by name
};

// The traits of a function of pg_catalog (PostgreSQL 15) that its volatility does not describe. None: a function that
// is not in the list; then it leaves no trace if it is not volatile, and nobody knows if it is.
[[nodiscard]] std::optional<BuiltinTraits> builtin_traits(std::string_view name);

}  // namespace weir::router
