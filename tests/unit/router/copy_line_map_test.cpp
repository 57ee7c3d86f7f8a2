// LineMap: a shard's line numbers as the client's.
#include "router/copy/line_map.hpp"

#include <gtest/gtest.h>

namespace weir::router::copy {
namespace {

TEST(LineMap, finds_the_clients_line_of_each_row) {
  LineMap map;
  map.add(1, 3);
  map.add(3, 8);      // with two newlines in quotes
  map.add(1, 1000);
  EXPECT_EQ(map.find(1), 3U);
  EXPECT_EQ(map.find(4), 8U);
  EXPECT_EQ(map.find(5), 1000U);
  EXPECT_EQ(map.find(2), std::nullopt) << "within a row";
  EXPECT_EQ(map.find(6), std::nullopt);
  EXPECT_EQ(map.find(0), std::nullopt);
}

TEST(LineMap, forgets_what_is_long_past) {
  LineMap map;
  const std::uint64_t rows = LineMap::kRowsOfChunk * (LineMap::kChunks + 2);
  for (std::uint64_t i = 1; i <= rows; ++i) map.add(1, 4 * i);
  EXPECT_EQ(map.find(1), std::nullopt);
  for (const std::uint64_t line : {rows, rows - 1, rows - LineMap::kRowsOfChunk, rows - LineMap::kRowsOfChunk * (LineMap::kChunks - 2)})
    EXPECT_EQ(map.find(line), 4 * line);
}

TEST(LineMap, puts_the_clients_line_into_a_context) {
  LineMap map;
  map.add(1, 17);
  EXPECT_EQ(with_client_line("COPY orders, line 1, column user_id: \"line 1\"", "orders", map, "s1"), "COPY orders, line 17, column user_id: \"line 1\"");
  EXPECT_EQ(with_client_line("PL/pgSQL function f() line 1 at RAISE\nCOPY orders, line 1: \"1\"", "orders", map, "s1"),
            "PL/pgSQL function f() line 1 at RAISE\nCOPY orders, line 17: \"1\"");
  EXPECT_EQ(with_client_line("COPY orders, Zeile 1", "orders", map, "s1"), "COPY orders, Zeile 17") << "in any language";
  EXPECT_EQ(with_client_line("COPY orders, line 2: \"x\"", "orders", map, "s1"), "COPY orders, line 2 of the rows of shard s1: \"x\"");
  for (const char* other : {"COPY other, line 1", "COPY orders", "", "no COPY orders, line 1", "COPY orders, line"})
    EXPECT_EQ(with_client_line(other, "orders", map, "s1"), other);
}

}  // namespace
}  // namespace weir::router::copy
