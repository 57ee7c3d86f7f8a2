#include "router/lexer.hpp"

#include <algorithm>
#include <array>
#include <cstring>
#include <limits>
#include <optional>

#include "router/key_hash.hpp"
#include "router/lexer_chars.hpp"
#include "router/lexer_context.hpp"
#include "router/lexer_key.hpp"
#include "router/lexer_scan.hpp"
#include "router/lexer_words.hpp"

namespace weir::router {
namespace {

constexpr std::size_t kMaxDepth = 128;
constexpr std::size_t kSlack = 16;  // room that a token of fixed size may take without asking

class Lifter {
 public:
  Lifter(std::string_view sql, Lifted& out)
      : begin_(reinterpret_cast<const std::uint8_t*>(sql.data())), end_(begin_ + sql.size()), lifted_(out) {
    // No token of n bytes gives more than n + 2.
    const std::size_t bound = std::min(sql.size() * 3, kMaxKeyBytes) + kSlack;
    lifted_.key.resize(bound + kHashPadding);
    key_ = lifted_.key.data();
    limit_ = key_ + bound;
    restart(false);
  }

  // False: in doubt.
  bool run() {
    while (at_ < end_ && !stopped_) {
      if (room() < kSlack) return false;
      token();
    }
    return !stopped_ && depth_ == 0;
  }

  void finish() {
    const auto size = static_cast<std::size_t>(out_ - key_);
    std::memset(out_, 0, kHashPadding);
    lifted_.hash = hash_padded(key_, size, hash_seed());
    lifted_.key.resize(size);
  }

 private:
  [[nodiscard]] std::size_t room() const { return static_cast<std::size_t>(limit_ - out_); }
  [[nodiscard]] std::size_t left() const { return static_cast<std::size_t>(end_ - at_); }
  [[nodiscard]] std::uint8_t peek(std::size_t ahead) const { return ahead < left() ? at_[ahead] : 0; }
  void stop() { stopped_ = true; }

  // Begins again from the first byte; `whole`: nothing is lifted.
  void restart(bool whole) {
    at_ = begin_;
    out_ = key_;
    lifted_.literals.clear();
    last_ = before_ = Token{};
    depth_ = 0;
    context_ = 0;
    ended_ = in_type_ = false;
    known_ = whole_ = whole;
  }

  void token() {
    switch (kKinds[*at_]) {
      case Kind::blank:
        ++at_;
        return;
      case Kind::word:
        return word();
      case Kind::digit:
        return number();
      case Kind::op:
        return operator_or_comment();
      case Kind::quote:
        return string(at_, LiteralClass::string);
      case Kind::double_quote:
        return quoted_name();
      case Kind::dollar:
        return kKinds[peek(1)] == Kind::digit ? parameter() : dollar_string();
      case Kind::dot:
        return dot();
      case Kind::colon:
        return colon();
      case Kind::open:
        return open();
      case Kind::close:
        return close();
      case Kind::comma:
        return single(Last::other);
      case Kind::semicolon:
        return semicolon();
      case Kind::junk:
        return stop();
    }
  }

  // Every token but a comment passes here before it is written. False: the statement begins again.
  bool start(Last kind) {
    if (ended_) [[unlikely]] {  // a second statement
      restart(true);
      return false;
    }
    if (!known_ && kind != Last::word && kind != Last::open) known_ = whole_ = true;
    before_ = last_;
    last_ = Token{kind, 0, out_};
    in_type_ = in_type_ && kind <= Last::dot;
    return true;
  }

  void single(Last kind) {
    if (!start(kind)) return;
    *out_++ = *at_++;
  }

  bool copy(const std::uint8_t* from, std::size_t size) {
    if (size + kSlack > room()) {
      stop();
      return false;
    }
    std::memcpy(out_, from, size);
    out_ += size;
    return true;
  }

  // ---- words ----

  void word() {
    // Copies of the members: a byte written through out_ could be any member's, as far as the compiler knows.
    const std::uint8_t* const from = at_;
    const std::uint8_t* const stop_at = at_ + std::min(left(), room() - kSlack);
    const std::uint8_t* at = from;
    std::uint8_t* const text = out_;
    std::uint8_t* out = text;
    while (at < stop_at) {
      const std::uint8_t folded = kFolded[*at];
      if (folded == 0) break;
      *out++ = folded;
      ++at;
    }
    at_ = at;
    if (at == stop_at && at != end_) return stop();
    const auto length = static_cast<std::uint32_t>(out - text);
    if (length == 1 && at_ < end_ && (*at_ == '\'' || *at_ == '&') && prefixed_string(from, *text)) return;
    if (!start(Last::word)) return;
    out_ = out;
    *out_++ = ' ';
    last_.length = length;
    after_word();
  }

