// Lines of text and csv: CopyReadLineText(), as a machine that takes byte after byte.
#include <array>
#include <optional>
#include <utility>

#include "router/copy/row_scanner.hpp"

namespace weir::router::copy {
namespace {

using Kind = RowEnd::Kind;

enum class Newline : std::uint8_t { unknown, lf, cr, crlf };

class LineScanner final : public RowScanner {
 public:
  explicit LineScanner(const Options& options)
      : csv_(options.format == Format::csv),
        in_header_(options.header),
        quote_(static_cast<std::uint8_t>(options.quote)),
        escape_(options.escape == options.quote ? std::uint8_t{0} : static_cast<std::uint8_t>(options.escape)) {
    for (const std::uint8_t b : {std::uint8_t{'\n'}, std::uint8_t{'\r'}, std::uint8_t{'\\'}}) special_[b] = true;
    if (csv_) special_[quote_] = special_[escape_] = true;
  }

  RowEnd scan(ByteView bytes) override;
  RowEnd finish() override;
  // Within quotes it counts the LFs where lines end with one, else (and as long as it knows of no end of line) the CRs.
  std::uint64_t lines(bool on_first) const override {
    return 1 + (!on_first && newline_of_row_ == Newline::lf ? lfs_of_row_ : crs_of_row_);
  }

 private:
  // What the next byte is to be read as.
  enum class State : std::uint8_t {
    line,            // a part of the line
    carriage_return, // behind a CR that may be the first half of an end of line
    backslash,       // behind one that makes the next byte data (text) or may begin a marker (csv)
    marker,          // behind "\."
    marker_return,   // behind "\." and the CR of CRLF
  };

  [[nodiscard]] std::optional<Kind> take(std::uint8_t b);
  [[nodiscard]] std::optional<Kind> take_in_line(std::uint8_t b);
  [[nodiscard]] std::optional<Kind> take_newline();
  [[nodiscard]] std::optional<Kind> take_backslash(std::uint8_t b);
  [[nodiscard]] std::optional<Kind> take_marker(std::uint8_t b);
  [[nodiscard]] std::optional<Kind> no_marker(std::uint8_t b);
  void follow_quotes(std::uint8_t b);
  std::optional<Kind> fail(const char* message, const char* hint);
  std::optional<Kind> fail_newline(bool carriage_return);
  RowEnd end_row(Kind kind, std::size_t used, std::size_t ending);

  const bool csv_;
  bool in_header_;
  const std::uint8_t quote_, escape_;
  std::array<bool, 256> special_{};   // not simply passed over

