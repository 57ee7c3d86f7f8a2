// Fills one struct of Settings from one table of the file, by its rows. Private to config/.
#pragma once

#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "base/strings.hpp"
#include "config/rows.hpp"

namespace weir::config {

// Reports a key that is in no row: as one of a later version, or as unknown with what was perhaps meant.
void report_stranger(Reader& reader, const Section& section, std::string_view key,
                     const std::vector<std::string_view>& known);
// Names of the tables that may stand inside a table of `kind`.
[[nodiscard]] std::vector<std::string_view> nested_tables(std::string_view kind, bool users_file);

template <class S>
const Row<S>* find_row(std::string_view key) {
  for (const Row<S>& row : rows_of<S>())
    if (row.key == key) return &row;
  return nullptr;
}

template <class S>
void report_strangers(Reader& reader, const Section& section, bool users_file = false) {
  std::vector<std::string_view> known = nested_tables(section.kind, users_file);
  const std::set<std::string_view> nested(known.begin(), known.end());
  for (const Row<S>& row : rows_of<S>()) known.push_back(row.key);
  for (const auto& [key, node] : *section.table)
    if (!nested.contains(key.str()) && find_row<S>(key.str()) == nullptr)
      report_stranger(reader, section, key.str(), known);
}

// Every key of the table into its member of `out`; unknown and missing keys are reported.
template <class S>
void read_rows(Reader& reader, const Section& section, S& out, bool users_file = false) {
  for (const Row<S>& row : rows_of<S>()) {
    if (const toml::node* node = section.table->get(row.key)) {
      Value value(reader, *node, section.key(row.key), row.facts.secret);
      row.read(value, row.facts.limits, out);
    } else if (row.facts.required) {
      reader.report(section, row.key, concat("missing: expected ", row.allowed(row.facts.limits)));
    }
  }
  report_strangers<S>(reader, section, users_file);
}

}  // namespace weir::config
