#include "router/write_plan.hpp"

#include <algorithm>
#include <utility>

namespace weir::router {
namespace {

void append(std::vector<TextTemplate::Piece>& pieces, std::vector<std::uint16_t>& parameters, const TextTemplate& part) {
  pieces.insert(pieces.end(), part.pieces().begin(), part.pieces().end());
  parameters.insert(parameters.end(), part.parameters().begin(), part.parameters().end());
}

}  // namespace

std::string_view name_of(WritePlan::Kind kind) noexcept {
  switch (kind) {
    case WritePlan::Kind::each:
      return "each";
    case WritePlan::Kind::rows:
      return "rows";
    case WritePlan::Kind::same:
      return "same";
    case WritePlan::Kind::schema:
      return "schema";
    case WritePlan::Kind::one_by_one:
      return "one by one";
  }
  return "unknown";
}

TextTemplate text_of_rows(const WritePlan& plan, std::span<const std::uint32_t> rows) {
  std::vector<TextTemplate::Piece> pieces;
  std::vector<std::uint16_t> parameters;
  append(pieces, parameters, plan.head);
  for (std::size_t i = 0; i < rows.size(); ++i) {
    if (i > 0) pieces.push_back({TextTemplate::Piece::Kind::text, ", "});
    append(pieces, parameters, plan.rows[rows[i]]);
  }
  append(pieces, parameters, plan.tail);
  std::sort(parameters.begin(), parameters.end());
  parameters.erase(std::unique(parameters.begin(), parameters.end()), parameters.end());
  return {std::move(pieces), std::move(parameters)};
}

std::size_t size_of(const WritePlan& plan) noexcept {
  std::size_t bytes = sizeof plan + size_of(plan.text) + size_of(plan.head) + size_of(plan.tail) + size_of(plan.elsewhere) + plan.again.size();
  for (const TextTemplate& row : plan.rows) bytes += sizeof row + size_of(row);
  return bytes;
}

}  // namespace weir::router
