// WritePlan: how a write over several shards is carried out. The planner (router/write_*.cpp) makes it, as part of a ScatterPlan with
// Strategy::write; whoever has the connections carries it out. Immutable, shared freely. No I/O here.
//
// The law is that of router/scatter_plan.hpp: what happens is exactly what would happen in one PostgreSQL with all rows, or the statement is
// refused. All shards run their parts in one distributed transaction (one_by_one apart): an error of one is the statement's error, and
// undoes it on all.
//
// Kinds.
//
// each: every shard of the route runs `text`. The tag's count is the sum of theirs. Rows of RETURNING are passed on in any order, as PostgreSQL
//   gives them in none that it promises.
//
// rows: an INSERT ... VALUES whose rows lie on several shards (shards_of_rows()). Each shard runs text_of_rows() of its rows. The tag's count is the
//   sum. Rows of RETURNING are taken in the order of the client's rows: for each of these in turn, the next row of its shard. Where ON CONFLICT or a
//   trigger leaves rows out, a shard returns fewer, and it cannot be told which are missing: what is left is still in some order, and
//   each shard's rows are in theirs; PostgreSQL promises no more.
//
// same: tables of which every shard has the same rows (reference tables). Every shard of the route runs `text`. Tags and numbers of RETURNING rows
//   must be equal on all, or the shards' rows were not: then it fails. Tag and rows of the home shard are the answer.
//
// schema: DDL and the like; every shard of the route runs `text`. The home shard's tag and notices are the answer, the others' are dropped.
//   Of a list of objects the other shards may have some only (TRUNCATE of a sharded table and of one of the home shard): they run `elsewhere`, which
//   names these, where it is not empty. So it is with one_by_one.
//   `once_a_server`: what it names belongs to the whole PostgreSQL server (roles), on which several shards may live: only the first shard of
//   each (told apart by system_identifier) runs it.
//
// one_by_one: what no transaction block may hold (CREATE INDEX CONCURRENTLY, VACUUM): each shard runs `text` outside of one, in the order of
//   the route, the next one when the one before is done. If one fails, those before have it, and those behind do not: the error says which, in
//   DETAIL, and `again` says in HINT how to go on.
//
// What the driver does, in this order:
//  1. It prepares the client's own text on the home shard (each, rows, same: Parse and Describe; nothing is executed), inside the transaction, as of
//     a SELECT. An error is the client's answer, its position is one in the client's text. ParameterDescription gives the types that every other
//     Parse below declares; RowDescription is what the client sees of RETURNING.
//  2. At Execute, never before, every shard gets its text: `text` rendered, or the client's own where `text` is empty. Positions of errors in a
//     rendered text are not the client's, and are left out.
//  3. RowDescriptions must be alike, as of a SELECT. A difference fails the statement, which undoes what was done.
//  4. No row reaches the client before every shard has told its first row or its tag: a server runs the whole statement before it gives a row, so that
//     an error comes first. With a limit on rows the rest waits in the servers' buffers, as in PostgreSQL.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "router/scatter_plan.hpp"
#include "schema/bucket_map.hpp"

namespace weir::router {

struct WritePlan {
  enum class Kind : std::uint8_t { each, rows, same, schema, one_by_one };
  Kind kind = Kind::each;

  TextTemplate text;               // not of `rows`. Empty: the client's own text; never of an EXPLAIN, whose prefix no text here has
  TextTemplate head, tail;         // rows: what stands before the first row and behind the last one
  std::vector<TextTemplate> rows;  // rows: "(1, 'a')"

  TextTemplate elsewhere;          // schema, one_by_one: what the shards behind the home shard run. Empty: `text`
  bool once_a_server = false;
  std::string again;               // one_by_one: how to go on behind a failure
};
[[nodiscard]] std::string_view name_of(WritePlan::Kind kind) noexcept;

// rows: the shard of each row. Fails as resolve() does.
[[nodiscard]] Result<std::vector<schema::ShardId>> shards_of_rows(const Plan& plan, const Arguments& arguments,
                                                                  const schema::BucketMap& map);
// rows: the statement with these of its rows only, which are in ascending order.
[[nodiscard]] TextTemplate text_of_rows(const WritePlan& plan, std::span<const std::uint32_t> rows);

// Roughly.
[[nodiscard]] std::size_t size_of(const WritePlan& plan) noexcept;

}  // namespace weir::router
