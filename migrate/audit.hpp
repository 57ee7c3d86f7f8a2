// weirctl audit: what an existing database would be like to shard. Looks only, in one read-only transaction.
#pragma once

#include <cstdint>
#include <ostream>
#include <string>
#include <vector>

#include "config/settings.hpp"
#include "migrate/audit_statement.hpp"

namespace weir::migrate {

// What the command line says where there is no weir.toml.
struct AuditedDatabase {
  std::string conninfo;
  std::vector<std::string> tables;      // "orders=user_id", "shop.orders=user_id"
  std::vector<std::string> references;  // "countries"
  std::uint32_t buckets = 4096;
  std::uint32_t shards = 2;
};
// Throws Failure (status 2) naming what is wrong.
[[nodiscard]] config::Database described_by(const AuditedDatabase& options);

struct StatementUse {
  std::string text;  // as it may be shown: literals lifted
  std::string role;
  std::int64_t calls = 0;
  double ms = 0;
  Verdict verdict;
};

// A table without a rule: what its rule could be.
struct UnlistedTable {
  std::string name;
  std::int64_t bytes = 0;
  std::int64_t rows = 0;
  std::string guess;  // "key", "reference", "home"
  std::string remedy;
};

struct AuditReport {
  std::string database, server, version;
  std::uint32_t buckets = 0;
  std::size_t shards = 0, listed = 0;
  std::string no_statements;  // why there are none
  std::string since;          // when pg_stat_statements began to count; empty: not known
  std::vector<StatementUse> statements;  // by time, longest first
  std::vector<std::string> schema;       // sentences, each with its remedy
  std::vector<UnlistedTable> unlisted;   // by size, largest first

  // Something would be refused or wrong as things stand.
  [[nodiscard]] bool needs_work() const;
};

// Connects to the home shard's primary. Throws Failure.
[[nodiscard]] AuditReport audit(const config::Database& database);

// `top`: how many statements of a class are shown.
void print_text(const AuditReport& report, std::size_t top, std::ostream& out);
// One JSON object; all statements.
void print_json(const AuditReport& report, std::ostream& out);

}  // namespace weir::migrate
