// ScatterContext: what the strategies of the planner share: the statement, what its names mean, where its literals and
// time functions stand, and how a candidate becomes texts.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "router/analysis.hpp"
#include "router/analysis_bind.hpp"
#include "router/analysis_survey.hpp"
#include "router/scatter_plan.hpp"
#include "router/scatter_tree.hpp"

namespace weir::router {

// What a strategy asks for: trees, to become texts when all of them are taken.
struct PendingText {
  Draft draft;
  Draft::Fill fill;
};
struct Candidate {
  ScatterPlan plan;  // without texts
  std::optional<PendingText> shard, finish;
  std::vector<PendingText> gathered;  // as plan.gathered
  std::unique_ptr<Candidate> otherwise;
};

class ScatterContext {
 public:
  // `statement` is a SelectStmt; of a write, whose texts are not made from the tree, the statement that writes.
  ScatterContext(Node* statement, const AnalysisInput& input, const Survey& survey, const Binder& binder);

  // Looks at every node. A reason why no strategy may have this statement.
  [[nodiscard]] std::optional<Error> look();
  // The part of it that does not depend on how texts are made.
  [[nodiscard]] std::optional<Error> look_at_nodes();
  // Each row computes a value of its own, wherever it lies: gen_random_uuid() is no obstacle. Say so before it looks.
  void let_rows_differ() { rows_differ_ = true; }

  // A call of now() or its like, and what its timestamptz is cast to; empty: it is one.
  struct TimeCall {
    Node* node;
    std::string cast;
  };
  [[nodiscard]] const std::vector<TimeCall>& time_calls() const { return times_; }

  [[nodiscard]] Node* statement() const { return statement_; }
  [[nodiscard]] SelectStmt* select() const { return reinterpret_cast<SelectStmt*>(statement_); }
  [[nodiscard]] const AnalysisInput& input() const { return input_; }
  [[nodiscard]] const Survey& survey() const { return survey_; }
  [[nodiscard]] const Binder& binder() const { return binder_; }
  [[nodiscard]] const schema::Catalog& catalog() const { return *input_.catalog; }

  // A draft of the tree as it is now, with literals and time functions as holes.
  [[nodiscard]] PendingText draft(SelectStmt* select) const;

  // The lifted literal that a constant is; none: its value is part of the plan.
  [[nodiscard]] std::optional<std::uint32_t> literal_of(const Node* constant) const;
  [[nodiscard]] std::optional<ColumnMeaning> meaning(const Node* node) const;
  // Too long to be written anew: the shards can run the client's own text, or nothing.
  [[nodiscard]] bool is_long() const;
  // It takes locks of rows (FOR UPDATE); some with NOWAIT or SKIP LOCKED.
  [[nodiscard]] bool locks_rows() const;
  [[nodiscard]] bool locks_without_waiting() const;
  // FETCH FIRST ... WITH TIES may stand in the text.
  [[nodiscard]] bool may_have_ties() const { return ties_; }
  // Is that a built-in aggregate, an aggregate at all?
  [[nodiscard]] bool is_aggregate(const FuncCall& call) const;
  // May that be an aggregate in attribute notation? "u.count" is count(u), if u has no such column.
  [[nodiscard]] bool names_aggregate(Node* node) const;
  [[nodiscard]] std::optional<std::string_view> builtin_aggregate(const FuncCall& call) const;

  // Are two expressions the same in every execution that keeps what is added to `rules`? Names by what they mean, if they
  // are plain columns.
  [[nodiscard]] bool same_expression(Node* a, Node* b, LiteralRules& rules) const;

  // Collation of an expression if its type has one: "" default; none: not known.
  [[nodiscard]] std::optional<std::string> collation_of(Node* expr) const;

 private:
  struct Constant {
    Node* node;
    std::uint32_t literal;
    bool negative;
  };
  [[nodiscard]] std::optional<Error> visit(Node* node);
  [[nodiscard]] std::optional<Error> name_time_columns();
  [[nodiscard]] std::optional<Error> function(FuncCall& call);
  [[nodiscard]] std::optional<Error> value_function(SQLValueFunction& call);
  [[nodiscard]] std::optional<Error> constant(A_Const& constant);
  [[nodiscard]] pg::ListOf<LockingClause> locking() const;

  Node* statement_;
  const AnalysisInput& input_;
  const Survey& survey_;
  const Binder& binder_;
  std::vector<Constant> constants_;
  std::vector<TimeCall> times_;
  std::vector<std::pair<ResTarget*, std::string>> named_;  // output columns without AS, where there are time functions
  bool ties_ = false;
  bool rows_differ_ = false;
};

// Calls `visit` for a node and all below it, parents first, until it returns false for one: then not below that. Not for
// trees deeper than look() allows.
void for_each_node(void* root, const std::function<bool(Node*)>& visit);
// Of a query's expressions: the nodes that are its own, not its subqueries'. (What IN (SELECT ...) tests is.)
void for_each_own_node(void* root, const std::function<bool(Node*)>& visit);

// The name of an output column as PostgreSQL makes it up (src/backend/parser/parse_target.c). None: it takes more to tell.
[[nodiscard]] std::optional<std::string> output_name(const ResTarget& target);
[[nodiscard]] bool is_star(const Node* node);

// Refusals of statements over several shards.
[[nodiscard]] Error scatter_refusal(std::string construct, std::string hint);

}  // namespace weir::router
