#include "router/key_fill.hpp"

#include <algorithm>

#include "router/text_tokens.hpp"

namespace weir::router {
namespace {

// Reads [WITH ...] [EXPLAIN ...] INSERT INTO name [AS alias] [(columns)] [OVERRIDING ... VALUE] VALUES (...), (...) | DEFAULT VALUES
// and collects the edits. Every step says whether it found what must be there.
class FillScan {
 public:
  FillScan(std::string_view sql, const KeyFill& fill) : sql_(sql), fill_(fill), tokens_(sql), token_(tokens_.next()) {}

  [[nodiscard]] bool run() {
    if (!find_insert() || !skip_name()) return false;
    if (at_word("as")) {
      advance();
      advance();
    }
    if (fill_.how == KeyFill::How::values) return default_values();
    if (token_.kind == TokenKind::open && !column_list()) return false;
    if (at_word("overriding")) {
      advance();
      advance();
      if (!take_word("value")) return false;
    }
    return take_word("values") && rows();
  }
  [[nodiscard]] std::vector<FillEdit>& edits() { return edits_; }

 private:
  void advance() { token_ = tokens_.next(); }
  [[nodiscard]] bool ended() const { return token_.kind == TokenKind::end || token_.kind == TokenKind::doubtful; }
  [[nodiscard]] bool at_word(std::string_view word) const { return is_word(token_, sql_, word); }
  [[nodiscard]] bool at_symbol(std::string_view symbol) const {
    return token_.kind == TokenKind::other && token_.piece.in(sql_) == symbol;
  }
  bool take_word(std::string_view word) {
    const bool there = at_word(word);
    if (there) advance();
    return there;
  }

  // The INSERT that is the statement itself: outside of all parentheses.
  bool find_insert() {
    for (std::size_t depth = 0; !ended(); advance()) {
      if (token_.kind == TokenKind::open) ++depth;
      if (token_.kind == TokenKind::close && depth > 0) --depth;
      if (depth > 0 || !at_word("insert")) continue;
      advance();
      if (take_word("into")) return true;   // else the name of a WITH query
    }
    return false;
  }

  bool skip_name() {
    for (;;) {
      if (token_.kind != TokenKind::word && token_.kind != TokenKind::name) return false;
      advance();
      if (!at_symbol(".")) return true;
      advance();
    }
  }

  bool default_values() {
    const std::size_t from = token_.piece.offset;
    if (!take_word("default") || !at_word("values")) return false;
    edits_.push_back({from, token_.piece.offset + token_.piece.size - from, " VALUES (", ")", true, true});
    return true;
  }

  // Ends behind the closing parenthesis, whose place it gives.
  bool skip_parentheses(std::size_t& close) {
    std::size_t depth = 0;
    for (; !ended(); advance()) {
      if (token_.kind == TokenKind::open) ++depth;
      if (token_.kind != TokenKind::close || --depth > 0) continue;
      close = token_.piece.offset;
      advance();
      return true;
    }
    return false;
  }

  bool column_list() {
    std::size_t close = 0;
    if (!skip_parentheses(close)) return false;
    if (fill_.how == KeyFill::How::append) edits_.push_back({close, 0, ", ", "", false, true});
    return true;
  }

  bool rows() {
    for (;;) {
      if (token_.kind != TokenKind::open) return false;
      if (!(fill_.how == KeyFill::How::append ? append_to_row() : replace_in_row())) return false;
      if (token_.kind != TokenKind::comma) return token_.kind != TokenKind::doubtful;
      advance();
    }
  }

  bool append_to_row() {
    std::size_t close = 0;
    if (!skip_parentheses(close)) return false;
    edits_.push_back({close, 0, ", ", "", true, false});
    return true;
  }

  // Commas within parentheses and brackets are not the row's.
  bool replace_in_row() {
    std::size_t depth = 0;
    std::uint32_t cell = 0;
    std::vector<Token> key;
    for (; !ended(); advance()) {
      const bool opens = token_.kind == TokenKind::open || at_symbol("["), closes = token_.kind == TokenKind::close || at_symbol("]");
      depth += opens ? 1U : 0U;
      if (closes && --depth == 0) break;
      if (depth == 1 && token_.kind == TokenKind::comma) {
        ++cell;
      } else if (cell == fill_.position && !(depth == 1 && opens)) {
        key.push_back(token_);
      }
    }
    if (ended()) return false;
    advance();
    if (is_to_fill(key)) {
      const TextPiece &first = key.front().piece, &last = key.back().piece;
      edits_.push_back({first.offset, last.offset + last.size - first.offset, "", "", true, false});
    }
    return true;
  }

  // DEFAULT, or weir.next_id().
  [[nodiscard]] bool is_to_fill(const std::vector<Token>& key) const {
    if (key.size() == 1) return is_word(key[0], sql_, "default");
    return key.size() == 5 && is_word(key[0], sql_, "weir") && key[1].piece.in(sql_) == "." && is_word(key[2], sql_, "next_id") &&
           key[3].kind == TokenKind::open && key[4].kind == TokenKind::close;
  }

  std::string_view sql_;
  const KeyFill& fill_;
  Tokens tokens_;
  Token token_;
  std::vector<FillEdit> edits_;
};

}  // namespace

std::optional<std::vector<FillEdit>> find_fill(std::string_view sql, const KeyFill& fill) {
  FillScan scan(sql, fill);
  if (!scan.run() || ids_of(scan.edits()) == 0) return std::nullopt;
  return std::move(scan.edits());
}

std::size_t ids_of(std::span<const FillEdit> edits) {
  return static_cast<std::size_t>(std::ranges::count_if(edits, [](const FillEdit& edit) { return edit.takes_id; }));
}

FilledText filled(std::string_view sql, const KeyFill& fill, std::span<const FillEdit> edits, std::span<const std::string> ids) {
  FilledText out;
  std::size_t from = 0, next = 0;
  for (const FillEdit& edit : edits) {
    out.sql += sql.substr(from, edit.offset - from);
    const std::size_t at = out.sql.size();
    if (edit.names_column && edit.takes_id) ((out.sql += "(") += fill.column) += ")";
    out.sql += edit.before;
    if (edit.names_column && !edit.takes_id) out.sql += fill.column;
    if (edit.takes_id) out.sql += ids[next++];
    out.sql += edit.after;
    out.places.push_back({at, out.sql.size() - at, edit.size});
    from = edit.offset + edit.size;
  }
  out.sql += sql.substr(from);
  return out;
}

std::optional<std::string> filled_with(std::string_view sql, const KeyFill& fill, const std::string& id) {
  const auto edits = find_fill(sql, fill);
  if (!edits) return std::nullopt;
  const std::vector<std::string> ids(ids_of(*edits), id);
  return filled(sql, fill, *edits, ids).sql;
}

}  // namespace weir::router
