// The tokens of a text that PostgreSQL's parser has accepted: where they begin and end, for those who put something else in the place of a few
// and send the rest as it came. Any bytes; linear in the text.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

#include "router/prepared_text.hpp"

namespace weir::router {

enum class TokenKind : std::uint8_t {
  end,
  word,      // not quoted
  name,      // "..."
  open,
  close,
  comma,
  semicolon,
  other,
  doubtful,  // written so that this cannot be said with certainty (U&"..."), or unterminated
};

struct Token {
  TokenKind kind = TokenKind::end;
  TextPiece piece;
  [[nodiscard]] std::size_t begin() const { return piece.offset; }
  [[nodiscard]] std::size_t end() const { return piece.offset + piece.size; }
};

class Tokens {
 public:
  explicit Tokens(std::string_view sql)
      : text_(sql), begin_(reinterpret_cast<const std::uint8_t*>(sql.data())), end_(begin_ + sql.size()), at_(begin_) {}

  Token next();

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

// All of them, without the end. None: something is doubtful.
[[nodiscard]] std::optional<std::vector<Token>> tokens_of(std::string_view sql);

// Is it this word (lower case), without quotes?
[[nodiscard]] bool is_word(const Token& token, std::string_view sql, std::string_view wanted);

}  // namespace weir::router