  // E'' B'' X'' N'' U&'' U&"": `letter` was read, at_ stands on what follows. True: the token is dealt with.
  bool prefixed_string(const std::uint8_t* from, std::uint8_t letter) {
    if (*at_ == '&') {
      if (letter != 'u' || (peek(1) != '\'' && peek(1) != '"')) return false;
      stop();  // its meaning depends on UESCAPE
      return true;
    }
    if (letter == 'e')
      string(from, LiteralClass::escape_string);
    else if (letter == 'b' || letter == 'x')
      string(from, LiteralClass::bit_string);
    else if (letter == 'n')
      return national();
    else
      return false;
    return true;
  }

  // N'abc' is NCHAR 'abc' to PostgreSQL.
  bool national() {
    if (!start(Last::word)) return true;
    static constexpr std::string_view kWord = "nchar ";
    std::memcpy(out_, kWord.data(), kWord.size());
    out_ += kWord.size();
    last_.length = kWord.size() - 1;
    after_word();
    return true;
  }

  void after_word() {
    if (!known_) {
      known_ = true;
      whole_ = !can_be_lifted();
    }
    if (whole_) return;
    const std::uint64_t prefix = last_.prefix();
    if (prefix == packed_prefix("by")) context_ |= kOrdinals;
    if (in_type_ && (last_.bits() & kExpression)) in_type_ = false;
    if (prefix == packed_prefix("as")) in_type_ = true;
    if (context_ != 0) end_context(prefix);
    if ((prefix & 0xFFFFFF) == packed_prefix("reg") && (last_.bits() & kNamesObject)) restart(true);
  }

  [[nodiscard]] bool can_be_lifted() const {
    return last_.is("select") || last_.is("insert") || last_.is("update") || last_.is("delete") || last_.is("with") ||
           last_.is("values") || last_.is("table");
  }

  void end_context(std::uint64_t prefix) {
    // A subquery's lists and types are its own. Both words are reserved: they cannot begin an argument.
    if (before_.kind == Last::open && (prefix == packed_prefix("select") || prefix == packed_prefix("with")))
      context_ &= static_cast<std::uint8_t>(~(kOrdinals | kTypmods));
    const bool label = before_.kind == Last::dot || before_.is("as");  // t.limit
    if ((context_ & kOrdinals) && !label && (last_.bits() & kEndsList))
      context_ &= static_cast<std::uint8_t>(~kOrdinals);
  }

  void quoted_name() {
    const std::uint8_t* past = after_quotes(at_ + 1, end_, '"');
    if (past == nullptr || past == at_ + 2) return stop();  // unterminated, or the empty name
    if (!start(Last::quoted)) return;
    const std::string_view name(reinterpret_cast<const char*>(at_) + 1, static_cast<std::size_t>(past - at_) - 2);
    if (!copy(at_, static_cast<std::size_t>(past - at_))) return;
    *out_++ = ' ';
    at_ = past;
    if (!whole_ && (word_bits(name, packed_prefix(name)) & kNamesObject)) restart(true);
  }

  // ---- literals ----

  // at_ stands on the opening quote; the literal begins at `from` (its letter, if it has one).
  void string(const std::uint8_t* from, LiteralClass kind) {
    const std::uint8_t* past =
        kind == LiteralClass::escape_string ? after_escapes(at_ + 1, end_) : after_quotes(at_ + 1, end_, '\'');
    if (past == nullptr) return stop();
    // A bit string knows no doubled quotes: what follows is a string of its own.
    if (kind == LiteralClass::bit_string && std::memchr(at_ + 1, '\'', left() - 1) != past - 1) return stop();
    string_literal(from, past, kind);
  }

  void string_literal(const std::uint8_t* from, const std::uint8_t* past, LiteralClass kind) {
    if (last_.kind == Last::string) return stop();  // a continued one, perhaps
    if (!start(Last::string)) return;
    at_ = past;
    literal(from, kind, keeps_string());
  }

