// Parts of a statement's own text as templates: where the text of a shard differs from the client's in few places, it is the client's text with
// these exchanged. Nothing of it is written anew, so nothing can be lost on the way.
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "router/analysis.hpp"
#include "router/pg_tree.hpp"
#include "router/scatter_plan.hpp"
#include "router/text_tokens.hpp"

namespace weir::router {

class TextParts {
 public:
  // `root` was parsed from input.sql, which is one statement. Both must outlive this.
  TextParts(Node* root, const AnalysisInput& input);

  // False: the text cannot be cut into tokens.
  [[nodiscard]] bool readable() const { return readable_; }
  [[nodiscard]] const std::vector<Token>& tokens() const { return tokens_; }
  [[nodiscard]] std::string_view text_of(const Token& token) const { return token.piece.in(input_.sql); }
  [[nodiscard]] bool is_word(std::size_t token, std::string_view lower) const;
  // The token that begins there; tokens().size(): none does.
  [[nodiscard]] std::size_t token_at(std::size_t offset) const;
  // The one that closes what `open` opens; tokens().size(): none.
  [[nodiscard]] std::size_t closing(std::size_t open) const;

  using Piece = TextTemplate::Piece;
  // What stands in [begin, end) is exchanged in every part that holds it. Ranges do not overlap; an empty one puts something in.
  void exchange(std::size_t begin, std::size_t end, std::vector<Piece> pieces);
  // A lifted literal stands in there.
  [[nodiscard]] bool holds_literal(std::size_t begin, std::size_t end) const;

  [[nodiscard]] bool is_changed() const { return !exchanges_.empty(); }
  [[nodiscard]] TextTemplate part(std::size_t begin, std::size_t end) const;

 private:
  struct Exchange {
    std::size_t begin, end;
    std::vector<Piece> pieces;
  };
  struct Use {
    std::size_t at;
    std::uint16_t number;
  };
  const AnalysisInput& input_;
  bool readable_ = false;
  std::vector<Token> tokens_;
  std::vector<Use> parameters_;      // in text order
  std::vector<Exchange> exchanges_;  // in text order
};

// "('2026-11-21 ...'::pg_catalog.timestamptz::date)"
[[nodiscard]] std::vector<TextTemplate::Piece> fixed_time(const std::string& cast);

}  // namespace weir::router
