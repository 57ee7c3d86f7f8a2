#include "router/text_tokens.hpp"

#include <string>

#include "base/strings.hpp"
#include "router/lexer_chars.hpp"
#include "router/lexer_scan.hpp"

namespace weir::router {

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

std::optional<std::vector<Token>> tokens_of(std::string_view sql) {
  std::vector<Token> found;
  for (Tokens tokens(sql);;) {
    const Token token = tokens.next();
    if (token.kind == TokenKind::doubtful) return std::nullopt;
    if (token.kind == TokenKind::end) return found;
    found.push_back(token);
  }
}

bool is_word(const Token& token, std::string_view sql, std::string_view wanted) {
  return token.kind == TokenKind::word && ascii_lower(token.piece.in(sql)) == wanted;
}

}  // namespace weir::router
