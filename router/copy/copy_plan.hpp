// CopyPlan: how a COPY of a listed table is carried out over several shards. Immutable; part of a ScatterPlan. Whoever has the connections
// (proxy/scatter_copy*.cpp) carries it out.
// https://www.postgresql.org/docs/15/sql-copy.html
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "schema/key.hpp"

namespace weir::router::copy {

enum class Format : std::uint8_t { text, csv, binary };

// What of COPY's options matters to somebody who reads its data. Options that the server refuses are read somehow: it says so before any data.
struct Options {
  Format format = Format::text;
  bool header = false;          // the first line names the columns (HEADER, HEADER MATCH)
  char delimiter = '\t';
  char quote = '"';             // csv
  char escape = '"';            // csv
  std::string null = "\\N";     // what stands for NULL; of csv by default nothing at all
  std::string encoding;         // ENCODING, lower case without punctuation ("utf8"); empty: client_encoding
  bool force_not_null = false;  // FORCE_NOT_NULL, FORCE_NULL: of the sharding key's column
  bool force_null = false;
  bool force_quote_all = false;          // csv, TO
  std::vector<std::string> force_quote;  // by name
};

struct CopyPlan {
  enum class Way : std::uint8_t {
    split,        // FROM: each row goes to the shard of its key
    every_shard,  // FROM, a reference table: every shard gets every row
    out,          // TO: the rows of every shard, in any order
    query,        // TO, of a query whose rows are merged or finished: query_of() is run as a SELECT, and RowWriter writes its rows
  };
  Way way = Way::split;
  Options options;
  std::string table;            // qualified, for messages
  std::string relation;         // its name alone, as the server's CONTEXT has it

  // FROM
  std::uint16_t columns = 0;    // of the data: the server must count as many
  // split
  std::string key;              // the sharding key's column
  std::uint16_t position = 0;   // among the columns of the data
  schema::KeyType type = schema::KeyType::int8;
  std::uint32_t max_length = 0; // of a varchar(n) key; 0: no limit
  bool not_null = false;        // the server refuses a NULL key itself
  bool has_triggers = false;    // it may write where it gets no row
};

// The query of COPY (query) TO. Empty: the text cannot be cut into tokens.
[[nodiscard]] std::string_view query_of(std::string_view sql);

}  // namespace weir::router::copy
