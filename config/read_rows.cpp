#include "config/read_rows.hpp"

#include <algorithm>
#include <numeric>

namespace weir::config {
namespace {

std::size_t edit_distance(std::string_view a, std::string_view b) {
  std::vector<std::size_t> row(b.size() + 1);
  std::iota(row.begin(), row.end(), std::size_t{0});
  for (std::size_t i = 1; i <= a.size(); ++i) {
    std::size_t diagonal = row[0]++;
    for (std::size_t j = 1; j <= b.size(); ++j) {
      const std::size_t replaced = diagonal + (a[i - 1] == b[j - 1] ? 0 : 1);
      diagonal = row[j];
      row[j] = std::min({row[j] + 1, row[j - 1] + 1, replaced});
    }
  }
  return row[b.size()];
}

// The known key nearest to `key`, if it is near enough to be a slip of the hand.
std::string_view meant_by(std::string_view key, const std::vector<std::string_view>& known) {
  std::string_view best;
  std::size_t best_distance = std::max<std::size_t>(2, key.size() / 3) + 1;
  for (const std::string_view each : known) {
    const std::size_t distance = edit_distance(ascii_lower(key), each);
    if (distance < best_distance) {
      best = each;
      best_distance = distance;
    }
  }
  return best;
}

std::string list_of(const std::vector<std::string_view>& names) {
  std::string list;
  for (const std::string_view each : names) list += concat(list.empty() ? "" : ", ", each);
  return list;
}

std::string as_toml(const toml::node& node) {
  if (const auto* text = node.as_string()) return quoted(text->get());
  if (const auto* number = node.as_integer()) return std::to_string(number->get());
  if (const auto* flag = node.as_boolean()) return flag->get() ? "true" : "false";
  return {};
}

const LaterKey* find_later(std::string_view kind, std::string_view key) {
  for (const LaterKey& later : later_keys())
    if (later.kind == kind && later.key == key) return &later;
  return nullptr;
}

}  // namespace

std::vector<std::string_view> nested_tables(std::string_view kind, bool users_file) {
  std::vector<std::string_view> names;
  for (const SectionFacts& section : sections()) {
    const std::size_t dot = section.kind.rfind('.');
    const std::string_view parent = dot == section.kind.npos ? std::string_view{} : section.kind.substr(0, dot);
    if (parent == kind && section.in_users_file == users_file)
      names.push_back(dot == section.kind.npos ? section.kind : section.kind.substr(dot + 1));
  }
  return names;
}

void report_stranger(Reader& reader, const Section& section, std::string_view key,
                     const std::vector<std::string_view>& known) {
  if (const LaterKey* later = find_later(section.kind, key)) {
    const std::string value = as_toml(*section.table->get(key));
    if (!later->accepted.empty() && value == later->accepted) return;
    const std::string what = value.empty() || later->accepted.empty() ? std::string("this key") : value;
    return reader.report(section, key, concat(not_supported(what), ": ", later->advice));
  }
  const std::string_view meant = meant_by(key, known);
  const std::string advice = meant.empty() ? "known here: " + list_of(known) : concat("did you mean \"", meant, "\"?");
  reader.report(section, key, concat("unknown key: ", advice));
}

}  // namespace weir::config