  [[nodiscard]] bool keeps_string() const {
    if (context_ & (kTypmods | kStrings | kEverything)) return true;
    switch (before_.kind) {
      case Last::word:
        return (before_.bits() & (kExpression | kTyped)) == 0;
      case Last::quoted:
      case Last::close:
        return true;  // "type" 'x', type(3) 'x'
      case Last::dot:
      case Last::typecast:
      case Last::nothing:
      case Last::string:
      case Last::open:
      case Last::other:
        return false;
    }
    return true;
  }

  void literal(const std::uint8_t* from, LiteralClass kind, bool keep) {
    const auto size = static_cast<std::size_t>(at_ - from);
    if (whole_ || keep) {
      *out_++ = lexer_key::kKept;
      if (copy(from, size)) *out_++ = 0;
      return;
    }
    *out_++ = static_cast<std::uint8_t>(lexer_key::kLifted + static_cast<std::uint8_t>(kind));
    lifted_.literals.push_back({static_cast<std::uint32_t>(from - begin_), static_cast<std::uint32_t>(size), kind});
  }

  void dollar_string() {
    const std::uint8_t* tag_end = at_ + 1;
    if (tag_end < end_ && kKinds[*tag_end] == Kind::word)
      while (tag_end < end_ && kFolded[*tag_end] != 0 && *tag_end != '$') ++tag_end;
    if (tag_end == end_ || *tag_end != '$') return stop();
    const std::string_view rest(reinterpret_cast<const char*>(at_), left());
    const auto tag_size = static_cast<std::size_t>(tag_end - at_) + 1;
    const std::size_t found = rest.find(rest.substr(0, tag_size), tag_size);
    if (found == std::string_view::npos) return stop();
    string_literal(at_, at_ + found + tag_size, LiteralClass::dollar_string);
  }

  void digits() {
    while (at_ < end_ && kKinds[*at_] == Kind::digit) ++at_;
  }

  // Digits, a fraction, an exponent: 42 1. .5 1.5e-3. What PostgreSQL calls junk behind it is in doubt.
  void number() {
    if (!start(Last::other)) return;
    const std::uint8_t* from = at_;
    digits();
    const auto whole_digits = static_cast<std::size_t>(at_ - from);
    bool integer = true;
    if (at_ < end_ && *at_ == '.') {
      if (peek(1) == '.') return stop();
      integer = false;
      ++at_;
      digits();
    }
    if (at_ < end_ && (*at_ | 0x20) == 'e') {
      integer = false;
      if (!exponent()) return stop();
    }
    if (at_ < end_ && (kFolded[*at_] != 0 || *at_ == '.')) return stop();
    const std::optional<LiteralClass> kind = integer ? integer_class(from, whole_digits) : LiteralClass::numeric;
    const bool keep = !kind || (context_ & (kOrdinals | kTypmods | kEverything)) != 0;
    literal(from, kind.value_or(LiteralClass::int8), keep);
  }

  bool exponent() {
    ++at_;
    if (at_ < end_ && (*at_ == '+' || *at_ == '-')) ++at_;
    const std::uint8_t* from = at_;
    digits();
    return at_ != from;
  }

  // ---- everything else ----

  void parameter() {
    if (!start(Last::other)) return;
    const std::uint8_t* from = at_++;
    digits();
    const auto size = static_cast<std::size_t>(at_ - from);
    if (size > 6 || (at_ < end_ && kKinds[*at_] == Kind::word)) return stop();  // Bind carries at most 65535
    std::memcpy(out_, from, size);
    out_ += size;
    *out_++ = ' ';
  }

  void dot() {
    const std::uint8_t next = peek(1);
    if (next == '.') return stop();
    if (kKinds[next] == Kind::digit) return number();
    single(Last::dot);
  }

  void colon() {
    const std::uint8_t next = peek(1);
    if (next != ':' && next != '=') return single(Last::other);
    if (!start(next == ':' ? Last::typecast : Last::other)) return;
    *out_++ = next == ':' ? lexer_key::kTypecast : lexer_key::kColonEquals;
    at_ += 2;
    in_type_ = next == ':';
  }

  void semicolon() {
    if (!start(Last::other)) return;
    if (whole_)
      *out_++ = ';';
    else
      ended_ = true;
    ++at_;
  }

  void open() {
    if (depth_ == kMaxDepth) return stop();
    const std::uint8_t inner = *at_ == '(' ? inside_parenthesis() : inside_bracket();
    saved_[depth_++] = context_;
    context_ = inner;
    single(Last::open);
  }

