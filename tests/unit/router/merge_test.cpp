#include <gtest/gtest.h>

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "router/merge/collation.hpp"
#include "router/merge/gathered_rows.hpp"
#include "router/merge/merger.hpp"
#include "router/merge/order.hpp"
#include "router/merge/row_view.hpp"

namespace weir::router::merge {
namespace {

using Text = std::optional<std::string>;
constexpr std::uint32_t kInt4 = 23, kText = 25;

std::string word(std::uint32_t v) {
  return {static_cast<char>(v >> 24), static_cast<char>(v >> 16), static_cast<char>(v >> 8), static_cast<char>(v)};
}

// A DataRow's body.
std::string row_of(const std::vector<Text>& values) {
  std::string body{'\0', static_cast<char>(values.size())};
  for (const Text& v : values) body += v ? word(static_cast<std::uint32_t>(v->size())) + *v : word(0xffffffff);
  return body;
}

CollationRef by_bytes() { return std::make_shared<const Collation>(); }

ValueOrder order_of(std::uint32_t type) { return *ValueOrder::of(type, by_bytes()); }

// Bytes on the heap, exactly as many as there are, so that ASan sees an over-read.
struct Exact {
  explicit Exact(const std::string& text) : bytes(new std::uint8_t[text.size()]), size(text.size()) {
    text.copy(reinterpret_cast<char*>(bytes.get()), size);
  }
  [[nodiscard]] ByteView view() const { return {bytes.get(), size}; }
  std::unique_ptr<std::uint8_t[]> bytes;
  std::size_t size;
};

TEST(RowView, ShowsValuesAndNulls) {
  const Exact body(row_of({"one", std::nullopt, ""}));
  RowView row;
  ASSERT_TRUE(row.read(body.view()));
  ASSERT_EQ(row.columns(), 3u);
  EXPECT_EQ(as_text(*row[0]), "one");
  EXPECT_FALSE(row[1]);
  EXPECT_EQ(row[2]->size(), 0u);
}

TEST(RowView, RefusesEveryCutAndEveryExcess) {
  const std::string whole = row_of({"one", std::nullopt, "three"});
  RowView row;
  for (std::size_t n = 0; n < whole.size(); ++n) {
    const Exact cut(whole.substr(0, n));
    EXPECT_FALSE(row.read(cut.view())) << n;
    EXPECT_EQ(row.columns(), 0u);
  }
  EXPECT_FALSE(row.read(as_bytes(whole + "x")));
  EXPECT_TRUE(row.read(as_bytes(whole)));
}

TEST(RowView, DropsHiddenColumns) {
  const std::string body = row_of({"one", std::nullopt, "hidden"});
  RowView row;
  ASSERT_TRUE(row.read(as_bytes(body)));
  for (std::size_t visible = 0; visible <= 3; ++visible) {
    std::vector<Text> wanted{"one", std::nullopt, "hidden"};
    wanted.resize(visible);
    const std::string expected = row_of(wanted);
    ByteBuffer out;
    write_first_columns(out, row, visible);
    EXPECT_EQ(as_text(out.view()), "D" + word(static_cast<std::uint32_t>(expected.size() + 4)) + expected);
  }
}

TEST(ValueOrder, RefusesTypesThatOnlyAServerCanOrder) {
  for (const std::uint32_t type : {114u, 3802u, 1007u, 2249u, 600u, 16384u}) {
    const auto order = ValueOrder::of(type, by_bytes());
    ASSERT_FALSE(order) << type;
    EXPECT_EQ(order.error().code, sqlstate::kFeatureNotSupported);
    EXPECT_NE(order.error().message.find(std::to_string(type)), std::string::npos);
  }
}

TEST(ValueOrder, TextNeedsACollation) {
  EXPECT_FALSE(ValueOrder::of(kText, nullptr));
  EXPECT_TRUE(ValueOrder::of(kInt4, nullptr));
}

TEST(ValueOrder, RefusesBytesThatAreNoValueOfTheType) {
  EXPECT_FALSE(order_of(kInt4).fits(as_bytes("abc")));
  EXPECT_TRUE(order_of(kInt4).fits(as_bytes("abcd")));
  const ValueOrder numeric = order_of(1700);
  EXPECT_FALSE(numeric.fits(as_bytes("")));
  EXPECT_FALSE(numeric.fits(as_bytes(std::string("\0\2\0\0\0\0\0\0\0\1", 10))));        // two digits promised, one there
  EXPECT_FALSE(numeric.fits(as_bytes(std::string("\0\1\0\0\0\1\0\0\0\1", 10))));        // no such sign
  EXPECT_FALSE(numeric.fits(as_bytes(std::string("\0\1\0\0\0\0\0\0\x27\x10", 10))));    // the digit 10000
  EXPECT_TRUE(numeric.fits(as_bytes(std::string("\0\1\0\0\0\0\0\0\x27\x0f", 10))));
  EXPECT_FALSE(order_of(1560).fits(as_bytes(std::string("\0\0\0\x09\xff", 5))));
  EXPECT_FALSE(order_of(869).fits(as_bytes(std::string("\2\x21\0\4\1\2\3\4", 8))));       // /33
}

TEST(Collation, RefusesWhatItCannotProveEqual) {
  EXPECT_TRUE(Collation::open({'c', "C", ""}));
  EXPECT_TRUE(Collation::open({'c', "C.UTF-8", ""}));
  EXPECT_FALSE(Collation::open({'i', "en-US", "153.1"}));
  EXPECT_FALSE(Collation::open({'c', "en_US.UTF-8", "0.1"}));
  EXPECT_FALSE(Collation::open({'c', "en_US.UTF-8", ""}));
  const auto missing = Collation::open({'c', "xx_XX.UTF-8", libc_version()});
  ASSERT_FALSE(missing);
  EXPECT_NE(missing.error().message.find("not installed"), std::string::npos);
}

// Rows of several sources, merged; one text a row: its first column, "-" for NULL.
std::vector<std::string> merged(std::vector<SortKey> keys, const std::vector<std::vector<std::vector<Text>>>& sources) {
  std::vector<std::vector<std::string>> bodies;
  for (const auto& rows : sources) {
    bodies.emplace_back();
    for (const auto& row : rows) bodies.back().push_back(row_of(row));
  }
  Merger merger(std::move(keys), sources.size());
  std::vector<std::size_t> next(sources.size());
  std::vector<std::string> out;
  while (!merger.done()) {
    for (std::size_t s = 0; s < sources.size(); ++s) {
      if (!merger.wants(s)) continue;
      if (next[s] == bodies[s].size())
        merger.end(s);
      else
        EXPECT_TRUE(merger.put(s, as_bytes(bodies[s][next[s]++])));
    }
    if (merger.done()) break;
    const Value& first = merger.row(merger.least())[0];
    out.push_back(first ? std::string(as_text(*first)) : "-");
    merger.take();
  }
  return out;
}

TEST(Merger, MergesByTextWithNullsWhereTheyBelong) {
  using Rows = std::vector<std::string>;
  const std::vector<std::vector<std::vector<Text>>> ascending{{{"a"}, {"c"}, {std::nullopt}}, {}, {{"b"}, {"c"}, {"d"}}};
  EXPECT_EQ(merged({{0, false, false, order_of(kText)}}, ascending), (Rows{"a", "b", "c", "c", "d", "-"}));
  const std::vector<std::vector<std::vector<Text>>> descending{{{std::nullopt}, {"c"}, {"a"}}, {{"d"}, {"b"}}};
  EXPECT_EQ(merged({{0, true, true, order_of(kText)}}, descending), (Rows{"-", "d", "c", "b", "a"}));
  const std::vector<std::vector<std::vector<Text>>> nulls_first{{{std::nullopt}, {"a"}}, {{std::nullopt}, {"b"}}};
  EXPECT_EQ(merged({{0, false, true, order_of(kText)}}, nulls_first), (Rows{"-", "-", "a", "b"}));
  const std::vector<std::vector<std::vector<Text>>> nulls_last{{{"c"}, {std::nullopt}}, {{"d"}, {std::nullopt}}};
  EXPECT_EQ(merged({{0, true, false, order_of(kText)}}, nulls_last), (Rows{"d", "c", "-", "-"}));
}

TEST(Merger, ASecondKeyDecidesBetweenEqualOnesAndThenTheSource) {
  const std::vector<std::vector<std::vector<Text>>> rows{{{"x", word(1), "k"}, {"y", word(5), "k"}}, {{"p", word(7), "k"}, {"q", word(5), "k"}, {"r", word(5), "l"}}};
  const auto out = merged({{2, false, false, order_of(kText)}, {1, true, false, order_of(kInt4)}}, {{rows[0][1], rows[0][0]}, rows[1]});
  EXPECT_EQ(out, (std::vector<std::string>{"p", "y", "q", "x", "r"}));
}

TEST(Merger, RefusesRowsWithoutItsSortColumns) {
  Merger merger({{1, false, false, order_of(kInt4)}}, 1);
  EXPECT_FALSE(merger.put(0, as_bytes("")));
  const std::string one_column = row_of({"a"}), wrong_size = row_of({"a", "123"}), right = row_of({"a", "1234"});
  EXPECT_FALSE(merger.put(0, as_bytes(one_column)));
  EXPECT_FALSE(merger.put(0, as_bytes(wrong_size)));
  EXPECT_TRUE(merger.wants(0));
  EXPECT_TRUE(merger.put(0, as_bytes(right)));
  EXPECT_FALSE(merger.wants(0));
}

TEST(Merger, WithoutSourcesItIsDone) {
  EXPECT_TRUE(Merger({}, 0).done());
  Merger two({}, 2);
  EXPECT_FALSE(two.ready());
  two.end(0);
  two.end(1);
  EXPECT_TRUE(two.done());
}

TEST(Window, SkipsTheOffsetAndStopsAtTheLimit) {
  Window window(2, 3);
  std::string taken;
  for (int i = 0; i < 7; ++i) taken += window.take() ? 'y' : 'n';
  EXPECT_EQ(taken, "nnyyynn");
  EXPECT_TRUE(window.full());
  EXPECT_TRUE(Window(0, 0).full());
  Window all;
  for (int i = 0; i < 1000; ++i) EXPECT_TRUE(all.take());
  EXPECT_FALSE(all.full());
}

TEST(GatheredRows, WritesAnArrayAColumn) {
  GatheredRows rows({kInt4, kText});
  ASSERT_TRUE(rows.add(as_bytes(row_of({word(7), "a"}))));
  ASSERT_TRUE(rows.add(as_bytes(row_of({word(8), std::nullopt}))));
  EXPECT_EQ(rows.rows(), 2u);
  EXPECT_EQ(rows.bytes(), 4u * 4 + 4 + 4 + 1);
  ByteBuffer numbers, texts;
  rows.write_array(0, numbers);
  rows.write_array(1, texts);
  EXPECT_EQ(as_text(numbers.view()), word(1) + word(0) + word(kInt4) + word(2) + word(1) + word(4) + word(7) + word(4) + word(8));
  EXPECT_EQ(as_text(texts.view()), word(1) + word(1) + word(kText) + word(2) + word(1) + word(1) + "a" + word(0xffffffff));
  EXPECT_EQ(numbers.size(), rows.array_size(0));
  EXPECT_EQ(texts.size(), rows.array_size(1));
}

TEST(GatheredRows, WithoutRowsTheArrayHasNoDimension) {
  const GatheredRows rows({kText});
  ByteBuffer out;
  rows.write_array(0, out);
  EXPECT_EQ(as_text(out.view()), word(0) + word(0) + word(kText));
  EXPECT_EQ(out.size(), rows.array_size(0));
}

TEST(GatheredRows, RefusesRowsOfAnotherShape) {
  GatheredRows rows({kInt4, kText});
  EXPECT_FALSE(rows.add(as_bytes(row_of({word(7)}))));
  EXPECT_FALSE(rows.add(as_bytes("")));
  EXPECT_EQ(rows.rows(), 0u);
}

}  // namespace
}  // namespace weir::router::merge
