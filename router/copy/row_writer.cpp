#include "router/copy/row_writer.hpp"

#include <algorithm>
#include <utility>

namespace weir::router::copy {
namespace {

constexpr std::string_view kBinaryHeader("PGCOPY\n\377\r\n\0\0\0\0\0\0\0\0\0", 19);
constexpr std::string_view kBinaryTrailer("\377\377", 2);

// The letter behind the backslash; 0: the character stands as it is.
char letter_of(char c) {
  switch (c) {
    case '\b': return 'b';
    case '\f': return 'f';
    case '\n': return 'n';
    case '\r': return 'r';
    case '\t': return 't';
    case '\v': return 'v';
    default: return 0;
  }
}

}  // namespace

RowWriter::RowWriter(const Options& options, std::vector<std::string> names) : options_(options), names_(std::move(names)) {
  for (const std::string& name : names_)
    forced_.push_back(options_.force_quote_all || std::find(options_.force_quote.begin(), options_.force_quote.end(), name) != options_.force_quote.end());
}

std::string RowWriter::begin() {
  if (options_.format == Format::binary) {
    held_ = kBinaryHeader;
    return {};
  }
  std::string line;
  for (std::size_t i = 0; options_.header && i < names_.size(); ++i) {
    if (i > 0) line += options_.delimiter;
    add(line, names_[i], false);
  }
  return options_.header ? line + "\n" : line;
}

std::string RowWriter::row(const merge::RowView& row) {
  if (options_.format == Format::binary) return binary_row(row);
  std::string line;
  for (std::size_t i = 0; i < names_.size(); ++i) {
    if (i > 0) line += options_.delimiter;
    if (row[i])
      add(line, as_text(*row[i]), forced_[i]);
    else
      line += options_.null;
  }
  return line + "\n";
}

// As in a DataRow: the number of columns, and each with its length.
std::string RowWriter::binary_row(const merge::RowView& row) {
  std::string tuple = std::exchange(held_, {});
  tuple += static_cast<char>(names_.size() >> 8);
  tuple += static_cast<char>(names_.size() & 0xFF);
  return tuple.append(as_text(row.first(names_.size())));
}

std::string RowWriter::end() {
  if (options_.format != Format::binary) return {};
  return std::exchange(held_, {}).append(kBinaryTrailer);
}

void RowWriter::add(std::string& out, std::string_view value, bool forced) const {
  options_.format == Format::csv ? add_quoted(out, value, forced) : add_escaped(out, value);
}

void RowWriter::add_escaped(std::string& out, std::string_view value) const {
  for (const char c : value) {
    const char letter = letter_of(c);
    if (letter != 0 || c == '\\' || c == options_.delimiter) out += '\\';
    out += letter != 0 ? letter : c;
  }
}

// A value is quoted if it could be taken for something else.
void RowWriter::add_quoted(std::string& out, std::string_view value, bool forced) const {
  const char special[] = {options_.delimiter, options_.quote, '\n', '\r'};
  const bool quoted = forced || value == options_.null || (names_.size() == 1 && value == "\\.") ||
                      value.find_first_of(std::string_view(special, sizeof special)) != std::string_view::npos;
  if (!quoted) {
    out += value;
    return;
  }
  out += options_.quote;
  for (const char c : value) {
    if (c == options_.quote || c == options_.escape) out += options_.escape;
    out += c;
  }
  out += options_.quote;
}

}  // namespace weir::router::copy
