// What must hold between the keys of one [[database]]. Private to config/.
#pragma once

#include <optional>
#include <vector>

#include "config/reader.hpp"

namespace weir::config {

// A database as read, and the tables of the file it was read from (in the same order), for lines and names.
struct DatabaseSource {
  Section self;
  std::optional<Section> sharding;
  std::vector<Section> shards;
  std::vector<Section> tables;
};

void check_database(Reader& reader, const DatabaseSource& source, const Database& database);

// Reports each of `sections` whose name an earlier one has already. `what`: "database".
void check_names_differ(Reader& reader, const std::vector<Section>& sections, const std::vector<std::string>& names,
                        std::string_view what);

}  // namespace weir::config
