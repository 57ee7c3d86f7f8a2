// The raw parse tree of libpg_query: the only file that includes PostgreSQL's and libpg_query's headers.
//
// Traps (design §11): the tree lives in a memory context of libpg_query, so a ParsedText must outlive every view of it;
// no palloc macros and no PG_TRY in our code; enum LimitOption is ordered otherwise than in the server's header
// (use kLimitDefault and kLimitCount); raw_expression_tree_walker() raises an ERROR, which would be a longjmp into nowhere, for a
// node it does not know, so children_of() asks walker_knows() first.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <iterator>
#include <string>
#include <string_view>
#include <vector>

extern "C" {
#include <pg_query.h>
#include <postgres.h>
// The order matters: postgres.h comes first.
#include <nodes/nodeFuncs.h>
#include <nodes/parsenodes.h>
#include <pg_query/pg_query_internal.h>
}

// postgres.h gives these names to macros.
#undef Abs
#undef Max
#undef Min
#undef _
#undef fprintf
#undef printf
#undef snprintf
#undef sprintf
#undef strerror
#undef strerror_r
#undef vfprintf
#undef vprintf
#undef vsnprintf
#undef vsprintf

namespace weir::router::pg {

// The library's LimitOption: without LIMIT and OFFSET; with one of them, but not WITH TIES.
inline constexpr auto kLimitDefault = static_cast<LimitOption>(0);
inline constexpr auto kLimitCount = static_cast<LimitOption>(1);

// Parses in its constructor. The nodes last as long as this object; use and destroy it on one thread.
class ParsedText {
 public:
  // `sql` holds no NUL (the parser would stop there).
  explicit ParsedText(const std::string& sql);
  ~ParsedText();
  ParsedText(const ParsedText&) = delete;
  ParsedText& operator=(const ParsedText&) = delete;

  [[nodiscard]] bool ok() const { return result_.error == nullptr; }
  [[nodiscard]] std::string_view error() const { return ok() ? std::string_view{} : result_.error->message; }
  // Statements in text order.
  [[nodiscard]] std::vector<const RawStmt*> statements() const;

 private:
  MemoryContext context_;
  PgQueryInternalParsetreeAndError result_{};
};

// The elements of a List as a C++ range of T*. A null list is empty.
template <class T = Node>
class ListOf {
 public:
  explicit ListOf(const List* list) : list_(list) {}
  class Iterator {
   public:
    using iterator_category = std::input_iterator_tag;
    using value_type = T*;
    using difference_type = std::ptrdiff_t;
    using pointer = T**;
    using reference = T*;
    explicit Iterator(const ListCell* at) : at_(at) {}
    T* operator*() const { return static_cast<T*>(at_->ptr_value); }
    Iterator& operator++() {
      ++at_;
      return *this;
    }
    bool operator==(const Iterator&) const = default;

   private:
    const ListCell* at_;
  };
  [[nodiscard]] Iterator begin() const { return Iterator(list_ == nullptr ? nullptr : list_->elements); }
  [[nodiscard]] Iterator end() const { return Iterator(list_ == nullptr ? nullptr : list_->elements + list_->length); }
  [[nodiscard]] std::size_t size() const { return list_ == nullptr ? 0 : static_cast<std::size_t>(list_->length); }
  [[nodiscard]] T* operator[](std::size_t i) const { return static_cast<T*>(list_->elements[i].ptr_value); }

 private:
  const List* list_;
};

inline bool is(const void* node, NodeTag tag) { return node != nullptr && static_cast<const Node*>(node)->type == tag; }
// `node` as a T if it has the tag, else nullptr.
template <class T>
T* as(void* node, NodeTag tag) {
  return is(node, tag) ? static_cast<T*>(node) : nullptr;
}
template <class T>
const T* as(const void* node, NodeTag tag) {
  return is(node, tag) ? static_cast<const T*>(node) : nullptr;
}
inline std::string_view text(const char* s) { return s == nullptr ? std::string_view{} : std::string_view(s); }
inline std::string_view text(const Node* string_node) {
  return is(string_node, T_String) ? text(reinterpret_cast<const String*>(string_node)->sval) : std::string_view{};
}

// A possibly qualified name, as in FuncCall::funcname: its last part, and the one before it (empty: none).
struct Name {
  std::string_view schema;
  std::string_view name;
};
[[nodiscard]] Name name_of(const List* parts);

// True for the nodes that raw_expression_tree_walker() of PostgreSQL 15 accepts.
[[nodiscard]] bool walker_knows(NodeTag tag);
// Appends the direct children of `node`; a List is a node of its own. walker_knows(node->type) must hold.
void children_of(Node* node, std::vector<Node*>& out);

}  // namespace weir::router::pg
