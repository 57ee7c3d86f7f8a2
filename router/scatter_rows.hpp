// GatheredRows: the columns that shards give and a finishing statement reads, as "weir_g.c1", "weir_g.c2" ...
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "router/scatter_context.hpp"

namespace weir::router {

class GatheredRows {
 public:
  explicit GatheredRows(const ScatterContext& context) : context_(context) {}

  // Another column, computed by the shards. Its name in the finishing statement. `cast`: empty: as it comes.
  std::string add(Node* value, GatheredColumn column, std::string cast = {});
  // One whose type only the shards know, unless it is a table's column. None: of another collation than the default.
  std::optional<std::string> add_value(Node* value);

  [[nodiscard]] std::size_t size() const { return columns_.size(); }
  // "value AS c1, ..." for the shards.
  [[nodiscard]] List* targets() const;
  // The item of the finishing statement's FROM list, and what its name stands for: Draft::Fill::relations[0].
  [[nodiscard]] static Node* item();
  [[nodiscard]] std::string relation() const;
  // Without its text.
  [[nodiscard]] Gathered gathered(std::string what) const;

 private:
  struct Entry {
    Node* value;
    GatheredColumn column;
    std::string cast;
  };
  [[nodiscard]] std::uint32_t first_parameter() const;

  const ScatterContext& context_;
  std::vector<Entry> columns_;
};

}  // namespace weir::router
