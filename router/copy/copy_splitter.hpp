// CopySplitter: the data of a COPY FROM into pieces, each for one shard (or for all of them).
//
// The data may come cut anywhere. What is whole is passed on where it lies; only a row whose end has not come yet is held, up to `max_held`
// bytes. A row that PostgreSQL refuses goes, as far as that is certain, to the home shard, whose own error is the client's; where rows end in
// a way that PostgreSQL refuses, or where a shard cannot be told, the splitter says so itself.
//
// Pure; one thread. Data behind an end-of-copy marker is ignored, as PostgreSQL up to 17 does.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "base/bytes.hpp"
#include "base/error.hpp"
#include "router/copy/copy_plan.hpp"
#include "router/copy/row_scanner.hpp"
#include "schema/bucket_map.hpp"

namespace weir::router::copy {

class CopySplitter {
 public:
  struct Settings {
    const CopyPlan* plan = nullptr;        // Way::split; outlives the splitter
    const schema::BucketMap* map = nullptr;   // likewise
    bool server_encoding = true;           // the data is in the server's encoding; else text keys must be ASCII
    std::size_t max_held = std::size_t{64} << 20;
  };
  struct Piece {
    ByteView bytes;                        // lasts until the next call, and as long as the data it was taken from
    schema::ShardId shard = schema::kHomeShard;
    bool to_all = false;                   // every shard gets it
    std::uint64_t line = 0;                // its last line, as PostgreSQL counts them; binary: its row
    std::uint64_t lines = 0;               // how many it has; `lines_as_first`: as a server counts them that got nothing before
    std::uint64_t lines_as_first = 0;
  };
  enum class Got : std::uint8_t { piece, nothing, failed };

  explicit CopySplitter(const Settings& settings);

  // Takes bytes from the front of `data`. nothing: all of it was taken, and no piece is whole.
  [[nodiscard]] Got next(ByteView& data, Piece& piece);
  // The client has no more. Call until it gives nothing.
  [[nodiscard]] Got finish(Piece& piece);
  // Of Got::failed, after which nothing else may be called. `where` is for its CONTEXT: "COPY orders, line 3".
  [[nodiscard]] const Error& error() const { return error_; }
  [[nodiscard]] std::string where() const;

 private:
  [[nodiscard]] Got take(RowEnd end, ByteView row, Piece& piece);
  [[nodiscard]] Got place(ByteView data, Piece& piece);
  [[nodiscard]] Got place_null();
  [[nodiscard]] std::optional<schema::KeyValue> key_of(ByteView value) const;
  [[nodiscard]] const char* doubt_about(const std::string& text) const;
  Got fail(Error error, bool of_key = false);

  Settings settings_;
  const CopyPlan& plan_;
  std::unique_ptr<RowScanner> scanner_;
  ByteBuffer held_;          // a row's beginning
  bool release_held_ = false;   // the last piece lay there
  bool passes_on_ = false;   // what follows goes home, to be refused there
  bool over_ = false;        // what follows is ignored
  bool in_header_;
  bool finished_ = false;
  bool of_key_ = false;      // the error is the key's
  std::uint64_t line_ = 0;
  std::string scratch_;
  Error error_;
};

}  // namespace weir::router::copy
