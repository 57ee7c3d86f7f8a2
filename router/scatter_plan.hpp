// ScatterPlan: how a statement over several shards is answered: a SELECT as below, a write as router/write_plan.hpp says. The planner (router/scatter_*.cpp) makes it; whoever has
// the connections (the proxy's driver, router/client) carries it out. Immutable, shared freely. No I/O here.
//
// The law: the answer is exactly what one PostgreSQL with all rows would give. So a plan holds only what was proven, and
// names what its driver must check before a row reaches the client. A check that fails is plan.refusal, never a guess.
//
// Two strategies for SELECT; COPY has one of its own (router/copy/copy_plan.hpp).
//
// stream: every shard of the route runs `shard_sql`; each row of the answer is some shard's row. With `order`, each shard's
//   rows come sorted, and the driver merges them; without, it passes them on in any order. Then it leaves out `offset` rows,
//   stops behind `limit` rows (and cancels what still runs). What it sorts by are the last `order.size()` columns of each
//   row, in the order of `order`; they are not part of the answer (binary format suits them).
//
// finish: every shard of the route runs the text of each `gathered`; the driver keeps the rows, bounded, and then runs
//   `finish_sql` on the home shard, whose rows are the answer as they come. Each gathered column enters as one array
//   parameter: `$first_parameter` holds column 0 of all rows of all shards, the next one column 1 ... The order of rows is
//   free, but the same for all columns of one `gathered`. No row: empty arrays.
//
// What the driver does, in this order:
//  1. It prepares the client's own text on the home shard (Parse and Describe, nothing is executed). An error is the
//     client's answer. ParameterDescription gives the types that every other Parse below declares for $1 to $n;
//     RowDescription is what the client sees. May be kept with the plan (ScatterPlan::described), which lives as long as
//     its snapshot, and stands in for the check where step 3 confirms it.
//  2. It renders a text and prepares it on each shard. A parameter of the client's that `parameters` of the text does not
//     list is not used there: it is declared as text and bound to NULL, or the server could not tell its type.
//  3. RowDescriptions of all shards must be alike in number of columns, names, type OIDs and typmods (table OIDs and
//     attribute numbers differ). Type OIDs from 16384 on belong to one database: passed on as text where all
//     shards have the same, else refused.
//     stream: the columns before the hidden ones must be those of step 1, too. finish: the RowDescription of `finish_sql`
//     must.
//  4. Of gathered columns with `exact_type` nothing more is asked. Of others the typmod must be -1. Where
//     `default_collation` is not set, the type must be one without a collation (not text, varchar, bpchar, name, nor any
//     type not known to have none), for the server's comparison of it may be any collation's.
//  5. An array parameter is declared as the array type of the column's type (pg_type.typarray). Values are best fetched and
//     bound in binary format: text depends on DateStyle and the like and must be quoted. The element type OID of a
//     binary array is the column's.
//  6. The shards' settings are the session's, all of them: TimeZone, DateStyle, search_path ... decide results.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/error.hpp"
#include "base/result.hpp"
#include "router/plan.hpp"

namespace weir::router {

inline constexpr std::size_t kDescribedBytes = 4 << 10;

// LIMIT or OFFSET, read by the driver.
struct RowCount {
  enum class Kind : std::uint8_t {
    none,       // no such clause, LIMIT ALL, NULL
    literal,    // `value`: position among the statement's lifted literals
    parameter,  // `value`: parameter number - 1; NULL: none
    fixed,      // `value` rows
  };
  Kind kind = Kind::none;
  std::uint64_t value = 0;
};

// What it is in one execution; none: no bound (of OFFSET: 0). Parameters are read as text, or as binary int2, int4, int8.
// `arguments.declared`: their types as the server described them. A negative number is PostgreSQL's own error (2201W,
// 2201X); what cannot be read is refused.
[[nodiscard]] Result<std::optional<std::uint64_t>> value_of(const RowCount& count, bool offset,
                                                            const Arguments& arguments);

// What fills the holes of a text in one execution.
struct Rendering {
  const Arguments* arguments = nullptr;
  std::optional<std::uint64_t> rows;  // limit + offset: how many of a shard's rows can matter; none: all
  std::string_view now;               // start of the transaction: a timestamptz as text without quotes, with its zone
                                      // ("2026-11-21 13:31:35.123456+00"); the same in all texts of one execution
};

// A statement whose literals are filled in when it runs: a plan is shared by all statements that differ in them only.
class TextTemplate {
 public:
  struct Piece {
    enum class Kind : std::uint8_t {
      text,
      literal,  // the execution's literal `index`, as it stands in the client's text
      rows,     // Rendering::rows, or ALL
      now,      // Rendering::now as a string constant
    };
    Kind kind = Kind::text;
    std::string text{};
    std::uint32_t index = 0;
  };
  TextTemplate() = default;
  TextTemplate(std::vector<Piece> pieces, std::vector<std::uint16_t> parameters)
      : pieces_(std::move(pieces)), parameters_(std::move(parameters)) {}

