// RowWriter: rows of a query as the data of COPY TO writes them, byte for byte as PostgreSQL does (CopyOneRowTo of src/backend/commands/copyto.c):
// for queries that no server runs as a COPY, because their rows are merged or finished first.
// https://www.postgresql.org/docs/15/sql-copy.html#id-1.9.3.55.9
#pragma once

#include <cstddef>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/bytes.hpp"
#include "router/copy/copy_plan.hpp"
#include "router/merge/row_view.hpp"

namespace weir::router::copy {

// Each function gives the payload of one CopyData message; empty: none is sent. Values are text of output functions in the client's
// encoding, in which no byte of a longer character looks like ASCII; of Format::binary, of send functions.
class RowWriter {
 public:
  // `names`: of the columns. `options` must outlive it.
  RowWriter(const Options& options, std::vector<std::string> names);

  // In front of the rows. The binary format's header is held back, for it travels with the first row.
  [[nodiscard]] std::string begin();
  // `row` holds the columns first; hidden ones behind them are left out.
  [[nodiscard]] std::string row(const merge::RowView& row);
  [[nodiscard]] std::string end();

 private:
  void add(std::string& out, std::string_view value, bool forced) const;
  void add_quoted(std::string& out, std::string_view value, bool forced) const;
  void add_escaped(std::string& out, std::string_view value) const;
  [[nodiscard]] std::string binary_row(const merge::RowView& row);

  const Options& options_;
  std::vector<std::string> names_;
  std::vector<bool> forced_;      // FORCE_QUOTE, of each column
  std::string held_;
};

}  // namespace weir::router::copy