  void close() {
    if (depth_ == 0) return stop();
    const std::uint8_t outer = saved_[--depth_];
    const bool typmods_end = (context_ & kTypmods) && !(outer & kTypmods);
    context_ = outer;
    single(Last::close);
    in_type_ = typmods_end;  // numeric(10,2)[3]
  }

  [[nodiscard]] std::uint8_t inside_bracket() const {
    return static_cast<std::uint8_t>(in_type_ ? context_ | kTypmods : context_);
  }

  [[nodiscard]] std::uint8_t inside_parenthesis() const {
    if (whole_) return 0;
    if (last_.kind == Last::word) return static_cast<std::uint8_t>(context_ | inside_call(last_, before_, in_type_));
    if (last_.kind == Last::quoted) return static_cast<std::uint8_t>(context_ | (in_type_ ? kTypmods : kStrings));
    return context_;
  }

  void operator_or_comment() {
    if (starts_comment(at_, end_)) return comment();
    const std::size_t size = operator_size(at_, end_);
    if (size > kMaxOperator) return stop();
    if (!start(Last::other) || !copy(at_, size)) return;
    *out_++ = ' ';
    at_ += size;
  }

  // The analysis finds the literal of a negated number by the text behind the minus, where a comment would hide it from
  // some texts of the key and not from others.
  void comment() {
    if (!whole_ && behind_minus()) return stop();
    return *at_ == '-' ? line_comment() : block_comment();
  }

  [[nodiscard]] bool behind_minus() const {
    const std::uint8_t* past = out_;
    while (past > key_ && past[-1] == '(') --past;
    return past - key_ >= 2 && past[-1] == ' ' && past[-2] == '-';
  }

  void line_comment() {
    const std::uint8_t* from = at_;
    while (at_ < end_ && *at_ != '\n' && *at_ != '\r') ++at_;
    if (is_hint(from)) hint(from);
  }

  void block_comment() {
    const std::uint8_t* from = at_;
    const std::uint8_t* past = after_comment(at_, end_);
    if (past == nullptr) return stop();
    at_ = past;
    if (is_hint(from)) hint(from);
  }

  // "/*" or "--", blanks, "weir" in any case: more than what counts as a hint, so none is missed.
  [[nodiscard]] bool is_hint(const std::uint8_t* from) const {
    from += 2;
    while (from < at_ && kKinds[*from] == Kind::blank) ++from;
    static constexpr std::string_view kName = "weir";
    if (static_cast<std::size_t>(at_ - from) < kName.size()) return false;
    return std::equal(kName.begin(), kName.end(), from,
                      [](char a, std::uint8_t b) { return static_cast<std::uint8_t>(a) == kFolded[b]; });
  }

  void hint(const std::uint8_t* from) {
    *out_++ = lexer_key::kHint;
    if (copy(from, static_cast<std::size_t>(at_ - from))) *out_++ = 0;
  }

  const std::uint8_t* begin_;
  const std::uint8_t* end_;
  const std::uint8_t* at_ = nullptr;
  Lifted& lifted_;
  std::uint8_t* key_ = nullptr;
  std::uint8_t* out_ = nullptr;
  std::uint8_t* limit_ = nullptr;
  Token last_, before_;
  std::size_t depth_ = 0;
  std::uint8_t context_ = 0;  // Context bits
  bool known_ = false;        // what kind of statement it is
  bool whole_ = false;        // nothing is lifted
  bool ended_ = false;        // a ';' was read
  bool in_type_ = false;      // since "::" or AS nothing but a name has come
  bool stopped_ = false;      // in doubt
  std::array<std::uint8_t, kMaxDepth> saved_;
};

bool doubtful_bytes(std::string_view sql, bool standard_conforming_strings) {
  if (sql.size() > std::numeric_limits<std::uint32_t>::max()) return true;
  if (sql.find('\0') != std::string_view::npos) return true;
  return !standard_conforming_strings && sql.find('\\') != std::string_view::npos;
}

}  // namespace

void lift(std::string_view sql, bool standard_conforming_strings, Lifted& out) {
  out.certain = false;
  if (!doubtful_bytes(sql, standard_conforming_strings)) {
    Lifter lifter(sql, out);
    if (lifter.run()) {
      lifter.finish();
      out.certain = true;
      return;
    }
  }
  out.key.clear();
  out.literals.clear();
  out.hash = 0;
}

}  // namespace weir::router