  State state_ = State::line;
  Newline newline_ = Newline::unknown;
  bool begun_ = false;                // the line has a byte
  bool in_quote_ = false;
  bool escaped_ = false;              // behind an escape character within quotes
  bool ends_before_ = false;          // the line had ended before the last byte
  std::size_t ending_ = 0;
  std::uint64_t lfs_ = 0, crs_ = 0;   // within quotes
  std::uint64_t lfs_of_row_ = 0, crs_of_row_ = 0;
  Newline newline_before_ = Newline::unknown, newline_of_row_ = Newline::unknown;   // known while the row was read
};

RowEnd LineScanner::scan(ByteView bytes) {
  const std::uint8_t* const begin = bytes.data();
  const std::uint8_t* const end = begin + bytes.size();
  for (const std::uint8_t* at = begin; at != end; ++at) {
    if (state_ == State::line && begun_ && !escaped_) {
      while (at != end && !special_[*at]) ++at;
      if (at == end) break;
    }
    const auto kind = take(*at);
    if (!kind) continue;
    const auto used = static_cast<std::size_t>(at - begin) + (ends_before_ ? 0 : 1);
    return end_row(*kind, used, ending_);
  }
  return {Kind::incomplete, bytes.size(), 0};
}

std::optional<Kind> LineScanner::take(std::uint8_t b) {
  switch (state_) {
    case State::line: return take_in_line(b);
    case State::carriage_return:
      if (b == '\n') {
        newline_ = Newline::crlf;
        ending_ = 2;
        return Kind::row;
      }
      if (newline_ == Newline::crlf) return fail_newline(true);
      newline_ = Newline::cr;
      ending_ = 1;
      ends_before_ = true;
      return Kind::row;
    case State::backslash: return take_backslash(b);
    case State::marker:
    case State::marker_return: return take_marker(b);
  }
  return std::nullopt;
}

std::optional<Kind> LineScanner::take_in_line(std::uint8_t b) {
  const bool first = !std::exchange(begun_, true);
  if (csv_) follow_quotes(b);
  if (b == '\r' && !in_quote_) {
    if (newline_ == Newline::lf) return fail_newline(true);
    if (newline_ != Newline::cr) {
      state_ = State::carriage_return;
      return std::nullopt;
    }
    ending_ = 1;
    return Kind::row;
  }
  if (b == '\n' && !in_quote_) return take_newline();
  if (b == '\\' && (!csv_ || first)) state_ = State::backslash;
  return std::nullopt;
}

std::optional<Kind> LineScanner::take_newline() {
  if (newline_ == Newline::cr || newline_ == Newline::crlf) return fail_newline(false);
  newline_ = Newline::lf;
  ending_ = 1;
  return Kind::row;
}

void LineScanner::follow_quotes(std::uint8_t b) {
  if (in_quote_ && b == escape_) escaped_ = !escaped_;
  if (b == quote_ && !escaped_) in_quote_ = !in_quote_;
  if (b != escape_) escaped_ = false;
  if (!in_quote_) return;
  lfs_ += b == '\n' ? 1 : 0;
  crs_ += b == '\r' ? 1 : 0;
}

std::optional<Kind> LineScanner::take_backslash(std::uint8_t b) {
  state_ = State::line;
  if (b == '.') {
    state_ = State::marker;
    return std::nullopt;
  }
  return csv_ ? take_in_line(b) : std::nullopt;
}

// "\." ends the data where it ends its line (text), or is all of it (csv).
std::optional<Kind> LineScanner::take_marker(std::uint8_t b) {
  if (newline_ == Newline::crlf && state_ == State::marker) {
    if (b == '\r') {
      state_ = State::marker_return;
      return std::nullopt;
    }
    if (b == '\n' && !csv_) return fail("end-of-copy marker does not match previous newline style", "");
    return no_marker(b);
  }
  if (b != '\r' && b != '\n') return no_marker(b);
  const std::uint8_t expected = newline_ == Newline::cr ? '\r' : newline_ == Newline::unknown ? b : '\n';
  if (b != expected) return fail("end-of-copy marker does not match previous newline style", "");
  ending_ = state_ == State::marker_return ? 4 : 3;
  return Kind::marker;
}

// In csv it was data.
std::optional<Kind> LineScanner::no_marker(std::uint8_t b) {
  if (!csv_) return fail("end-of-copy marker corrupt", "");
  const bool had_return = std::exchange(state_, State::line) == State::marker_return;
  auto ended = take_in_line('.');
  if (!ended && had_return) ended = take_in_line('\r');
  return ended ? ended : take(b);
}

std::optional<Kind> LineScanner::fail(const char* message, const char* hint) {
  error_ = Error(SqlState("22P04"), message, hint);
  return Kind::failed;
}

std::optional<Kind> LineScanner::fail_newline(bool carriage_return) {
  if (carriage_return)
    return csv_ ? fail("unquoted carriage return found in data", "Use quoted CSV field to represent carriage return.")
                : fail("literal carriage return found in data", "Use \"\\r\" to represent carriage return.");
  return csv_ ? fail("unquoted newline found in data", "Use quoted CSV field to represent newline.")
              : fail("literal newline found in data", "Use \"\\n\" to represent newline.");
}

RowEnd LineScanner::end_row(Kind kind, std::size_t used, std::size_t ending) {
  if (kind == Kind::row && std::exchange(in_header_, false)) kind = Kind::header;
  lfs_of_row_ = std::exchange(lfs_, 0);
  crs_of_row_ = std::exchange(crs_, 0);
  newline_of_row_ = std::exchange(newline_before_, newline_);
  state_ = State::line;
  begun_ = in_quote_ = escaped_ = ends_before_ = false;
  ending_ = 0;
  return {kind, used, ending};
}

RowEnd LineScanner::finish() {
  if (!begun_) return {};
  std::optional<Kind> ended;
  std::size_t ending = 0;
  switch (state_) {
    case State::line:
    case State::backslash: break;
    case State::carriage_return:
      if (newline_ == Newline::crlf) ended = fail_newline(true);
      newline_ = Newline::cr;
      ending = 1;
      break;
    case State::marker:
    case State::marker_return: ended = no_marker('\0'); break;
  }
  return end_row(ended.value_or(Kind::row), 0, ending);
}

}  // namespace

std::unique_ptr<RowScanner> make_line_scanner(const Options& options) { return std::make_unique<LineScanner>(options); }

}  // namespace weir::router::copy
