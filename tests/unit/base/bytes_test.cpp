#include "base/bytes.hpp"

#include <gtest/gtest.h>

#include <deque>
#include <random>
#include <string>

namespace weir {
namespace {

std::string text(const ByteBuffer& b) { return std::string(as_text(b.view())); }

TEST(ByteBuffer, GivesBackWhatWasAppendedInOrder) {
  ByteBuffer b;
  EXPECT_TRUE(b.empty());
  b.append("ab");
  b.append(std::uint8_t{'c'});
  b.append(as_bytes("de"));
  EXPECT_EQ(text(b), "abcde");
  b.consume(2);
  EXPECT_EQ(text(b), "cde");
  EXPECT_EQ(b.size(), 3u);
  EXPECT_EQ(*b.at(1), 'd');
}

TEST(ByteBuffer, KeepsTheUnreadPartWhenItCompactsOrGrows) {
  std::mt19937 random(7);
  ByteBuffer b;
  std::deque<char> expected;
  char next = 'a';
  for (int i = 0; i < 20000; ++i) {
    if (random() % 2 == 0) {
      const std::string chunk(random() % 50, next);
      next = next == 'z' ? 'a' : static_cast<char>(next + 1);
      b.append(chunk);
      expected.insert(expected.end(), chunk.begin(), chunk.end());
    } else {
      const std::size_t n = expected.empty() ? 0 : random() % (expected.size() + 1);
      b.consume(n);
      expected.erase(expected.begin(), expected.begin() + static_cast<std::ptrdiff_t>(n));
    }
    ASSERT_EQ(b.size(), expected.size());
    ASSERT_EQ(text(b), std::string(expected.begin(), expected.end()));
  }
}

TEST(ByteBuffer, DoesNotGrowInTheSteadyState) {
  ByteBuffer b;
  b.append(std::string(1000, 'x'));
  b.consume(1000);
  const std::size_t capacity = b.capacity();
  const std::uint8_t* memory = b.at(0);
  for (int i = 0; i < 1000; ++i) {
    b.append(std::string(900, 'y'));
    b.consume(500);
    b.consume(400);
  }
  EXPECT_EQ(b.capacity(), capacity);
  EXPECT_EQ(b.at(0), memory);
}

TEST(ByteBuffer, MovesTheUnreadPartForwardRatherThanGrow) {
  ByteBuffer b;
  b.append(std::string(1000, 'x'));
  const std::size_t capacity = b.capacity();
  b.consume(990);
  b.append(std::string(900, 'y'));
  EXPECT_EQ(b.capacity(), capacity);
  EXPECT_EQ(text(b), std::string(10, 'x') + std::string(900, 'y'));
}

TEST(ByteBuffer, GivesItsMemoryBackWhenReleased) {
  ByteBuffer b;
  b.append("abc");
  b.clear();
  EXPECT_TRUE(b.empty());
  EXPECT_GT(b.capacity(), 0u);
  b.append("abc");
  b.release();
  EXPECT_TRUE(b.empty());
  EXPECT_EQ(b.capacity(), 0u);
  b.append("d");
  EXPECT_EQ(text(b), "d");
}

}  // namespace
}  // namespace weir
