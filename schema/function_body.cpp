#include "schema/function_body.hpp"

#include <algorithm>
#include <array>
#include <unordered_set>
#include <utility>

#include "base/strings.hpp"

namespace weir::schema {
namespace {

constexpr std::size_t kMaxSource = 64 << 10;

constexpr std::array<std::string_view, 15> kTraces{"reset",   "discard",   "execute", "listen",  "unlisten", "load",      "prepare", "deallocate",
                                                   "temp",    "temporary", "hold",    "pg_temp", "extension", "language", "dblink"};
// Behind these, and at the front, a statement begins.
constexpr std::array<std::string_view, 6> kBefore{"begin", "then", "else", "loop", "atomic", "declare"};

bool starts_word(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' || static_cast<unsigned char>(c) >= 0x80; }
bool in_word(char c) { return starts_word(c) || (c >= '0' && c <= '9') || c == '$'; }

template <std::size_t N>
bool one_of(const std::array<std::string_view, N>& list, std::string_view word) {
  return std::find(list.begin(), list.end(), word) != list.end();
}

struct Token {
  enum class Kind : unsigned char { end, word, literal, symbol } kind = Kind::end;
  std::string text;   // a word in lower case, a symbol; not a literal's
};

class Reader {
 public:
  explicit Reader(std::string_view source) : rest_(source) {}

  Token next() {
    skip_blanks();
    if (rest_.empty()) return {};
    if (rest_[0] == '\'') return literal(false);
    if (rest_.size() > 1 && (rest_[0] == 'e' || rest_[0] == 'E') && rest_[1] == '\'') {
      rest_.remove_prefix(1);
      return literal(true);
    }
    if (rest_[0] == '"') return quoted_word();
    if (starts_word(rest_[0])) {
      std::size_t n = 1;
      while (n < rest_.size() && in_word(rest_[n])) ++n;
      Token token{Token::Kind::word, ascii_lower(rest_.substr(0, n))};
      rest_.remove_prefix(n);
      return token;
    }
    Token token{Token::Kind::symbol, std::string(1, rest_[0])};
    rest_.remove_prefix(1);
    return token;
  }

 private:
  void skip_blanks() {
    for (;;) {
      while (!rest_.empty() && (rest_[0] == ' ' || (rest_[0] >= '\t' && rest_[0] <= '\r'))) rest_.remove_prefix(1);
      if (rest_.starts_with("--")) {
        rest_.remove_prefix(std::min(rest_.find('\n'), rest_.size()));
      } else if (rest_.starts_with("/*")) {
        skip_comment();
      } else {
        return;
      }
    }
  }

  void skip_comment() {
    int depth = 0;
    do {
      if (rest_.starts_with("/*")) {
        ++depth;
        rest_.remove_prefix(2);
      } else if (rest_.starts_with("*/")) {
        --depth;
        rest_.remove_prefix(2);
      } else {
        rest_.remove_prefix(1);
      }
    } while (depth > 0 && !rest_.empty());
  }

  Token literal(bool escapes) {
    std::size_t i = 1;
    for (; i < rest_.size(); ++i) {
      if (escapes && rest_[i] == '\\') {
        ++i;
      } else if (rest_[i] == '\'') {
        if (i + 1 >= rest_.size() || rest_[i + 1] != '\'') break;
        ++i;
      }
    }
    rest_.remove_prefix(std::min(i + 1, rest_.size()));
    return {Token::Kind::literal, {}};
  }

  Token quoted_word() {
    const std::size_t end = std::min(rest_.find('"', 1), rest_.size());
    Token token{Token::Kind::word, std::string(rest_.substr(1, end - 1))};
    rest_.remove_prefix(std::min(end + 1, rest_.size()));
    return token;
  }

  std::string_view rest_;
};

class Look {
 public:
  explicit Look(std::string_view source) : reader_(source) {}

  FunctionBody run() {
    for (Token token = reader_.next(); token.kind != Token::Kind::end; token = take(token)) {
    }
    body_.words.assign(words_.begin(), words_.end());
    return std::move(body_);
  }

 private:
  // Returns the token behind what was taken.
  Token take(const Token& token) {
    const bool begins = previous_.empty() || previous_ == ";" || previous_ == ">" || one_of(kBefore, previous_);
    previous_ = token.kind == Token::Kind::literal ? "'" : token.text;
    if (token.kind != Token::Kind::word) return reader_.next();
    words_.insert(token.text);
    if (one_of(kTraces, token.text) || (token.text == "set" && begins)) body_.leaves_trace = true;
    if (token.text == "set_config") return take_set_config();
    Token following = reader_.next();
    if (token.text == "do" && following.kind == Token::Kind::literal) body_.leaves_trace = true;
    return following;
  }

  // set_config(name, value, is_local): harmless where it ends in the word true.
  Token take_set_config() {
    Token token = reader_.next();
    if (token.text != "(") {
      body_.leaves_trace = body_.computes_setting = true;
      return token;
    }
    std::vector<Token> last;   // of the argument that is being read
    bool first = true, named = false;
    for (int depth = 1; depth > 0;) {
      token = reader_.next();
      if (token.kind == Token::Kind::end) break;
      if (token.kind == Token::Kind::word) words_.insert(token.text);
      if (token.text == "(") ++depth;
      if (token.text == ")" && --depth == 0) break;
      if (token.text != "," || depth > 1) {
        last.push_back(token);
        continue;
      }
      // A variable's name is most often an argument, and stands where the function is called.
      if (std::exchange(first, false)) named = (last.size() == 1 && last[0].kind != Token::Kind::symbol) || (last.size() == 2 && last[0].text == "$");
      last.clear();
    }
    const bool local = last.size() == 1 && last[0].text == "true";
    body_.leaves_trace |= !local;
    body_.computes_setting |= !local && !named;
    previous_ = ")";
    return reader_.next();
  }

  Reader reader_;
  FunctionBody body_;
  std::unordered_set<std::string> words_;
  std::string previous_;
};

}  // namespace

FunctionBody look_into(std::string_view source) {
  if (source.empty() || source.size() > kMaxSource) return {true, false, {}};
  return Look(source).run();
}

}  // namespace weir::schema
