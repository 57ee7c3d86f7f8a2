#include "router/client/catalog_loader.hpp"

#include <pqxx/except>
#include <pqxx/result>

#include "router/client/errors.hpp"

namespace weir::client {

std::shared_ptr<const schema::Catalog> load_catalog(const config::Database& database, const RunQuery& run) {
  schema::CatalogBuilder builder(database);
  const auto& queries = schema::catalog_queries();
  for (std::size_t q = 0; q < queries.size(); ++q) {
    for (const auto& row : run(queries[q].sql)) {
      const schema::CatalogRow view(row.begin(), row.end());
      if (auto added = builder.add_row(q, view); !added) throw pqxx::failure(text_of(added.error()));
    }
  }
  auto catalog = builder.finish(1);
  if (!catalog) throw pqxx::failure(text_of(catalog.error()));
  return std::move(catalog).value();
}

std::shared_ptr<const schema::Catalog> load_catalog(const config::Database& database, pqxx::transaction_base& tx) {
  return load_catalog(database, [&tx](std::string_view sql) {
    QueryRows rows;
    for (const auto& row : tx.exec(std::string(sql))) {
      auto& out = rows.emplace_back();
      for (const auto& field : row)
        out.push_back(field.is_null() ? std::nullopt
                                      : std::optional<std::string>(std::string(field.c_str(), field.size())));
    }
    return rows;
  });
}

}  // namespace weir::client
