// Loading a schema::Catalog over whatever connection the caller has.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <pqxx/transaction_base>
#include <string>
#include <string_view>
#include <vector>

#include "schema/catalog.hpp"

namespace weir::client {

using QueryRows = std::vector<std::vector<std::optional<std::string>>>;
using RunQuery = std::function<QueryRows(std::string_view sql)>;

// Runs the catalog queries through `run` (which should be one snapshot: REPEATABLE READ READ ONLY) and builds the
// catalog for `database`, which must outlive it. Throws pqxx::failure when a listed table or its key is missing; passes
// on what `run` throws.
[[nodiscard]] std::shared_ptr<const schema::Catalog> load_catalog(const config::Database& database,
                                                                  const RunQuery& run);

// The same over a libpqxx transaction.
[[nodiscard]] std::shared_ptr<const schema::Catalog> load_catalog(const config::Database& database,
                                                                  pqxx::transaction_base& tx);

}  // namespace weir::client
