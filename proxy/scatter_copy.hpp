// Scatter::Copy: one COPY on its shards, as a part of a Scatter: its data split between them, or theirs put together
// (router/copy/copy_plan.hpp). https://www.postgresql.org/docs/15/protocol-flow.html#PROTOCOL-COPY
//
// FROM: the client's CopyData is taken from its socket only while no shard is behind by more than kMaxBehind bytes, so a slow shard slows the
// client down. An error of a shard is the client's at once; the others are told CopyFail, and what the client still sends is dropped by the session,
// as PostgreSQL drops it. TO: as rows of a SELECT in any order.
//
// Files: scatter_copy.cpp (its beginning and end), scatter_copy_in.cpp (FROM), scatter_copy_out.cpp (TO).
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "proxy/scatter.hpp"
#include "router/copy/copy_plan.hpp"
#include "router/copy/copy_splitter.hpp"
#include "router/copy/line_map.hpp"
#include "schema/bucket_map.hpp"

namespace weir::proxy {

class Scatter::Copy {
 public:
  Copy(Scatter& scatter, Portal& portal);
  Copy(const Copy&) = delete;
  Copy& operator=(const Copy&) = delete;

  // Sends it. True: all shards are ready for the data, and agree on its shape.
  [[nodiscard]] net::Task<bool> start();
  // The data. True: every shard is done with it.
  [[nodiscard]] net::Task<bool> run();
  // Something failed: shards that still wait for data must not.
  void abandon();

  [[nodiscard]] bool is_from() const { return from_; }
  // From here on the client's messages are COPY data.
  [[nodiscard]] bool has_begun() const { return begun_; }
  // "COPY 3"
  [[nodiscard]] const std::string& tag() const { return tag_; }
  // A shard's ErrorResponse with the client's line in its CONTEXT.
  void append_error(ByteBuffer& out, const ScatterLink& link, ByteView body) const;

 private:
  static constexpr std::size_t kMaxBehind = 256 << 10;
  static constexpr unsigned kTurns = 32;        // reads from the client, before others have their turn

  struct Shard {
    ScatterLink* link = nullptr;
    ByteBuffer rows;                            // of a CopyData that is not complete yet
    router::copy::LineMap lines;
    bool told = false;                          // the transaction knows that it is written to
    bool begun = false;                         // TO: its first message has come
  };

  [[nodiscard]] std::optional<std::string> text();
  [[nodiscard]] bool hear();
  [[nodiscard]] bool is_readable();
  [[nodiscard]] bool agree();
  [[nodiscard]] bool failed() const { return scatter_.failed(); }
  [[nodiscard]] bool sum_tags();

  // --- FROM ---
  [[nodiscard]] net::Task<bool> copy_in();
  net::Task<> skip_message();
  [[nodiscard]] bool is_in_server_encoding() const;
  [[nodiscard]] bool take_from_client();
  [[nodiscard]] bool take_message();
  void take_data(ByteView data);
  void take_piece(const router::copy::CopySplitter::Piece& piece);
  void add(Shard& shard, ByteView bytes);
  void seal(Shard& shard);
  [[nodiscard]] bool is_behind();
  void end_data();
  void fail_here(Error error);
  void break_off(char type);

  // --- TO ---
  [[nodiscard]] net::Task<bool> copy_out();
  [[nodiscard]] bool take_rows();
  void pass_on(Shard& shard, const wire::Message& data);
  void pass_on_binary(ByteView data);
  void pass_on_header(const wire::Message& data);
  void end_out();

  Scatter& scatter_;
  Session& s_;
  Portal& portal_;
  const router::copy::CopyPlan* plan_;          // null: one shard, as it is
  const bool from_;
  schema::BucketMap map_;                       // as it was planned; a reload must not split one COPY by two maps
  std::optional<router::copy::CopySplitter> splitter_;
  std::vector<Shard> shards_;                   // as portal.shards
  std::vector<std::size_t> place_of_;           // of a shard in there
  std::uint64_t left_ = 0;                      // of the client's CopyData
  bool begun_ = false;
  bool over_ = false;                           // the client said CopyDone
  bool abandoned_ = false;
  bool has_header_ = false;                     // TO: the header is known, or on its way
  std::string header_;
  std::size_t turn_ = 0;
  std::string tag_;
};

}  // namespace weir::proxy
