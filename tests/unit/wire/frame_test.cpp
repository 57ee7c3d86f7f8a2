#include "wire/frame.hpp"

#include <gtest/gtest.h>

#include <random>
#include <string>
#include <utility>
#include <vector>

#include "tests/unit/wire/exact_bytes.hpp"

namespace weir::wire {
namespace {

using namespace std::string_literals;
using Step = FrameScanner::Step;

std::string message(char type, const std::string& body) {
  const auto n = static_cast<std::uint32_t>(body.size() + 4);
  std::string m(1, type);
  for (int shift = 24; shift >= 0; shift -= 8) m.push_back(static_cast<char>(n >> shift & 255));
  return m + body;
}

using Messages = std::vector<std::pair<char, std::string>>;

Messages sample() { return {{'Q', "SELECT 1\0"s}, {'S', ""}, {'d', std::string(300, 'x')}, {'c', ""}, {'Z', "I"}}; }

std::string stream_of(const Messages& messages) {
  std::string stream;
  for (const auto& [type, body] : messages) stream += message(type, body);
  return stream;
}

// Everything the scanner says about the chunks, put together to messages.
class Collector {
 public:
  void feed(std::string_view chunk) {
    const ExactBytes exact(chunk);
    ByteView bytes = exact.view();
    while (true) {
      const FrameScanner::Item item = scanner.next(bytes);
      if (item.step == Step::need_more) break;
      ASSERT_NE(item.step, Step::bad_length);
      if (item.step == Step::header) messages.emplace_back(scanner.type(), "");
      if (item.step == Step::body) messages.back().second += as_text(item.part);
    }
    EXPECT_TRUE(bytes.empty());
  }

