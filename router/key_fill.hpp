// KeyFill: an INSERT whose rows lack the sharding key of a table with a default_key (docs/ids.md).
//
// The plan of such a statement is refused as it stands. Whoever can give ids writes them into the text, each where its row's key belongs, as a
// number or as a parameter of its own, and plans that text: it is an INSERT with keys like any other, and its plan is the proof that the
// ids stand where they should.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace weir::router {

struct KeyFill {
  enum class How : std::uint8_t {
    append,    // the key is not in the list of columns: it goes to the end of the list and of each row
    replace,   // rows have DEFAULT (or weir.next_id()) in the key's place
    values,    // DEFAULT VALUES
  };
  How how = How::append;
  std::string column;            // the key, quoted where it must be
  std::uint32_t position = 0;    // replace: of the key in a row
};

// One place of the text that is replaced.
struct FillEdit {
  std::size_t offset = 0, size = 0;   // of what goes
  std::string_view before{}, after{}; // around the id
  bool takes_id = false;
  bool names_column = false;          // `column` of the KeyFill stands there
};

// In the text's order; none: it cannot be said with certainty where the ids belong. At least one takes an id.
[[nodiscard]] std::optional<std::vector<FillEdit>> find_fill(std::string_view sql, const KeyFill& fill);
[[nodiscard]] std::size_t ids_of(std::span<const FillEdit> edits);

struct FilledText {
  // What stands at `at` of the filled text and is `size` bytes long replaces `replaced` bytes of the client's.
  struct Place {
    std::size_t at = 0, size = 0, replaced = 0;
  };
  std::string sql;
  std::vector<Place> places;
};
// `ids`: as they are to be written, one for each edit that takes one.
[[nodiscard]] FilledText filled(std::string_view sql, const KeyFill& fill, std::span<const FillEdit> edits, std::span<const std::string> ids);

// The statement with one id in every place that takes one: what it would be when it runs, for those who only ask where it would go. None: as
// of find_fill().
[[nodiscard]] std::optional<std::string> filled_with(std::string_view sql, const KeyFill& fill, const std::string& id);

}  // namespace weir::router
