#include "router/explain.hpp"

#include <algorithm>
#include <utility>

#include "base/strings.hpp"

namespace weir::router {

// ---- text ----

namespace {

using Rows = std::vector<std::string>;

void add_part(Rows& rows, const ExplainedPart& part, std::size_t indent) {
  const std::string blanks(indent, ' ');
  rows.push_back(concat(blanks, "->  Shard ", part.shard));
  rows.push_back(concat(blanks, "      Query: ", part.sql));
  for (const std::string& row : part.rows) rows.push_back(concat(blanks, "      ", row));
}

std::string_view node_of(const Explained& e) {
  if (e.finish) return "Weir Finish";
  if (e.plan->write) return "Weir Write";
  return e.plan->order.empty() ? "Weir Append" : "Weir Merge Append";
}

std::string names_of(const std::vector<ExplainedPart>& parts) {
  Rows names;
  for (const ExplainedPart& part : parts)
    if (std::find(names.begin(), names.end(), part.shard) == names.end()) names.push_back(part.shard);
  std::string list;
  for (const std::string& name : names) list += concat(list.empty() ? "" : ", ", name);
  return list;
}

Rows text_of_stream(const Explained& e) {
  const ScatterPlan& plan = *e.plan;
  Rows rows{concat(node_of(e), "  (shards: ", names_of(e.parts), ")")};
  if (!plan.order.empty()) rows.push_back(concat("  Sort Key: the last ", std::to_string(plan.order.size()), " columns of each shard's rows"));
  if (e.limit) rows.push_back(concat("  Limit: ", std::to_string(*e.limit)));
  if (e.offset) rows.push_back(concat("  Offset: ", std::to_string(*e.offset)));
  for (const ExplainedPart& part : e.parts) add_part(rows, part, 2);
  return rows;
}

Rows text_of_finish(const Explained& e) {
  Rows rows{concat(node_of(e), "  (shards: ", names_of(e.parts), ")")};
  rows.push_back(concat("  Reason: ", e.plan->construct));
  rows.push_back(concat("  ->  Finish on shard ", e.finish->shard, ", of the rows below"));
  rows.push_back(concat("        Query: ", e.finish->sql));
  for (const std::string& row : e.finish->rows) rows.push_back(concat("        ", row));
  std::string what;
  for (const ExplainedPart& part : e.parts) {
    if (part.what != what) rows.push_back(concat("  ->  Gather ", part.what));
    what = part.what;
    add_part(rows, part, 8);
  }
  return rows;
}

// ---- JSON ----

std::string json_string(std::string_view text) {
  constexpr char kHex[] = "0123456789abcdef";
  std::string out = "\"";
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (c == '"' || c == '\\') {
      out += '\\';
      out += c;
    } else if (byte < 0x20) {
      out += concat("\\u00", std::string(1, kHex[byte >> 4]), std::string(1, kHex[byte & 15]));
    } else {
      out += c;
    }
  }
  return out + '"';
}

std::string member(std::string_view name, const std::string& value) { return concat(json_string(name), ": ", value); }

// A server's document is a list of one object, whose members become this part's.
std::string json_part(const ExplainedPart& part) {
  std::string document;
  for (const std::string& row : part.rows) document += concat(document.empty() ? "" : "\n", row);
  std::string out = concat("{", member("Shard", json_string(part.shard)));
  if (!part.what.empty()) out += concat(", ", member("Gathered", json_string(part.what)));
  return concat(out, ", ", member("Query", json_string(part.sql)), ", ", member("Explain", document.empty() ? "null" : document), "}");
}

std::string json_of(const Explained& e) {
  const ScatterPlan& plan = *e.plan;
  std::string out = "[\n  {\n    \"Plan\": {\n      ";
  out += member("Node Type", json_string(node_of(e)));
  const auto add = [&out](std::string_view name, const std::string& value) { out += concat(",\n      ", member(name, value)); };
  if (e.finish) add("Reason", json_string(plan.construct));
  if (!plan.order.empty()) add("Sort Columns", std::to_string(plan.order.size()));
  if (e.limit && !e.finish) add("Limit", std::to_string(*e.limit));
  if (e.offset && !e.finish) add("Offset", std::to_string(*e.offset));
  if (e.finish) add("Finish", json_part(*e.finish));
  std::string parts;
  for (const ExplainedPart& part : e.parts) parts += concat(parts.empty() ? "" : ",\n        ", json_part(part));
  add("Shards", concat("[\n        ", parts, "\n      ]"));
  return out + "\n    }\n  }\n]";
}

}  // namespace

std::vector<std::string> explained_rows(const Explained& explained, bool json) {
  if (json) return {json_of(explained)};
  Rows rows = explained.finish ? text_of_finish(explained) : text_of_stream(explained);
  Rows lines;   // a query's text may hold line feeds
  for (const std::string& row : rows)
    for (std::size_t at = 0; at <= row.size();) {
      const std::size_t end = std::min(row.find('\n', at), row.size());
      lines.push_back(row.substr(at, end - at));
      at = end + 1;
    }
  return lines;
}

}  // namespace weir::router