  [[nodiscard]] std::string render(const Rendering& rendering) const;
  // Numbers of the client's parameters that the text uses, sorted.
  [[nodiscard]] const std::vector<std::uint16_t>& parameters() const { return parameters_; }
  [[nodiscard]] const std::vector<Piece>& pieces() const { return pieces_; }
  [[nodiscard]] bool empty() const { return pieces_.empty(); }
  [[nodiscard]] bool uses_now() const;

 private:
  std::vector<Piece> pieces_;
  std::vector<std::uint16_t> parameters_;
};

// One hidden column that the rows of every shard are sorted by.
struct SortColumn {
  bool descending = false;
  bool nulls_first = false;
  bool collation_known = true;  // false: only types without a collation can be merged by this column
  std::string collation{};  // of text: empty is the database's default, "C" and "POSIX" are bytewise, else its name. What the
                            // driver cannot compare as the server does is ScatterPlan::otherwise, or refused
};

// One column of gathered rows (steps 4 and 5 above).
struct GatheredColumn {
  bool exact_type = false;         // finish_sql casts it to what it is, typmod and collation included
  bool default_collation = false;  // if its type has a collation, it is the database's default
};

// Rows that finish_sql reads.
struct Gathered {
  TextTemplate shard_sql;
  std::uint32_t first_parameter = 0;  // $n of column 0
  std::vector<GatheredColumn> columns;
  std::string what;                   // for messages: "orders", "partial aggregates"
};

// What literals must be, or the plan is for another statement; resolve() sees to it.
struct LiteralRules {
  std::vector<std::pair<std::uint32_t, std::uint32_t>> same;  // two literals have the same text
  std::vector<std::pair<std::uint32_t, std::string>> fixed;   // a literal has this text
};

struct WritePlan;  // router/write_plan.hpp
namespace copy {
struct CopyPlan;  // router/copy/copy_plan.hpp
}

struct ScatterPlan {
  enum class Strategy : std::uint8_t { stream, finish, write, copy };
  Strategy strategy = Strategy::stream;

  // stream
  TextTemplate shard_sql;             // empty: the client's own text
  std::vector<SortColumn> order;      // as many hidden columns
  RowCount limit, offset;             // stream applies them; finish needs them for Rendering::rows only
  std::shared_ptr<const ScatterPlan> otherwise;  // a finish plan of the same answer, for types and collations that the
                                                 // driver cannot sort by; or none

  // finish
  std::vector<Gathered> gathered;
  TextTemplate finish_sql;

  // write; never null then, and nothing of the above is set
  std::shared_ptr<const WritePlan> write;
  // copy; never null then. `shard_sql` is the text of each shard, or empty: the client's own.
  std::shared_ptr<const copy::CopyPlan> copy;

  bool uses_now = false;  // some text has a piece Kind::now
  LiteralRules literals;
  std::string construct;  // what makes it need more than one shard, for messages: "aggregates over shards"
  // The answer where it cannot be carried out: in a transaction block, or when a check fails.
  Error refusal;

  // The driver's own: what step 1 told it, at most kDescribedBytes. Of a plan with Target::scatter (the cache counts it
  // there), and only for the thread whose Router made the plan.
  mutable std::shared_ptr<void> described;
};

[[nodiscard]] std::string_view name_of(ScatterPlan::Strategy strategy) noexcept;
// Roughly.
[[nodiscard]] std::size_t size_of(const TextTemplate& text) noexcept;
[[nodiscard]] std::size_t size_of(const ScatterPlan& plan) noexcept;

}  // namespace weir::router
