#include "router/hint.hpp"

#include <algorithm>
#include <utility>

#include "base/strings.hpp"
#include "router/lexer_chars.hpp"
#include "router/lexer_scan.hpp"

namespace weir::router {
namespace {

constexpr std::string_view kName = "weir";
constexpr std::string_view kAllowed = "A hint is /* weir: shard=<name> */, /* weir: key=<value> */ or /* weir: primary */, or several of these in one comment.";

Error bad_hint(std::string message) { return Error(sqlstate::kSyntaxError, std::move(message), std::string(kAllowed)); }

bool is_blank(char c) { return c == ' ' || c == '\t' || c == '\n' || c == '\r' || c == '\f'; }
bool separates(char c) { return is_blank(c) || c == ','; }

bool begins_with_name(std::string_view text) {
  return text.size() >= kName.size() && ascii_lower(text.substr(0, kName.size())) == kName;
}

// Behind "weir" and ":", with blanks around; none: an ordinary comment.
std::optional<std::string_view> behind_name(std::string_view text) {
  const auto skip = [&] {
    while (!text.empty() && is_blank(text.front())) text.remove_prefix(1);
  };
  skip();
  if (!begins_with_name(text)) return std::nullopt;
  text.remove_prefix(kName.size());
  skip();
  if (!text.starts_with(':')) return std::nullopt;
  return text.substr(1);
}

// ---- the words of a hint ----

class Words {
 public:
  explicit Words(std::string_view text) : rest_(text) {}

  [[nodiscard]] bool next() {
    while (!rest_.empty() && separates(rest_.front())) rest_.remove_prefix(1);
    return !rest_.empty();
  }
  // Up to a blank, comma or '='.
  std::string_view name() {
    const auto end = std::find_if(rest_.begin(), rest_.end(), [](char c) { return separates(c) || c == '='; });
    return take(static_cast<std::size_t>(end - rest_.begin()));
  }
  // Behind '='; none: there is no '=', or no value behind it, or its quote is not closed.
  std::optional<std::string> value() {
    if (!rest_.starts_with('=')) return std::nullopt;
    rest_.remove_prefix(1);
    if (rest_.starts_with('\'') || rest_.starts_with('"')) return quoted();
    const auto end = std::find_if(rest_.begin(), rest_.end(), separates);
    if (end == rest_.begin()) return std::nullopt;
    return std::string(take(static_cast<std::size_t>(end - rest_.begin())));
  }
  [[nodiscard]] bool has_value() const { return rest_.starts_with('='); }

 private:
  std::string_view take(std::size_t size) {
    const std::string_view taken = rest_.substr(0, size);
    rest_.remove_prefix(size);
    return taken;
  }

  // A doubled quote stands for one.
  std::optional<std::string> quoted() {
    const char quote = rest_.front();
    std::string text;
    for (std::size_t at = 1; at < rest_.size(); ++at) {
      if (rest_[at] == quote && (at + 1 == rest_.size() || rest_[at + 1] != quote)) {
        rest_.remove_prefix(at + 1);
        if (!rest_.empty() && !separates(rest_.front())) return std::nullopt;
        return text;
      }
      if (rest_[at] == quote) ++at;
      text += rest_[at];
    }
    return std::nullopt;
  }

  std::string_view rest_;
};

Result<void> say_once(std::optional<std::string>& said, std::string value, std::string_view name) {
  if (said && *said != value)
    return bad_hint(concat("hints contradict each other: ", name, "=", *said, " and ", name, "=", value));
  said = std::move(value);
  return {};
}

}  // namespace

Result<Hint> parse_hint(std::string_view text) {
  std::optional<std::string> shard, key;
  bool primary = false;
  Words words(text);
  while (words.next()) {
    const std::string name = ascii_lower(words.name());
    if (name == "primary" && !words.has_value()) {
      primary = true;
      continue;
    }
    if (name != "shard" && name != "key") return bad_hint(concat("unknown word \"", name, "\" in a hint"));
    auto value = words.value();
    if (!value || (name == "shard" && value->empty())) return bad_hint(concat("hint \"", name, "\" has no value that can be read"));
    if (auto said = say_once(name == "shard" ? shard : key, std::move(*value), name); !said) return said.take_error();
  }
  Hint hint;
  hint.shard = shard.value_or("");
  hint.key = std::move(key);
  hint.primary = primary;
  if (hint.says_nothing()) return bad_hint("a hint says nothing");
  return hint;
}

namespace {

std::string in_quotes(std::string_view text) {
  std::string out = "'";
  for (const char c : text) {
    if (c == '\'') out += c;
    out += c;
  }
  return out + "'";
}

}  // namespace

std::string words_of(const Hint& hint) {
  std::string words;
  if (!hint.shard.empty()) words += concat("shard=", in_quotes(hint.shard), " ");
  if (hint.key) words += concat("key=", in_quotes(*hint.key), " ");
  if (hint.primary) words += "primary";
  return words;
}

// ---- comments ----

namespace {

// Walks over a text by the rules of PostgreSQL's scanner, as far as comments ask for it.
class Comments {
 public:
  explicit Comments(std::string_view sql)
      : at_(reinterpret_cast<const std::uint8_t*>(sql.data())), end_(at_ + sql.size()) {}

