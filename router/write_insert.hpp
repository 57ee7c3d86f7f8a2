// The rows and columns of an INSERT as its planner sees them, in the tree and in the text.
#pragma once

#include <cstddef>
#include <optional>
#include <vector>

#include "router/write_text.hpp"
#include "schema/catalog.hpp"

namespace weir::router {

// What an INSERT's column without a value gets, as far as it is the same wherever it is computed.
enum class DefaultKind : std::uint8_t {
  constant,  // or NULL
  time,      // the transaction's start; time_cast()
  own,       // each server computes one of its own
};
[[nodiscard]] DefaultKind default_of(const schema::Column& column);
// What a timestamptz becomes there; empty: it is one.
[[nodiscard]] std::string time_cast(const schema::Column& column);

// Columns, by index, that the statement's rows have values for, in their order; -1: not known to the catalog, or the value is ignored.
[[nodiscard]] std::vector<int> columns_of(const InsertStmt& stmt, const schema::Relation& relation);
// Of such columns: those whose values OVERRIDING USER VALUE ignores become -1.
void leave_out_ignored(std::vector<int>& columns, OverridingKind kind, const schema::Relation& relation);

// Where the rows of VALUES stand in the text: tokens of their parentheses.
struct RowSpan {
  std::size_t open, close;
};
// None: it cannot be told for certain.
[[nodiscard]] std::optional<std::vector<RowSpan>> rows_of(const InsertStmt& stmt, const TextParts& text);
// The token that closes the list of columns; tokens().size(): there is none.
[[nodiscard]] std::size_t column_list_end(const InsertStmt& stmt, const TextParts& text);

}  // namespace weir::router
