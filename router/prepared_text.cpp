#include "router/prepared_text.hpp"

#include <string>

#include "base/strings.hpp"
#include "router/lexer_chars.hpp"
#include "router/lexer_scan.hpp"

namespace weir::router {
namespace {

enum class TokenKind : std::uint8_t { end, word, name, open, close, comma, semicolon, other, doubtful };
struct Token {
  TokenKind kind = TokenKind::end;
  TextPiece piece;
};

// Tokens of a text that PostgreSQL's parser has accepted: only where they begin and end matters.
class Tokens {
 public:
  explicit Tokens(std::string_view sql)
      : text_(sql), begin_(reinterpret_cast<const std::uint8_t*>(sql.data())), end_(begin_ + sql.size()), at_(begin_) {}

  Token next();
  [[nodiscard]] std::string_view text() const { return text_; }

 private:
  void skip_blanks();
  Token up_to(TokenKind kind, const std::uint8_t* from, const std::uint8_t* past);
  Token word(const std::uint8_t* from);
  Token dollar(const std::uint8_t* from);

  std::string_view text_;
  const std::uint8_t* begin_;
  const std::uint8_t* end_;
  const std::uint8_t* at_;
};

void Tokens::skip_blanks() {
  for (;;) {
    while (at_ < end_ && (kKinds[*at_] == Kind::blank || *at_ == '\v')) ++at_;
    if (end_ - at_ >= 2 && at_[0] == '-' && at_[1] == '-') {
      while (at_ < end_ && *at_ != '\n' && *at_ != '\r') ++at_;
    } else if (end_ - at_ >= 2 && at_[0] == '/' && at_[1] == '*') {
      const std::uint8_t* past = after_comment(at_, end_);
      at_ = past == nullptr ? end_ : past;
    } else {
      return;
    }
  }
}

Token Tokens::up_to(TokenKind kind, const std::uint8_t* from, const std::uint8_t* past) {
  if (past == nullptr) {
    at_ = end_;
    return {TokenKind::doubtful, {}};
  }
  at_ = past;
  return {kind, {static_cast<std::size_t>(from - begin_), static_cast<std::size_t>(past - from)}};
}

Token Tokens::word(const std::uint8_t* from) {
  const std::uint8_t* past = from;
  while (past < end_ && kFolded[*past] != 0) ++past;
  const std::string prefix = ascii_lower({reinterpret_cast<const char*>(from), static_cast<std::size_t>(past - from)});
  if (past < end_ && *past == '\'' && prefix == "e") return up_to(TokenKind::other, from, after_escapes(past + 1, end_));
  if (past < end_ && *past == '\'' && (prefix == "b" || prefix == "x" || prefix == "n"))
    return up_to(TokenKind::other, from, after_quotes(past + 1, end_, '\''));
  if (end_ - past >= 2 && *past == '&' && prefix == "u" && (past[1] == '\'' || past[1] == '"')) return {TokenKind::doubtful, {}};
  return up_to(TokenKind::word, from, past);
}

// $tag$ ... $tag$, or a parameter.
Token Tokens::dollar(const std::uint8_t* from) {
  const std::uint8_t* past = from + 1;
  if (past < end_ && kKinds[*past] == Kind::digit) {
    while (past < end_ && kKinds[*past] == Kind::digit) ++past;
    return up_to(TokenKind::other, from, past);
  }
  while (past < end_ && *past != '$' && kFolded[*past] != 0) ++past;
  if (past == end_ || *past != '$') return up_to(TokenKind::other, from, from + 1);
  const std::string_view tag(reinterpret_cast<const char*>(from), static_cast<std::size_t>(past + 1 - from));
  const std::size_t close = text_.find(tag, static_cast<std::size_t>(past + 1 - begin_));
  if (close == std::string_view::npos) return {TokenKind::doubtful, {}};
  return up_to(TokenKind::other, from, begin_ + close + tag.size());
}

Token Tokens::next() {
  skip_blanks();
  if (at_ == end_) return {};
  const std::uint8_t* const from = at_;
  switch (kKinds[*from]) {
    case Kind::word: return word(from);
    case Kind::quote: return up_to(TokenKind::other, from, after_quotes(from + 1, end_, '\''));
    case Kind::double_quote: return up_to(TokenKind::name, from, after_quotes(from + 1, end_, '"'));
    case Kind::dollar: return dollar(from);
    case Kind::open: return up_to(TokenKind::open, from, from + 1);
    case Kind::close: return up_to(TokenKind::close, from, from + 1);
    case Kind::comma: return up_to(TokenKind::comma, from, from + 1);
    case Kind::semicolon: return up_to(TokenKind::semicolon, from, from + 1);
    case Kind::digit: {
      const std::uint8_t* past = from;
      while (past < end_ && (kFolded[*past] != 0 || *past == '.')) ++past;
      return up_to(TokenKind::other, from, past);
    }
    case Kind::op: return up_to(TokenKind::other, from, from + operator_size(from, end_));
    case Kind::junk:
    case Kind::blank:
    case Kind::dot:
    case Kind::colon: return up_to(TokenKind::other, from, from + 1);
  }
  return {TokenKind::doubtful, {}};
}

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

bool is_word(const Token& token, std::string_view sql, std::string_view wanted) {
  return token.kind == TokenKind::word && ascii_lower(token.piece.in(sql)) == wanted;
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
