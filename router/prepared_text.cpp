#include "router/prepared_text.hpp"

#include <string>

#include "base/strings.hpp"
#include "router/text_tokens.hpp"

namespace weir::router {
namespace {

std::string name_of(const Token& token, std::string_view sql) {
  const std::string_view raw = token.piece.in(sql);
  if (token.kind == TokenKind::word) return ascii_lower(raw);
  std::string name;
  for (std::size_t i = 1; i + 1 < raw.size(); ++i) {
    name += raw[i];
    if (raw[i] == '"') ++i;   // doubled
  }
  return name;
}

// PostgreSQL cuts names to 63 bytes.
bool is_name(const Token& token, std::string_view sql, std::string_view wanted) {
  constexpr std::size_t kLongest = 63;
  if (token.kind != TokenKind::word && token.kind != TokenKind::name) return false;
  const std::string name = name_of(token, sql);
  return name == wanted || (name.size() > kLongest && name.starts_with(wanted) && wanted.size() + 4 > kLongest);
}

// One statement of the text, token by token; `found` gets the places of its uses.
class StatementScan {
 public:
  StatementScan(std::string_view sql, std::vector<Token> tokens) : sql_(sql), tokens_(std::move(tokens)) {}

  [[nodiscard]] std::optional<PreparedPlace> find(const PreparedUse& use) const {
    switch (use.kind) {
      case PreparedUse::Kind::prepare: return prepare(use);
      case PreparedUse::Kind::execute: return execute(use);
      case PreparedUse::Kind::deallocate: return deallocate(use);
      case PreparedUse::Kind::deallocate_all: return PreparedPlace{};
    }
    return std::nullopt;
  }

 private:
  [[nodiscard]] bool at(std::size_t i, std::string_view wanted) const { return i < tokens_.size() && is_word(tokens_[i], sql_, wanted); }

  [[nodiscard]] std::optional<PreparedPlace> prepare(const PreparedUse& use) const {
    if (!at(0, "prepare") || tokens_.size() < 4 || !is_name(tokens_[1], sql_, use.name)) return std::nullopt;
    PreparedPlace place{.name = tokens_[1].piece, .types = {}, .query = {}};
    std::size_t i = 2;
    if (tokens_[i].kind == TokenKind::open) {
      std::size_t depth = 1;
      while (++i < tokens_.size() && depth > 0) {
        if (tokens_[i].kind == TokenKind::open) ++depth;
        if (tokens_[i].kind == TokenKind::close) --depth;
      }
      place.types = between(tokens_[2].piece.offset + 1, tokens_[i - 1].piece.offset);
    }
    if (!at(i, "as") || i + 1 >= tokens_.size()) return std::nullopt;
    const TextPiece& last = tokens_.back().piece;
    place.query = between(tokens_[i + 1].piece.offset, last.offset + last.size);
    return place;
  }

  // EXECUTE, EXPLAIN ... EXECUTE, CREATE TABLE ... AS EXECUTE.
  [[nodiscard]] std::optional<PreparedPlace> execute(const PreparedUse& use) const {
    std::size_t depth = 0;
    for (std::size_t i = 0; i + 1 < tokens_.size(); ++i) {
      if (tokens_[i].kind == TokenKind::open) ++depth;
      if (tokens_[i].kind == TokenKind::close && depth > 0) --depth;
      if (depth > 0 || !at(i, "execute") || !is_name(tokens_[i + 1], sql_, use.name)) continue;
      const bool explained = i > 0 && at(0, "explain") &&
                             (i == 1 || at(i - 1, "analyze") || at(i - 1, "analyse") || at(i - 1, "verbose") || tokens_[i - 1].kind == TokenKind::close);
      if (i == 0 || explained || at(i - 1, "as")) return PreparedPlace{.name = tokens_[i + 1].piece, .types = {}, .query = {}};
    }
    return std::nullopt;
  }

  [[nodiscard]] std::optional<PreparedPlace> deallocate(const PreparedUse& use) const {
    const std::size_t i = tokens_.size() > 2 && at(1, "prepare") ? 2 : 1;
    if (!at(0, "deallocate") || i >= tokens_.size() || !is_name(tokens_[i], sql_, use.name)) return std::nullopt;
    return PreparedPlace{.name = tokens_[i].piece, .types = {}, .query = {}};
  }

  static TextPiece between(std::size_t from, std::size_t to) { return {from, to - from}; }

  std::string_view sql_;
  std::vector<Token> tokens_;
};

// The statements that are not empty. None: not certain.
std::optional<std::vector<StatementScan>> split(std::string_view sql) {
  std::vector<StatementScan> statements;
  std::vector<Token> tokens;
  std::size_t depth = 0;
  Tokens source(sql);
  for (;;) {
    const Token token = source.next();
    if (token.kind == TokenKind::doubtful) return std::nullopt;
    if (is_word(token, sql, "atomic")) return std::nullopt;   // a function's body has semicolons of its own
    if (token.kind == TokenKind::open) ++depth;
    if (token.kind == TokenKind::close && depth > 0) --depth;
    const bool ends = token.kind == TokenKind::end || (token.kind == TokenKind::semicolon && depth == 0);
    if (!ends) tokens.push_back(token);
    if (ends && !tokens.empty()) statements.emplace_back(sql, std::exchange(tokens, {}));
    if (token.kind == TokenKind::end) return statements;
  }
}

}  // namespace

std::optional<std::vector<PreparedPlace>> find_prepared(std::string_view sql, const std::vector<PreparedUse>& uses) {
  const auto statements = split(sql);
  if (!statements) return std::nullopt;
  std::vector<PreparedPlace> places;
  for (const PreparedUse& use : uses) {
    if (use.statement >= statements->size()) return std::nullopt;
    auto place = (*statements)[use.statement].find(use);
    if (!place) return std::nullopt;
    places.push_back(*place);
  }
  return places;
}

}  // namespace weir::router
