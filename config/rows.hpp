// Row: one key of the file, bound to the member of Settings that holds it. The reader, `weir check`, the reference page
// and RELOAD all work from these rows, so a key is described once. Private to config/.
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <type_traits>

#include "config/codec.hpp"

namespace weir::config {

enum class Reload { yes, no, never };  // never: not even by a restart alone (the data would have to move)

struct RowFacts {
  Limits limits{};
  std::string_view unit{};  // of integers
  Reload reload = Reload::yes;
  bool required = false;
  bool secret = false;  // its value is never repeated in messages
};

template <class S>
struct Row {
  std::string_view key;
  RowFacts facts;
  std::string_view help;
  void (*read)(Value&, const Limits&, S&);
  std::string (*show)(const S&);
  std::string (*allowed)(const Limits&);
};

template <auto M>
struct MemberOf;
template <class S, class T, T S::*M>
struct MemberOf<M> {
  using Owner = S;
  using Type = T;
};

// Binds a key to the member M; C reads and shows it (by default the member type's Codec).
template <auto M, class C = Codec<typename MemberOf<M>::Type>, class S = typename MemberOf<M>::Owner>
constexpr Row<S> row(std::string_view key, RowFacts facts, std::string_view help) {
  return {key,
          facts,
          help,
          [](Value& value, const Limits& limits, S& out) { C::read(value, limits, out.*M); },
          [](const S& settings) { return C::show(settings.*M); },
          [](const Limits& limits) { return C::allowed(limits); }};
}

// The rows of one kind of table, e.g. rows_of<Pool>() of [pool].
template <class S>
[[nodiscard]] std::span<const Row<S>> rows_of();

// Every kind of table the file may hold, in the order of the reference page.
enum class Form { table, array };
struct SectionFacts {
  std::string_view kind;  // "database.shard"
  Form form;
  bool in_users_file;
  std::string_view help;
};
[[nodiscard]] std::span<const SectionFacts> sections();

// Keys and tables of the design that a later version brings.
struct LaterKey {
  std::string_view kind;  // of the table it stands in; empty: the top of the file
  std::string_view key;
  std::string_view accepted;  // the one value (as TOML) this version already behaves as; empty: none
  std::string_view advice;
};
[[nodiscard]] std::span<const LaterKey> later_keys();

}  // namespace weir::config
