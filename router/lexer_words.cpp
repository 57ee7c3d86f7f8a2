#include "router/lexer_words.hpp"

#include <array>
#include <cstddef>

namespace weir::router {
namespace {

// Words by what is known of them; a word may stand in several groups.
struct Group {
  std::uint8_t bits;
  std::string_view words;  // separated by one blank
};

constexpr Group kGroups[] = {
    {kExpression,
     "all and any array as between both by case cast coalesce collate cross default distinct else except exists fetch "
     "for "
     "from full greatest group having ilike in inner intersect into is isnull join lateral leading least like limit "
     "materialized "
     "natural      not notnull nullif offset on only or order outer returning row select similar some symmetric table "
     "tablesample then "
     "to trailing union using values variadic when where window with"},
    {kEndsList, "except fetch for having intersect limit offset returning union window"},
    {kComputes,
     "abs age array_agg array_append array_length array_position array_remove array_to_json array_to_string ascii avg "
     "bool_and bool_or btrim cardinality ceil ceiling char_length chr concat concat_ws convert_from convert_to count "
     "date date_bin date_part date_trunc decode div encode every exp extract floor generate_series initcap json_agg "
     "json_build_array json_build_object json_extract_path json_extract_path_text json_object_agg jsonb_agg "
     "jsonb_build_array jsonb_build_object jsonb_extract_path jsonb_extract_path_text jsonb_insert jsonb_set "
     "jsonb_strip_nulls jsonb_typeof json_typeof left length ln log lower lpad ltrim make_date make_interval make_time "
     "make_timestamp make_timestamptz max md5 min mod octet_length overlay position power regexp_match regexp_matches "
     "regexp_replace regexp_split_to_array regexp_split_to_table repeat replace reverse right round rpad rtrim sha224 "
     "sha256 sha384 sha512 sign split_part sqrt starts_with string_agg string_to_array strpos substr substring sum "
     "to_char "
     "to_date to_hex to_json to_jsonb to_number to_timestamp translate trim trunc unnest upper width_bucket"},
    {kTakesTypmods,
     "bit bpchar char character current_time current_timestamp dec decimal float interval localtime localtimestamp "
     "nchar "
     "numeric precision second time timestamp timestamptz timetz varbit varchar varying zone"},
    {kTyped,
     "bool boolean date float8 inet int int2 int4 int8 integer bigint interval json jsonb nchar numeric smallint text "
     "time "
     "timestamp timestamptz timetz uuid"},
    {kNamesObject,
     "regclass regcollation regconfig regdictionary regnamespace regoper regoperator regproc regprocedure regrole "
     "regtype"},
};

constexpr std::size_t kSlots = 1024;  // a power of two, at most a third full
constexpr std::size_t kLongestWord = 24;

struct Slot {
  std::string_view word;
  std::uint8_t bits = 0;
};
using Table = std::array<Slot, kSlots>;

constexpr std::size_t slot_of(std::uint64_t prefix, std::size_t length) {
  return ((prefix ^ (length * 0x9E3779B97F4A7C15u)) * 0xD6E8FEB86659FD93u) >> 54;
}

constexpr Slot& find_or_make(Table& table, std::string_view word) {
  std::size_t at = slot_of(packed_prefix(word), word.size());
  while (!table[at].word.empty() && table[at].word != word) at = (at + 1) % kSlots;
  table[at].word = word;
  return table[at];
}

constexpr Table make_table() {
  Table table{};
  for (const Group& group : kGroups) {
    std::string_view rest = group.words;
    while (!rest.empty()) {
      const std::size_t end = rest.find(' ');
      Slot& slot = find_or_make(table, rest.substr(0, end));
      slot.bits = static_cast<std::uint8_t>(slot.bits | group.bits);
      rest = end == std::string_view::npos ? std::string_view{} : rest.substr(end + 1);
    }
  }
  return table;
}

constexpr Table kTable = make_table();

}  // namespace

std::uint8_t word_bits(std::string_view word, std::uint64_t prefix) noexcept {
  if (word.size() > kLongestWord) return 0;
  for (std::size_t at = slot_of(prefix, word.size()); !kTable[at].word.empty(); at = (at + 1) % kSlots)
    if (kTable[at].word == word) return kTable[at].bits;
  return 0;
}

bool takes_object_ids(std::string_view function) noexcept {
  // Advisory locks take numbers of the application's own.
  if (function.starts_with("pg_advisory") || function.starts_with("pg_try_advisory")) return false;
  for (const std::string_view prefix : {"pg_", "has_", "to_reg", "lo_", "dblink"})
    if (function.starts_with(prefix)) return true;
  return function == "col_description" || function == "obj_description" || function == "shobj_description" ||
         function == "row_security_active" || function == "format_type";
}

}  // namespace weir::router
