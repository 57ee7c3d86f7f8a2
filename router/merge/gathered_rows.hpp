// GatheredRows: rows of all shards, in bounded memory, to be given to one server as array parameters.
// https://www.postgresql.org/docs/15/arrays.html
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "base/bytes.hpp"
#include "base/result.hpp"
#include "router/merge/row_view.hpp"

namespace weir::router::merge {

// One array a column, in binary format (array_recv): exact for every type that has one.
class GatheredRows {
 public:
  // `types`: the columns' OIDs.
  explicit GatheredRows(std::vector<std::uint32_t> types);

  // A DataRow's body with all columns in binary format. Fails (08P01) if it is malformed.
  [[nodiscard]] Result<void> add(ByteView body);
  [[nodiscard]] std::size_t rows() const { return rows_; }
  [[nodiscard]] std::size_t columns() const { return columns_.size(); }
  [[nodiscard]] std::uint32_t type(std::size_t i) const { return columns_[i].type; }
  // What is held, in bytes.
  [[nodiscard]] std::size_t bytes() const { return bytes_; }

  // The size of column `i`'s array, and the array.
  [[nodiscard]] std::size_t array_size(std::size_t i) const;
  void write_array(std::size_t i, ByteBuffer& out) const;

 private:
  struct Column {
    std::uint32_t type = 0;
    bool has_null = false;
    ByteBuffer elements;   // length word and value, each
  };
  std::vector<Column> columns_;
  RowView row_;
  std::size_t rows_ = 0;
  std::size_t bytes_ = 0;
};

}  // namespace weir::router::merge
