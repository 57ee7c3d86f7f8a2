// RowScanner: where a row of COPY data ends, by the rules of PostgreSQL's own reader (src/backend/commands/copyfromparse.c of PostgreSQL 15),
// whatever pieces the data comes in. Never looks at what was given before: it holds no data.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>

#include "base/bytes.hpp"
#include "base/error.hpp"
#include "router/copy/copy_plan.hpp"

namespace weir::router::copy {

// How far the row reaches into the bytes that were scanned.
struct RowEnd {
  enum class Kind : std::uint8_t {
    incomplete,  // all of them are the row's, and it goes on
    row,
    header,      // likewise, but every shard must have it: the header of text and csv, or of the binary format, and its trailer
    marker,      // it ends with the end-of-copy marker: whatever follows is ignored
    wrong,       // the server is certain to refuse it: it gets this and whatever follows
    failed,      // as `error` says
  };
  Kind kind = Kind::incomplete;
  std::size_t used = 0;     // bytes, ends of line and markers included
  std::size_t ending = 0;   // how many bytes at the end of the row are no data
};

class RowScanner {
 public:
  virtual ~RowScanner() = default;
  // Goes on with the bytes that follow those it had.
  [[nodiscard]] virtual RowEnd scan(ByteView bytes) = 0;
  // No more will come. `used` is 0; Kind::incomplete: no row was begun.
  [[nodiscard]] virtual RowEnd finish() = 0;
  // Lines of the row that has just ended, as the server counts them; `on_first`: where it is the first that a server gets. Binary: rows.
  [[nodiscard]] virtual std::uint64_t lines(bool on_first) const = 0;
  // Of Kind::failed.
  [[nodiscard]] const Error& error() const { return error_; }

 protected:
  Error error_;
};

[[nodiscard]] std::unique_ptr<RowScanner> make_line_scanner(const Options& options);              // text and csv
[[nodiscard]] std::unique_ptr<RowScanner> make_binary_scanner(std::uint16_t columns);

}  // namespace weir::router::copy
