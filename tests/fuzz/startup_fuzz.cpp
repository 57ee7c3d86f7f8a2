// The first packet: whatever is taken is taken from exactly its own bytes.
#include <memory>

#include "tests/fuzz/check.hpp"
#include "wire/frame.hpp"
#include "wire/messages.hpp"
#include "wire/startup.hpp"

namespace {

using namespace weir;
using namespace weir::wire;

Result<FirstPacket> read_exact(ByteView bytes) {
  const std::unique_ptr<std::uint8_t[]> exact(new std::uint8_t[bytes.size()]);
  std::copy(bytes.begin(), bytes.end(), exact.get());
  return read_first_packet({exact.get(), bytes.size()});
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const ByteView bytes(data, size);
  const auto whole = read_exact(bytes);
  if (!whole.ok()) {
    WEIR_FUZZ_CHECK(!whole.error().message.empty() && whole.error().connection_spoilt);
    return 0;
  }
  if (whole->kind == FirstPacket::Kind::incomplete) return 0;
  WEIR_FUZZ_CHECK(whole->size >= 8 && whole->size <= kMaxStartupLength + 4 && whole->size <= size);
  WEIR_FUZZ_CHECK(whole->kind != FirstPacket::Kind::startup || !whole->startup.get("user").empty());
  if (whole->kind == FirstPacket::Kind::cancel_request) {
    ByteBuffer out;
    write_cancel_request(out, whole->cancel);
    WEIR_FUZZ_CHECK(as_text(out.view()) == as_text(bytes.first(whole->size)));
  }
  const auto alone = read_exact(bytes.first(whole->size));
  WEIR_FUZZ_CHECK(alone.ok() && alone->kind == whole->kind && alone->startup.parameters == whole->startup.parameters);
  const auto cut = read_exact(bytes.first(whole->size - 1));
  WEIR_FUZZ_CHECK(cut.ok() && cut->kind == FirstPacket::Kind::incomplete);
  return 0;
}
