#include "router/split_text.hpp"

#include <algorithm>
#include <string>

#include "router/pg_tree.hpp"

namespace weir::router {

std::vector<TextPiece> split_statements(std::string_view sql) {
  std::vector<TextPiece> pieces;
  if (sql.find('\0') != std::string_view::npos) return pieces;
  const pg::ParsedText parsed{std::string(sql)};
  if (!parsed.ok()) return pieces;
  for (const RawStmt* raw : parsed.statements()) {
    const auto offset = std::min(static_cast<std::size_t>(std::max(raw->stmt_location, 0)), sql.size());
    const std::size_t size = raw->stmt_len > 0 ? static_cast<std::size_t>(raw->stmt_len) : sql.size() - offset;
    pieces.push_back({offset, std::min(size, sql.size() - offset)});
  }
  return pieces;
}

}  // namespace weir::router
