#include "router/redact.hpp"

#include <algorithm>

namespace weir::router {

namespace {

constexpr std::string_view kCut = "...";

bool is_digit(char c) { return c >= '0' && c <= '9'; }
bool is_blank(char c) { return c == ' ' || (c >= '\t' && c <= '\r'); }
bool is_word(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || is_digit(c) || c == '_' || c == '$' || static_cast<unsigned char>(c) >= 0x80;
}

// https://www.postgresql.org/docs/15/sql-syntax-lexical.html
class Redactor {
 public:
  Redactor(std::string_view sql, std::size_t max_bytes) : sql_(sql), max_(max_bytes) {}

  std::string run() {
    while (at_ < sql_.size() && !cut_) {
      if (out_.size() >= max_) cut();
      else step();
    }
    if (out_.size() > max_ + kCut.size()) {   // one long name
      out_.resize(max_);
      out_ += kCut;
    }
    while (!out_.empty() && out_.back() == ' ') out_.pop_back();
    return std::move(out_);
  }

 private:
  [[nodiscard]] char peek(std::size_t ahead = 0) const { return at_ + ahead < sql_.size() ? sql_[at_ + ahead] : '\0'; }

  void cut() {
    cut_ = true;
    out_ += kCut;
  }

  void step() {
    const char c = peek();
    if (is_blank(c)) return blank(1);
    if (c == '-' && peek(1) == '-') return blank(std::min(sql_.find_first_of("\r\n", at_), sql_.size()) - at_);
    if (c == '/' && peek(1) == '*') return comment();
    if (c == '\'') return string(false);
    if (c == '"') return identifier();
    if (c == '$' && !is_digit(peek(1))) return dollar_string();
    if (is_digit(c) || (c == '.' && is_digit(peek(1)))) return number();
    if (c == '$') return parameter();
    if (is_word(c)) return word();
    if (static_cast<unsigned char>(c) < 0x20) return cut();   // no statement of PostgreSQL has it
    out_ += c;
    ++at_;
  }

  void blank(std::size_t n) {
    at_ += n;
    if (!out_.empty() && out_.back() != ' ') out_ += ' ';
  }

  void comment() {
    std::size_t depth = 0;
    do {
      if (at_ >= sql_.size()) return cut();
      if (peek() == '/' && peek(1) == '*') {
        ++depth;
        at_ += 2;
      } else if (peek() == '*' && peek(1) == '/') {
        --depth;
        at_ += 2;
      } else {
        ++at_;
      }
    } while (depth > 0);
    blank(0);
  }

  // From its opening quote on. `escapes`: E'...', where a backslash takes the next character with it.
  void string(bool escapes) {
    out_ += '?';
    for (++at_; at_ < sql_.size(); ++at_) {
      if (peek() == '\\') {
        if (!escapes) return cut();
        ++at_;
      } else if (peek() == '\'') {
        if (peek(1) != '\'') {
          ++at_;
          return;
        }
        ++at_;
      }
    }
    cut();
  }

  void identifier() {
    const auto end = sql_.find('"', at_ + 1);
    if (end == std::string_view::npos) return cut();
    out_ += sql_.substr(at_, end + 1 - at_);
    at_ = end + 1;
  }

  void dollar_string() {
    std::size_t end = at_ + 1;
    while (end < sql_.size() && is_word(sql_[end]) && sql_[end] != '$') ++end;
    if (end >= sql_.size() || sql_[end] != '$') {   // no quote: an operator's character
      out_ += sql_[at_++];
      return;
    }
    const std::string_view tag = sql_.substr(at_, end + 1 - at_);
    const auto close = sql_.find(tag, end + 1);
    out_ += '?';
    if (close == std::string_view::npos) return cut();
    at_ = close + tag.size();
  }

  // Takes what hangs on to it, too: 1e10, 0x1f, 12.5, 1_000.
  void number() {
    out_ += '?';
    while (at_ < sql_.size() && (is_word(peek()) || peek() == '.')) {
      const char c = sql_[at_++];
      if ((c == 'e' || c == 'E') && (peek() == '+' || peek() == '-') && is_digit(peek(1))) ++at_;
    }
  }

  void parameter() {
    out_ += sql_[at_++];
    while (is_digit(peek())) out_ += sql_[at_++];
  }

  void word() {
    const std::size_t from = at_;
    while (at_ < sql_.size() && is_word(peek())) ++at_;
    const std::string_view w = sql_.substr(from, at_ - from);
    const bool prefix = peek() == '\'' && w.size() == 1 && std::string_view("eEbBxXnN").find(w[0]) != std::string_view::npos;
    if (prefix) return string(w == "e" || w == "E");
    out_ += w;
  }

  const std::string_view sql_;
  const std::size_t max_;
  std::size_t at_ = 0;
  std::string out_;
  bool cut_ = false;
};

}  // namespace

std::string redacted(std::string_view sql, std::size_t max_bytes) { return Redactor(sql, max_bytes).run(); }

}  // namespace weir::router