  FrameScanner scanner;
  Messages messages;
};

TEST(NextMessage, GivesTypeBodyAndWholeOfTheFirstMessage) {
  const ExactBytes bytes(message('Q', "SELECT 1\0"s) + message('S', ""));
  const Frame f = next_message(bytes.view());
  ASSERT_EQ(f.status, FrameStatus::message);
  EXPECT_EQ(f.message.type, 'Q');
  EXPECT_EQ(as_text(f.message.body), "SELECT 1\0"s);
  EXPECT_EQ(f.message.whole.size(), 14u);
  EXPECT_EQ(f.needed, 14u);
  EXPECT_EQ(f.message.whole.data(), bytes.view().data());
}

TEST(NextMessage, IsIncompleteForEveryProperPrefixAndSaysHowMuchIsNeeded) {
  for_each_cut(message('Q', "SELECT 1\0"s), [](std::size_t n, const ExactBytes& cut) {
    const Frame f = next_message(cut.view());
    EXPECT_EQ(f.status, FrameStatus::incomplete) << n;
    EXPECT_EQ(f.needed, n < kHeader ? kHeader : 14u) << n;
  });
}

TEST(NextMessage, RefusesLengthsBelowFourAndAboveTheLimit) {
  for (const char length : {'\0', '\1', '\2', '\3'})
    EXPECT_EQ(next_message(as_bytes("Q\0\0\0"s + length)).status, FrameStatus::bad_length);
  EXPECT_EQ(next_message(as_bytes("Q\0\0\0\4"s)).status, FrameStatus::message);
  EXPECT_EQ(next_message(as_bytes("Q\x3f\xff\xff\xff"s)).status, FrameStatus::incomplete);
  EXPECT_EQ(next_message(as_bytes("Q\x40\0\0\0"s)).status, FrameStatus::bad_length);
  EXPECT_EQ(next_message(as_bytes("Q\xff\xff\xff\xff"s)).status, FrameStatus::bad_length);
  EXPECT_EQ(next_message(as_bytes("p\0\0\0\5"s), 4).status, FrameStatus::bad_length);
}

TEST(FrameScanner, FindsTheMessagesOfOneChunk) {
  Collector c;
  c.feed(stream_of(sample()));
  EXPECT_EQ(c.messages, sample());
  EXPECT_TRUE(c.scanner.at_boundary());
}

TEST(FrameScanner, FindsTheSameMessagesByteByByte) {
  Collector c;
  for (const char byte : stream_of(sample())) c.feed(std::string_view(&byte, 1));
  EXPECT_EQ(c.messages, sample());
  EXPECT_TRUE(c.scanner.at_boundary());
}

TEST(FrameScanner, FindsTheSameMessagesWhereverTheStreamIsCutInTwo) {
  const std::string stream = stream_of(sample());
  for (std::size_t cut = 0; cut <= stream.size(); ++cut) {
    Collector c;
    c.feed(std::string_view(stream).substr(0, cut));
    c.feed(std::string_view(stream).substr(cut));
    EXPECT_EQ(c.messages, sample()) << "cut at " << cut;
  }
}

TEST(FrameScanner, FindsTheSameMessagesInRandomChunks) {
  std::seed_seq seed{20240, 7};
  std::mt19937 random(seed);
  const std::string stream = stream_of(sample());
  for (int round = 0; round < 200; ++round) {
    Collector c;
    for (std::size_t at = 0; at < stream.size();) {
      const std::size_t n = std::min<std::size_t>(random() % 20, stream.size() - at);
      c.feed(std::string_view(stream).substr(at, n));
      at += n;
    }
    EXPECT_EQ(c.messages, sample());
  }
}

TEST(FrameScanner, KnowsWhetherItStandsBetweenTwoMessages) {
  FrameScanner s;
  const std::string stream = message('C', "ab");
  for (std::size_t i = 0; i < stream.size(); ++i) {
    EXPECT_EQ(s.at_boundary(), i == 0) << i;
    const ExactBytes byte(std::string_view(stream).substr(i, 1));
    ByteView b = byte.view();
    (void)s.next(b);
  }
  EXPECT_TRUE(s.at_boundary());
  EXPECT_EQ(s.left(), 0u);
}

TEST(FrameScanner, GivesNothingForNoBytes) {
  FrameScanner s;
  ByteView none;
  EXPECT_EQ(s.next(none).step, Step::need_more);
  const ExactBytes header(message('d', "abc").substr(0, kHeader));
  ByteView b = header.view();
  EXPECT_EQ(s.next(b).step, Step::header);
  EXPECT_EQ(s.next(none).step, Step::need_more);
  EXPECT_EQ(s.left(), 3u);
}

TEST(FrameScanner, RefusesABadLengthForGoodWhetherWholeOrByteByByte) {
  for (const std::string& bad : {"Q\0\0\0\3"s, "Q\x40\0\0\0"s, "Q\xff\xff\xff\xff"s}) {
    FrameScanner whole, bytewise;
    const ExactBytes exact(bad + "more");
    ByteView b = exact.view();
    EXPECT_EQ(whole.next(b).step, Step::bad_length);
    EXPECT_EQ(whole.next(b).step, Step::bad_length);
    EXPECT_FALSE(whole.at_boundary());
    Step last = Step::need_more;
    for (const char byte : bad) {
      const ExactBytes one(std::string_view(&byte, 1));
      ByteView o = one.view();
      last = bytewise.next(o).step;
    }
    EXPECT_EQ(last, Step::bad_length);
    const ExactBytes good(message('Q', "x"));
    ByteView g = good.view();
    EXPECT_EQ(bytewise.next(g).step, Step::bad_length);
  }
}

TEST(FrameScanner, ObeysALowerLimit) {
  FrameScanner s;
  const ExactBytes exact(message('p', "12345"));
  ByteView b = exact.view();
  EXPECT_EQ(s.next(b, 8).step, Step::bad_length);
  s.reset();
  b = exact.view();
  EXPECT_EQ(s.next(b, 9).step, Step::header);
}

TEST(FrameScanner, SkipsBodyBytesTheCallerDealtWithButNeverMoreThanTheBody) {
  FrameScanner s;
  const ExactBytes exact(message('d', "abcdef"));
  ByteView b = exact.view();
  ASSERT_EQ(s.next(b).step, Step::header);
  s.skip(4);
  EXPECT_EQ(s.left(), 2u);
  b = b.subspan(4);
  EXPECT_EQ(as_text(s.next(b).part), "ef");
  s.skip(100);
  EXPECT_TRUE(s.at_boundary());
}

TEST(Load, ReadsBigEndianWithTheHighestBitSet) {
  EXPECT_EQ(load32(as_bytes("\xff\xfe\xfd\xfc").data()), 0xfffefdfcu);
  EXPECT_EQ(load16(as_bytes("\xff\xfe").data()), 0xfffeu);
}

}  // namespace
}  // namespace weir::wire
