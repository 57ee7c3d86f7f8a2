// Plan: what is to be done with a statement, before its literals and parameters are known. And Route: with them.
//
// A plan is made once for each distinct lifted token stream (router/plan_cache.hpp) and is immutable. It says
// where the sharding key stands (which literal, which parameter), not what it is.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/bytes.hpp"
#include "base/error.hpp"
#include "base/result.hpp"
#include "schema/bucket_map.hpp"
#include "schema/key.hpp"

namespace weir::router {

// What kind of statement, as far as a session must act on it.
enum class Verb : std::uint8_t {
  empty,            // nothing but blanks and comments
  query,            // SELECT, VALUES, TABLE, SHOW, EXPLAIN without ANALYZE: returns rows
  dml,              // INSERT, UPDATE, DELETE, MERGE, SELECT with a data-modifying CTE, SELECT INTO
  copy_from,        // COPY ... FROM STDIN
  copy_to,          // COPY ... TO STDOUT
  begin,            // BEGIN, START TRANSACTION
  commit,           // COMMIT, END (COMMIT AND CHAIN: Plan::chain)
  rollback,         // ROLLBACK, ABORT
  savepoint,
  release_savepoint,
  rollback_to_savepoint,
  set,              // SET [SESSION] name = ...; Plan::setting
  set_local,        // SET LOCAL name = ...
  set_transaction,  // SET TRANSACTION ...
  set_constraints,  // SET CONSTRAINTS, but for those that the home shard alone has
  reset,            // RESET name, SET name TO DEFAULT; Plan::setting
  reset_all,
  discard_all,
  deallocate,       // DEALLOCATE name; Plan::setting holds the name
  deallocate_all,
  prepare,          // PREPARE; Plan::prepared says what
  execute,          // EXECUTE; EXPLAIN EXECUTE is a query, CREATE TABLE AS EXECUTE a utility, both with Plan::prepared
  listen,           // LISTEN; Plan::setting is the channel
  unlisten,         // UNLISTEN; Plan::setting is the channel, empty: all
  own_setting,      // SET, RESET or SHOW of weir.shard, weir.key, weir.role: Plan::own; the proxy answers it
  utility,          // everything else that parses: DDL, NOTIFY, DECLARE, LOCK, DO, CALL ...
  multi,            // several statements in one string
  unparsable,       // the parser rejects it (Plan::refusal says why, for sharded databases)
};
[[nodiscard]] std::string_view name_of(Verb verb) noexcept;

// What a statement leaves behind on the server connection it ran on (design §5, issue: no leaks).
struct Effects {
  bool taints = false;      // DISCARD ALL before another client has the server: anything but plain DML on
                            // relations without triggers, calling only built-ins known to leave no trace
  bool pins = false;        // state the client will expect later and nobody can ask for (LOAD, setseed, a
                            // setting whose name is computed): the client keeps this server until DISCARD ALL
  bool soft = false;        // nextval, setval: currval may be asked for; keeps the server while that costs others nothing
  bool needs_clean = false; // the sequence functions: on a server not kept by this client, DISCARD SEQUENCES comes first
  bool sets = false;        // changed settings, and only the server can tell to what (set_config): it is asked before it
                            // goes back
  bool sets_locally = false;  // set_config(..., true): the transaction's setting, which other servers do not have
  bool holds = false;       // makes what keeps the server (temp table, session advisory lock, cursor WITH HOLD): asked
  bool opaque = false;      // runs code that nobody has looked into (a user's function, DO): both are asked
  bool tells_channels = false;  // says to which channels the session listens, which a server that it shares does not know
  bool notifies = false;    // NOTIFY: its server cannot be prepared (PREPARE TRANSACTION)
  bool releases = false;    // may have ended such (DROP, CLOSE, pg_advisory_unlock): asked if the server is kept
  void add(const Effects& other);
  bool operator==(const Effects&) const = default;
};
inline void Effects::add(const Effects& o) {
  taints |= o.taints;
  pins |= o.pins;
  soft |= o.soft;
  needs_clean |= o.needs_clean;
  sets |= o.sets;
  sets_locally |= o.sets_locally;
  holds |= o.holds;
  opaque |= o.opaque;
  tells_channels |= o.tells_channels;
  notifies |= o.notifies;
  releases |= o.releases;
}
// What code that nobody has looked into may do.
inline constexpr Effects kOpaqueEffects{.opaque = true};

struct KeyExpression;  // router/key_expression.hpp

// One place a key value comes from.
struct KeySource {
  enum class Kind : std::uint8_t {
    literal,         // `index`: position among the statement's lifted literals
    parameter,       // `index`: parameter number - 1
    parameter_array, // = ANY($n): one value an element; `declared` is the array type's OID
    fixed,           // `value`
    null,            // = NULL: matches no row
    computed,        // `computed`: arithmetic of literals and parameters
  };
  Kind kind = Kind::literal;
  std::uint32_t index = 0;
  bool negated = false;                        // a unary minus before a numeric literal
  schema::KeyType type = schema::KeyType::int8;  // of the column
  std::uint32_t declared = 0;                  // parameter type fixed by a cast in the text ($1::int8): goes before Parse's;
                                               // else 0
  std::optional<schema::KeyValue> value;       // fixed
  std::shared_ptr<const KeyExpression> computed;
  std::uint32_t max_length = 0;                // assigned to a varchar(n) (INSERT): a value of more than n bytes that ends in a
                                               // blank is refused, for the server may cut it; 0: no limit, or a comparison
};

// One sharded table reference: its key equals one of `values`, provably. Every binding of a plan must lie on one shard.
struct Binding {
  std::string table;                           // for messages
  std::vector<KeySource> values;
  bool inserts = false;                        // keys of new rows: a NULL is refused, for it lies on no shard
};

// A prepared statement that the text names.
struct PreparedUse {
  enum class Kind : std::uint8_t { prepare, execute, deallocate, deallocate_all };
  // One argument of EXECUTE, as the text of a parameter. Not `known`: an expression, which only a server can compute.
  struct Argument {
    bool known = false;
    bool is_null = false;
    std::string text{};
  };
  Kind kind = Kind::execute;
  std::uint32_t statement = 0;                 // which one of several in a string
  std::string name;
  std::vector<Argument> arguments{};
};

// LISTEN or UNLISTEN in the text.
struct ChannelStep {
  Verb verb = Verb::listen;
  std::string name;                            // of the channel; UNLISTEN *: empty
};

// Where hints say that a statement runs (router/hint.hpp): an assertion of the user's.
struct NamedPlace {
  std::optional<schema::ShardId> shard;
  std::optional<schema::KeyValue> key;         // on its shard; both must be the same one
  bool operator==(const NamedPlace&) const = default;
};

// SELECT set_config('search_path', value, is_local), and nothing else: followed as SET is.
struct PathCall {
  bool local = false;
  std::string value{};                         // a constant, in the syntax of the setting
  std::optional<std::uint32_t> parameter{};    // or parameter number - 1
};

// Of the settings that decide what a text means to the router?
[[nodiscard]] bool changes_routing(std::string_view setting) noexcept;

// A setting of Weir's own: Plan::setting is its name.
struct OwnSetting {
  enum class Kind : std::uint8_t { set, set_local, reset, show };
  Kind kind = Kind::show;
  std::string value{};                         // set, set_local; empty: as if it had never been set
};

enum class Target : std::uint8_t {
  transaction,   // transaction control and SET: no shard of its own; the session decides
  home,          // the home shard
  no_table,      // touches no table (SELECT 1): the home shard; inside a transaction, its shard
  any,           // only reference tables are read: any shard
  named,         // the shard that a hint names, `named`: there, and only there
  keyed,         // the shard of its bindings; several: `scatter` says how, if it can be done
  scatter,       // every shard, as `scatter` says
  refused,       // `refusal`
};

// What DDL changes for the statements behind it in its transaction. at_home: those that go to the home shard alone go there all the same.
enum class SchemaChange : std::uint8_t { none, at_home, any };

struct ScatterPlan;  // router/scatter_plan.hpp
struct KeyFill;      // router/key_fill.hpp
struct ExplainPlan;  // router/explain.hpp

// RESET of search_path or of all; COMMIT or ROLLBACK; ROLLBACK TO; DDL behind which names may mean something else (SchemaChange::any).
struct Restores {
  bool reset = false;
  bool end = false;
  bool savepoint = false;
  bool schema = false;
};

struct Plan {
  Verb verb = Verb::empty;
  Target target = Target::home;
  bool read_only = false;       // proven: may run on a replica (FOR UPDATE, writing functions and the like are not)
  bool locks_rows = false;      // proven: changes nothing, and takes locks of rows (FOR UPDATE); read_only is not set then
  bool chain = false;           // COMMIT/ROLLBACK AND CHAIN
  bool begin_read_only = false; // BEGIN ... READ ONLY
  bool ends_transaction = false;  // a multi that contains transaction control; PREPARE TRANSACTION
  bool returns_copy = false;    // COPY FROM/TO inside a multi, too
  SchemaChange changes_schema = SchemaChange::none;   // in a sharded database; of a multi: see its steps
  Effects effects;
  std::uint16_t literals = 0;   // how many were lifted
  std::uint16_t parameters = 0; // highest $n
  std::string setting;          // SET/RESET: the parameter's name, lower case; DEALLOCATE/SAVEPOINT: the name
  std::vector<Binding> bindings;  // Target::named: keys of new rows, which must not belong elsewhere
  std::optional<NamedPlace> named;
  std::optional<OwnSetting> own;
  std::optional<PathCall> path;   // Verb::query, in a sharded database
  bool hinted = false;          // a comment of the text is a hint, or it is an own_setting: for users with route_hints
  bool primary = false;         // a hint: reads, too, run on the primary
  std::vector<PreparedUse> prepared; // PREPARE, EXECUTE and DEALLOCATE in the text, in its order
  std::vector<ChannelStep> channels; // in the text's order
  std::vector<Plan> steps;      // multi: of each of its statements what the session must know when it is complete: verb, setting,
                                // chain, ends_transaction, changes_schema and effects
  Restores restores;            // multi: behind what it goes on that may give its names another meaning
  std::vector<std::string> tables;   // qualified, for `weirctl route` and metrics
  std::optional<Error> refusal; // Target::refused, Verb::unparsable
  std::shared_ptr<const ScatterPlan> scatter;  // Target::scatter: never null; Target::keyed: null if its keys must lie on one shard
  std::shared_ptr<const KeyFill> fill;   // refused as it stands, but its missing keys can be given; else null
  std::optional<Error> apart;   // Target::keyed without `scatter`: why its keys must lie on one shard, if that takes saying
  std::shared_ptr<const ExplainPlan> explain;  // with `scatter`: its parts are explained; null: they are run
  std::vector<std::string> why; // one sentence a decision, for `weirctl route`
};
using PlanRef = std::shared_ptr<const Plan>;

// A literal that the lexer lifted out of the text. Integers are classed by magnitude, as make_const() of PostgreSQL does
// (int4, else int8, else numeric); the class is part of the plan cache's key, the value is not.
enum class LiteralClass : std::uint8_t { int4, int8, numeric, string, escape_string, bit_string, dollar_string };
struct Literal {
  std::uint32_t offset = 0;     // into the statement's text: the first digit, quote, or letter of E'' B'' X''
  std::uint32_t length = 0;     // with its quotes
  LiteralClass kind = LiteralClass::int4;
};

// Bind's parameters, as views into the message.
struct Parameter {
  bool is_null = false;
  bool binary = false;
  ByteView value;
};

// The variable part of one execution.
struct Arguments {
  std::string_view sql;                          // the text the literals point into
  std::span<const Literal> literals;
  std::span<const Parameter> parameters;
  std::span<const std::uint32_t> declared;       // Parse's parameter types; shorter than parameters: 0
  bool server_encoding = true;                   // client_encoding is the server's; else text keys must be ASCII, for the
                                                 // server hashes other bytes than these
};

struct Route {
  schema::ShardId shard = schema::kHomeShard;
  bool any_shard = false;       // may run on every shard (reference tables, nothing bound)
  std::optional<std::uint32_t> bucket;   // where every key lies in one bucket
  std::vector<schema::ShardId> shards;   // several, ascending: plan.scatter is what they run; empty: `shard` runs the
                                         // client's text
};

// Completes a plan. Pure, allocation-free for integer keys on one shard. Errors are 0A000 (several shards without
// plan.scatter, a key that cannot be read, NULL keys on INSERT ...), with the construct named and a HINT.
[[nodiscard]] Result<Route> resolve(const Plan& plan, const Arguments& arguments, const schema::BucketMap& map);

}  // namespace weir::router
