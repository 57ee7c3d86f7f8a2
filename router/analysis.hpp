// Analysis: parse tree and catalog to Plan. Decides what provably binds the key of every sharded table (design §5),
// what a statement leaves behind, and whether it is read-only. Pure; any thread.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "router/plan.hpp"
#include "schema/catalog.hpp"

namespace weir::router {

struct AnalysisInput {
  std::string_view sql;
  std::span<const Literal> literals;  // where the lexer lifted; a constant at such an offset becomes KeySource::literal
  std::span<const std::uint32_t> declared;  // Parse's parameter types
  const schema::Catalog* catalog = nullptr;
  std::vector<std::string> search_path;  // parsed; never empty
  std::string_view hints{};  // of the session (router/hint.hpp)
  bool alone = true;  // the text is one statement, as far as that is known; only such a one is planned over several shards
};

// Never fails (see Router::plan). Depth of the tree is limited; deeper text is refused (54001 stack depth) or
// Verb::unparsable.
[[nodiscard]] Plan analyse(const AnalysisInput& input);
using Analysis = Plan(const AnalysisInput&);

}  // namespace weir::router
