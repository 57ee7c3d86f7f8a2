// KeyReader: constants and parameters of the tree as sources of key values, where they provably are what the server
// will compare or store.
#pragma once

#include <memory>
#include <optional>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "router/analysis.hpp"
#include "router/analysis_survey.hpp"
#include "router/key_expression.hpp"
#include "router/pg_tree.hpp"
#include "schema/key.hpp"

namespace weir::router {

// Types whose values compare, and hash to buckets, alike.
enum class KeyFamily : std::uint8_t { integer, text, uuid };
[[nodiscard]] KeyFamily family_of(schema::KeyType type) noexcept;

class KeyReader {
 public:
  // Both must outlive the reader.
  KeyReader(const AnalysisInput& input, const Survey& survey);

  // An expression compared with (or assigned to) a column of that type. None: it does not bind.
  std::optional<KeySource> read(const Node* expr, schema::KeyType type);
  // `column IN (list)`.
  std::optional<std::vector<KeySource>> read_in_list(const List* list, schema::KeyType type);
  // `column = ANY (expr)`.
  std::optional<std::vector<KeySource>> read_any(const Node* expr, schema::KeyType type);

  // False for a parameter without a declared type that also stands where the server could infer another type than
  // that of its key columns. Ask when the whole statement has been read.
  [[nodiscard]] bool usable(const KeySource& source) const;

  // True if `parts` names the built-in operator `op` and cannot name another.
  [[nodiscard]] bool is_builtin_operator(const List* parts, std::string_view op) const;

 private:
  struct Cast {
    std::uint32_t type = 0;  // of the element, if it is an array
    bool array = false;
  };
  struct Uses {
    std::unordered_set<const Node*> nodes;  // occurrences next to a key column
    std::optional<KeyFamily> family;
    bool mixed = false;
    bool array = false;
  };

  std::optional<KeySource> read_plain(const Node* expr, schema::KeyType type);

  // Arithmetic (analysis_key_expression.cpp). Null: it does not bind.
  std::optional<KeySource> computed(const Node* expr, schema::KeyType type);
  std::shared_ptr<const KeyExpression> tree_of(const Node* expr, std::optional<schema::KeyType> other, int depth);
  std::shared_ptr<const KeyExpression> operator_tree(KeyExpression::Kind kind, const Node* left, const Node* right, int depth);
  std::shared_ptr<const KeyExpression> cast_tree(const TypeCast& cast, int depth);
  std::shared_ptr<const KeyExpression> call_tree(const FuncCall& call, int depth);
  std::shared_ptr<const KeyExpression> parameter_leaf(const ParamRef& ref, std::optional<schema::KeyType> other);
  [[nodiscard]] std::shared_ptr<const KeyExpression> constant_leaf(const A_Const& c) const;
  [[nodiscard]] bool is_free_parameter(const Node* expr) const;

  [[nodiscard]] std::optional<Cast> cast_of(const TypeName& type) const;
  std::optional<KeySource> parameter(const ParamRef& ref, schema::KeyType type, std::uint32_t cast, bool array);
  [[nodiscard]] std::uint32_t declared(int number) const;
  std::optional<std::uint32_t> parameter_type(const ParamRef& ref, KeyFamily family, std::uint32_t cast, bool array);
  [[nodiscard]] std::optional<KeySource> constant(const A_Const& c, schema::KeyType type, bool negated) const;
  [[nodiscard]] std::optional<KeySource> number(std::string_view digits, int location, schema::KeyType type,
                                                bool negated) const;
  [[nodiscard]] std::optional<KeySource> string(std::string_view value, int location, schema::KeyType type) const;
  [[nodiscard]] std::optional<std::size_t> literal_at(std::size_t offset) const;
  [[nodiscard]] bool inside_literal(std::size_t offset) const;

  const AnalysisInput& input_;
  const Survey& survey_;
  bool builtins_first_ = true;  // an unqualified name that pg_catalog has is pg_catalog's
  std::unordered_map<int, Uses> uses_;
};

}  // namespace weir::router