  // The words of the next comment that begins with "weir:"; false: there is none.
  bool next(std::string_view& words) {
    while (at_ < end_) {
      if (!starts_comment(at_, end_)) {
        token();
        continue;
      }
      const std::uint8_t* const from = at_ + 2;
      is_line_ = *at_ == '-';
      const std::uint8_t* past = is_line_ ? std::find_if(at_, end_, [](std::uint8_t c) { return c == '\n' || c == '\r'; }) : after_comment(at_, end_);
      if (past == nullptr) past = end_;
      at_ = past;
      if (!is_line_ && past - from >= 2) past -= 2;
      if (const auto found = behind_name({reinterpret_cast<const char*>(from), static_cast<std::size_t>(past - from)})) {
        words = *found;
        return true;
      }
    }
    return false;
  }
  // Of the last one.
  [[nodiscard]] bool is_line() const { return is_line_; }
  [[nodiscard]] bool is_in_front() const { return in_front_; }

 private:
  [[nodiscard]] std::uint8_t peek(std::ptrdiff_t ahead) const { return end_ - at_ > ahead ? at_[ahead] : std::uint8_t{0}; }

  void token() {
    const Kind kind = kKinds[*at_];
    if (kind == Kind::blank) return void(++at_);
    if (kind != Kind::semicolon) in_front_ = false;
    switch (kind) {
      case Kind::quote: return skip_to(after_quotes(at_ + 1, end_, '\''));
      case Kind::double_quote: return skip_to(after_quotes(at_ + 1, end_, '"'));
      case Kind::dollar: return dollar_string();
      case Kind::word: return word();
      default: return void(++at_);
    }
  }

  // Unterminated: the parser says so.
  void skip_to(const std::uint8_t* past) { at_ = past == nullptr ? end_ : past; }

  void word() {
    const bool escapes = (*at_ | 0x20) == 'e' && peek(1) == '\'';
    if (escapes) return skip_to(after_escapes(at_ + 2, end_));
    while (at_ < end_ && (kKinds[*at_] == Kind::word || kKinds[*at_] == Kind::digit || *at_ == '$')) ++at_;
  }

  void dollar_string() {
    const std::uint8_t* tag = at_ + 1;
    while (tag < end_ && *tag != '$' && (kKinds[*tag] == Kind::word || (tag > at_ + 1 && kKinds[*tag] == Kind::digit))) ++tag;
    if (tag == end_ || *tag != '$') return void(++at_);
    const auto size = static_cast<std::size_t>(tag + 1 - at_);
    const std::string_view all(reinterpret_cast<const char*>(at_), static_cast<std::size_t>(end_ - at_));
    const auto closes = all.find(all.substr(0, size), size);
    skip_to(closes == std::string_view::npos ? nullptr : at_ + closes + size);
  }

  const std::uint8_t* at_;
  const std::uint8_t* end_;
  bool in_front_ = true;
  bool is_line_ = false;
};

Result<Hint> both(const Hint& a, const Hint& b) {
  if (!a.shard.empty() && !b.shard.empty() && a.shard != b.shard)
    return bad_hint(concat("hints contradict each other: shard=", a.shard, " and shard=", b.shard));
  if (a.key && b.key && *a.key != *b.key) return bad_hint(concat("hints contradict each other: key=", *a.key, " and key=", *b.key));
  return Hint{a.shard.empty() ? b.shard : a.shard, a.key ? a.key : b.key, a.primary || b.primary};
}

}  // namespace

bool may_have_hints(std::string_view sql) {
  const auto same = [](char a, char b) { return a == (b >= 'A' && b <= 'Z' ? static_cast<char>(b - 'A' + 'a') : b); };
  return std::search(sql.begin(), sql.end(), kName.begin(), kName.end(), [&](char text, char name) { return same(name, text); }) != sql.end();
}

std::size_t count_hints(std::string_view sql) {
  if (!may_have_hints(sql)) return 0;
  std::size_t count = 0;
  Comments comments(sql);
  for (std::string_view words; comments.next(words);) ++count;
  return count;
}

Result<std::optional<Hint>> read_hints(std::string_view statement) {
  std::optional<Hint> hint;
  if (!may_have_hints(statement)) return hint;
  Comments comments(statement);
  for (std::string_view words; comments.next(words);) {
    if (!comments.is_in_front()) return bad_hint("a hint stands within or behind its statement: it belongs in front of it");
    if (comments.is_line()) return bad_hint("a hint is written as a line comment, which clients may strip");
    auto said = parse_hint(words);
    if (!said) return said.take_error();
    auto joined = both(hint.value_or(Hint{}), *said);
    if (!joined) return joined.take_error();
    hint = std::move(*joined);
  }
  return hint;
}

}  // namespace weir::router
