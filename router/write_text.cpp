#include "router/write_text.hpp"

#include <algorithm>

#include "base/strings.hpp"
#include "router/scatter_context.hpp"

namespace weir::router {
TextParts::TextParts(Node* root, const AnalysisInput& input) : input_(input) {
  auto tokens = tokens_of(input.sql);
  readable_ = tokens.has_value();
  if (tokens) tokens_ = std::move(*tokens);
  for_each_node(root, [&](Node* node) {
    const auto* ref = pg::as<ParamRef>(node, T_ParamRef);
    if (ref == nullptr) return true;
    readable_ = readable_ && ref->location >= 0 && ref->number > 0 && ref->number <= 65535;
    parameters_.push_back({static_cast<std::size_t>(std::max(ref->location, 0)), static_cast<std::uint16_t>(ref->number)});
    return true;
  });
  std::sort(parameters_.begin(), parameters_.end(), [](const Use& a, const Use& b) { return a.at < b.at; });
}

bool TextParts::is_word(std::size_t token, std::string_view lower) const {
  return token < tokens_.size() && tokens_[token].kind == TokenKind::word && ascii_lower(text_of(tokens_[token])) == lower;
}

std::size_t TextParts::token_at(std::size_t offset) const {
  const auto found = std::lower_bound(tokens_.begin(), tokens_.end(), offset, [](const Token& t, std::size_t o) { return t.begin() < o; });
  return found != tokens_.end() && found->begin() == offset ? static_cast<std::size_t>(found - tokens_.begin()) : tokens_.size();
}

std::size_t TextParts::closing(std::size_t open) const {
  std::size_t depth = 0;
  for (std::size_t i = open; i < tokens_.size(); ++i) {
    if (tokens_[i].kind == TokenKind::open) ++depth;
    if (tokens_[i].kind == TokenKind::close && --depth == 0) return i;
  }
  return tokens_.size();
}

void TextParts::exchange(std::size_t begin, std::size_t end, std::vector<Piece> pieces) {
  // A node may be in the tree twice: SET (a, b) = (...).
  if (std::any_of(exchanges_.begin(), exchanges_.end(), [&](const Exchange& e) { return e.begin == begin && e.end == end; })) return;
  const auto at = std::upper_bound(exchanges_.begin(), exchanges_.end(), begin, [](std::size_t b, const Exchange& e) { return b < e.begin; });
  exchanges_.insert(at, {begin, end, std::move(pieces)});
}

bool TextParts::holds_literal(std::size_t begin, std::size_t end) const {
  return std::any_of(input_.literals.begin(), input_.literals.end(), [&](const Literal& l) { return l.offset >= begin && l.offset < end; });
}

TextTemplate TextParts::part(std::size_t begin, std::size_t end) const {
  std::vector<Piece> pieces;
  std::size_t at = begin, literal = 0, change = 0;
  const auto plain_until = [&](std::size_t to) {
    if (to > at) pieces.push_back({Piece::Kind::text, std::string(input_.sql.substr(at, to - at))});
    at = std::max(at, to);
  };
  for (;;) {
    while (literal < input_.literals.size() && input_.literals[literal].offset < at) ++literal;
    while (change < exchanges_.size() && exchanges_[change].begin < begin) ++change;
    const std::size_t next_literal = literal < input_.literals.size() ? input_.literals[literal].offset : end;
    const std::size_t next_change = change < exchanges_.size() ? exchanges_[change].begin : end;
    if (std::min(next_literal, next_change) >= end) break;
    if (next_change <= next_literal) {
      const Exchange& e = exchanges_[change++];
      plain_until(e.begin);
      pieces.insert(pieces.end(), e.pieces.begin(), e.pieces.end());
      at = std::max(at, e.end);
    } else {
      plain_until(next_literal);
      pieces.push_back({Piece::Kind::literal, {}, static_cast<std::uint32_t>(literal)});
      at = next_literal + input_.literals[literal].length;
    }
  }
  plain_until(end);
  std::vector<std::uint16_t> numbers;
  for (const Use& use : parameters_)
    if (use.at >= begin && use.at < end) numbers.push_back(use.number);
  std::sort(numbers.begin(), numbers.end());
  numbers.erase(std::unique(numbers.begin(), numbers.end()), numbers.end());
  return {std::move(pieces), std::move(numbers)};
}

std::vector<TextTemplate::Piece> fixed_time(const std::string& cast) {
  using Piece = TextTemplate::Piece;
  return {{Piece::Kind::text, "("}, {Piece::Kind::now}, {Piece::Kind::text, concat("::pg_catalog.timestamptz", cast.empty() ? "" : "::", cast, ")")}};
}

}  // namespace weir::router
