// Gid: the name of a transaction prepared on one shard, `weir:1:<cluster>:<deciding shard>:<decision>:<participant>`.
//
// It says all that recovery must know: which installation's it is, and on which shard which decision is to be looked up. 1 is the version
// of this form. <cluster> is the uuid of weir.identity without its dashes; bytes of shards' names outside of [A-Za-z0-9_.-] are written
// %XX, so that a gid needs no quoting beyond its quotes. Names of prepared transactions belong to a whole server, hence the participant:
// two shards may live on one. https://www.postgresql.org/docs/15/sql-prepare-transaction.html
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "base/result.hpp"

namespace weir::router {

struct Gid {
  static constexpr std::size_t kMaxBytes = 199;   // PostgreSQL's GIDSIZE less the zero byte

  std::string cluster;       // uuid, as weir.identity has it
  std::string decider;       // shard
  std::string decision;      // make_decision_id()
  std::string participant;   // the shard it is prepared on
  friend bool operator==(const Gid&, const Gid&) = default;
};

// "<xid>-<random>" in hexadecimal: the number the deciding shard's transaction has there (txid_current()), which nobody else can use
// (schema/decisions.hpp), and 56 random bits, so that no client can take a gid before it is used.
[[nodiscard]] std::string make_decision_id(std::uint64_t xid, std::uint64_t random);

// Fails (54000) if it would be longer than kMaxBytes: a shard's name has too many bytes that must be written %XX.
[[nodiscard]] Result<std::string> print_gid(const Gid& gid);
// None: it is not of this form, to the letter (what print_gid() would not print is not read).
[[nodiscard]] std::optional<Gid> parse_gid(std::string_view text);

}  // namespace weir::router
