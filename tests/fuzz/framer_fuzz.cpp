// Framing: the scanner must find in any chunks what next_message() finds in the whole.
// Input: a byte that says how chunks are cut, then the stream.
#include <algorithm>
#include <memory>
#include <string>
#include <vector>

#include "tests/fuzz/check.hpp"
#include "wire/frame.hpp"

namespace {

using namespace weir;
using namespace weir::wire;

struct Seen {
  char type;
  std::string body;
  friend bool operator==(const Seen&, const Seen&) = default;
};

// The complete messages, and whether a bad length ends the stream.
std::vector<Seen> by_whole(ByteView stream, bool& bad) {
  std::vector<Seen> seen;
  while (true) {
    const Frame f = next_message(stream);
    bad = f.status == FrameStatus::bad_length;
    if (f.status != FrameStatus::message) return seen;
    seen.push_back({f.message.type, std::string(as_text(f.message.body))});
    WEIR_FUZZ_CHECK(f.message.whole.size() == f.needed && f.message.body.size() + kHeader == f.needed);
    stream = stream.subspan(f.needed);
  }
}

class Chunked {
 public:
  void feed(ByteView chunk) {
    while (!bad) {
      const FrameScanner::Item item = scanner_.next(chunk);
      if (item.step == FrameScanner::Step::need_more) break;
      if (item.step == FrameScanner::Step::bad_length) bad = true;
      if (item.step == FrameScanner::Step::header) current_ = {scanner_.type(), ""};
      if (item.step == FrameScanner::Step::body) current_.body += as_text(item.part);
      if (!bad && scanner_.left() == 0) seen.push_back(current_);
    }
    WEIR_FUZZ_CHECK(bad || chunk.empty());
  }

  std::vector<Seen> seen;
  bool bad = false;

 private:
  FrameScanner scanner_;
  Seen current_{};
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  const std::size_t step = data[0];
  ByteView stream(data + 1, size - 1);
  bool bad = false;
  const std::vector<Seen> expected = by_whole(stream, bad);
  Chunked chunked;
  for (std::size_t i = 0; !stream.empty(); ++i) {
    const std::size_t n = std::min(stream.size(), 1 + (step * (i + 1) >> 3) % 17);
    const std::unique_ptr<std::uint8_t[]> exact(new std::uint8_t[n]);
    std::copy_n(stream.begin(), n, exact.get());
    chunked.feed({exact.get(), n});
    stream = stream.subspan(n);
  }
  WEIR_FUZZ_CHECK(chunked.seen == expected && chunked.bad == bad);
  return 0;
}
