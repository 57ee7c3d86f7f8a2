// TextCache: plans by the statement's very text, with holes where its simple literals stood.
//
// It stands in front of the lexer: a text equal to a remembered one in every byte but those of plain integers and plain strings has the same
// token stream as that one, but for the values of literals, so it has the same plan. Applications send few texts, over and over. What it does not
// know, or is not sure of, goes to the lexer: it answers rarely or rightly. Bounded in number and bytes. Not thread-safe: one for each Router.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "router/plan.hpp"

namespace weir::router {

class TextCache {
 public:
  static constexpr std::size_t kSets = 256;          // a power of two
  static constexpr std::size_t kWays = 4;
  static constexpr std::size_t kMinBytes = 16;       // shorter texts are read as fast by the lexer
  static constexpr std::size_t kMaxBytes = 4096;     // of a remembered text with its context

  // What else a plan depends on.
  struct Context {
    std::span<const std::uint32_t> declared;
    std::string_view search_path, user, hints;
  };

  // The plan of `sql`, and in `literals` where its literals stand; nullptr: not known. Does not allocate once `literals` has grown.
  [[nodiscard]] const PlanRef* find(std::string_view sql, const Context& context, std::vector<Literal>& literals);

  // Remembers what the lexer and the plan cache found for a text whose lifting was certain. A text with a literal that is not a plain integer of
  // up to nine digits or a plain string is left out; in a full set only every 64th newcomer takes a place.
  void remember(std::string_view sql, const Context& context, std::span<const Literal> literals, const PlanRef& plan);

  void clear();

 private:
  struct Entry {
    PlanRef plan;                  // null: the place is free
    std::string sample;
    std::vector<Literal> holes;    // in the sample
    std::vector<std::uint32_t> declared;
    std::string search_path, user, hints;
  };
  struct Set {
    std::array<Entry, kWays> ways;
    std::uint32_t newcomers = 0;
  };

  [[nodiscard]] static bool matches(const Entry& entry, std::string_view sql, std::vector<Literal>& literals);

  std::vector<Set> sets_;          // none until something is remembered
};

}  // namespace weir::router
