// Trees to texts with holes: what the planner of statements over several shards makes its texts with.
//
// The planner changes a statement's tree in place, takes a Draft of it and undoes the change (Edits). A hole is a mark: a
// ParamRef with a number that no client can use, or a FROM item with a name of ours. libpg_query's own deparser makes the
// text; it is parsed again and compared with the tree, so that a fault of the deparser is a refusal, never a wrong answer.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "router/pg_tree.hpp"
#include "router/scatter_plan.hpp"

namespace weir::router {

// Numbers of ParamRefs that stand for holes. A client's are below 65536.
inline constexpr int kLiteralMark = 1'000'000;      // + the literal's index
inline constexpr int kNowMark = 2'000'000;          // + index into Fill::times
inline constexpr int kRowsMark = 4'000'000;         // the piece Kind::rows
inline constexpr int kExpressionMark = 3'000'000;   // + index into Fill::expressions
// A relation of this name and a number is the gathered relation of that number.
inline constexpr std::string_view kGatheredName = "weir_gathered_";

// Nodes of our own live as long as the ParsedText that is current.
namespace pg {

template <class T>
T* make(NodeTag tag) {
  auto* node = static_cast<T*>(palloc0(sizeof(T)));
  reinterpret_cast<Node*>(node)->type = tag;
  return node;
}
[[nodiscard]] Node* make_param(int number);
[[nodiscard]] Node* make_integer(int value);
[[nodiscard]] List* make_list(const std::vector<Node*>& nodes);
[[nodiscard]] Node* make_column(const std::vector<std::string>& names);
[[nodiscard]] ResTarget* make_target(Node* value, const std::string& name);  // empty: no name
[[nodiscard]] char* make_text(std::string_view text);

}  // namespace pg

// Changes of a tree, undone in reverse order at the latest with this object.
class Edits {
 public:
  Edits() = default;
  ~Edits() { undo_to(0); }
  Edits(const Edits&) = delete;
  Edits& operator=(const Edits&) = delete;

  template <class T>
  void set(T& field, T value) {
    save(&field, sizeof(T));
    field = value;
  }
  // Makes an expression node a mark.
  void mark(Node* node, int number);
  [[nodiscard]] std::size_t size() const { return saved_.size(); }
  void undo_to(std::size_t size);

 private:
  struct Saved {
    void* at;
    std::vector<unsigned char> bytes;
  };
  void save(void* at, std::size_t size);
  std::vector<Saved> saved_;
};

// A tree as it was when the draft was taken. Take every draft before the first text() is asked for: deparsing leaves the
// memory context of the ParsedText.
class Draft {
 public:
  Draft() = default;
  explicit Draft(Node* statement);
  ~Draft();
  Draft(Draft&& other) noexcept;
  Draft& operator=(Draft&& other) noexcept;

  // What marks stand for: texts of expressions, texts of gathered relations ("(SELECT ...)").
  struct Fill {
    std::vector<std::string> expressions;
    std::vector<std::string> relations;
    std::vector<std::string> times;  // types that the transaction's start is cast to; empty: a timestamptz
    std::vector<bool> negative;      // by literal: the parser folded a minus into it
  };
  // None: the deparser cannot say this.
  [[nodiscard]] std::optional<TextTemplate> text(const Fill& fill) const;

 private:
  [[nodiscard]] std::optional<std::string> deparse() const;

  List* tree_ = nullptr;  // of one RawStmt, a copy
  PgQueryProtobuf protobuf_{0, nullptr};
};

}  // namespace weir::router
