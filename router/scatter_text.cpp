// TextTemplate and RowCount: what a plan leaves open until it runs.
#include <algorithm>
#include <charconv>
#include <limits>
#include <utility>

#include "base/strings.hpp"
#include "router/copy/copy_plan.hpp"
#include "router/scatter_plan.hpp"
#include "router/write_plan.hpp"

namespace weir::router {
namespace {

using Count = Result<std::optional<std::uint64_t>>;

std::string_view clause_of(bool offset) { return offset ? "OFFSET" : "LIMIT"; }

Error negative(bool offset) {
  return Error(SqlState(offset ? "2201X" : "2201W"), concat(clause_of(offset), " must not be negative"));
}

Error unreadable(bool offset) {
  return Error(sqlstate::kFeatureNotSupported,
               concat(clause_of(offset), " over several shards is not a plain number"),
               concat("Give ", clause_of(offset), " an integer literal, or an integer parameter."));
}

Count from_signed(std::int64_t value, bool offset) {
  if (value < 0) return negative(offset);
  return std::optional(static_cast<std::uint64_t>(value));
}

Count from_text(std::string_view text, bool offset) {
  const auto is_blank = [](char c) { return c == ' ' || (c >= '\t' && c <= '\r'); };
  while (!text.empty() && is_blank(text.front())) text.remove_prefix(1);
  while (!text.empty() && is_blank(text.back())) text.remove_suffix(1);
  if (text.starts_with('+')) text.remove_prefix(1);
  std::int64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc{} || end != text.data() + text.size()) return unreadable(offset);
  return from_signed(value, offset);
}

Count from_binary(ByteView bytes, std::uint32_t type, bool offset) {
  const std::size_t size = type == schema::oid::kInt2 ? 2 : type == schema::oid::kInt4 ? 4 : type == schema::oid::kInt8 ? 8 : 0;
  if (size == 0 || bytes.size() != size) return unreadable(offset);
  std::uint64_t value = (bytes[0] & 0x80) != 0 ? std::numeric_limits<std::uint64_t>::max() : 0;
  for (const std::uint8_t byte : bytes) value = value << 8 | byte;
  return from_signed(static_cast<std::int64_t>(value), offset);
}

// An undeclared one is bigint, as the server infers for LIMIT and OFFSET.
Count from_parameter(std::size_t index, bool offset, const Arguments& arguments) {
  if (index >= arguments.parameters.size())
    return Error(sqlstate::kProtocolViolation,
                 concat("bind message supplies ", std::to_string(arguments.parameters.size()), " parameters, but ",
                        clause_of(offset), " is $", std::to_string(index + 1)),
                 "bind every parameter of the statement");
  const Parameter& parameter = arguments.parameters[index];
  if (parameter.is_null) return std::optional<std::uint64_t>();
  const std::uint32_t given = index < arguments.declared.size() ? arguments.declared[index] : 0;
  const std::uint32_t type = given == 0 ? schema::oid::kInt8 : given;
  if (type != schema::oid::kInt2 && type != schema::oid::kInt4 && type != schema::oid::kInt8) return unreadable(offset);
  return parameter.binary ? from_binary(parameter.value, type, offset) : from_text(as_text(parameter.value), offset);
}

}  // namespace

Count value_of(const RowCount& count, bool offset, const Arguments& arguments) {
  switch (count.kind) {
    case RowCount::Kind::none:
      return std::optional<std::uint64_t>();
    case RowCount::Kind::fixed:
      return std::optional(count.value);
    case RowCount::Kind::parameter:
      return from_parameter(count.value, offset, arguments);
    case RowCount::Kind::literal:
      break;
  }
  if (count.value >= arguments.literals.size()) return unreadable(offset);
  const Literal& literal = arguments.literals[count.value];
  return from_text(arguments.sql.substr(literal.offset, literal.length), offset);
}

std::string TextTemplate::render(const Rendering& rendering) const {
  std::string out;
  for (const Piece& piece : pieces_) {
    switch (piece.kind) {
      case Piece::Kind::text:
        out += piece.text;
        break;
      case Piece::Kind::literal: {
        const Literal& literal = rendering.arguments->literals[piece.index];
        out += rendering.arguments->sql.substr(literal.offset, literal.length);
        break;
      }
      case Piece::Kind::rows:
        out += rendering.rows ? std::to_string(*rendering.rows) : "ALL";
        break;
      case Piece::Kind::now:
        out += concat("'", rendering.now, "'");
        break;
    }
  }
  return out;
}

bool TextTemplate::uses_now() const {
  return std::any_of(pieces_.begin(), pieces_.end(), [](const Piece& p) { return p.kind == Piece::Kind::now; });
}

std::string_view name_of(ScatterPlan::Strategy strategy) noexcept {
  switch (strategy) {
    case ScatterPlan::Strategy::stream:
      return "stream";
    case ScatterPlan::Strategy::finish:
      return "finish";
    case ScatterPlan::Strategy::write:
      return "write";
    case ScatterPlan::Strategy::copy:
      return "copy";
  }
  return "unknown";
}

std::size_t size_of(const TextTemplate& text) noexcept {
  std::size_t bytes = text.parameters().size() * sizeof(std::uint16_t);
  for (const TextTemplate::Piece& piece : text.pieces()) bytes += sizeof piece + piece.text.size();
  return bytes;
}

std::size_t size_of(const ScatterPlan& plan) noexcept {
  std::size_t bytes = sizeof plan + size_of(plan.shard_sql) + size_of(plan.finish_sql) + plan.construct.size() +
                      plan.refusal.message.size() + plan.refusal.hint.size();
  for (const SortColumn& column : plan.order) bytes += sizeof column + column.collation.size();
  for (const Gathered& gathered : plan.gathered)
    bytes += sizeof gathered + size_of(gathered.shard_sql) + gathered.what.size() +
             gathered.columns.size() * sizeof(GatheredColumn);
  if (plan.copy) bytes += sizeof *plan.copy + plan.copy->table.size() + plan.copy->key.size();
  return bytes + (plan.otherwise ? size_of(*plan.otherwise) : 0) + (plan.write ? size_of(*plan.write) : 0);
}

}  // namespace weir::router
