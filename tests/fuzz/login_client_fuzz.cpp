// A server's side of a login, as a stream of messages: our client never takes a login for done before AuthenticationOk, and what it
// sends is always whole messages.
#include "base/bytes.hpp"
#include "tests/fuzz/check.hpp"
#include "wire/frame.hpp"
#include "wire/login_client.hpp"

namespace {

using namespace weir;
using namespace weir::wire;

// Iteration counts of more digits would be computed for a second.
bool is_slow(std::string_view stream) {
  for (std::size_t at = stream.find("i="); at != std::string_view::npos; at = stream.find("i=", at + 1)) {
    std::size_t digits = 0;
    while (at + 2 + digits < stream.size() && stream[at + 2 + digits] >= '0' && stream[at + 2 + digits] <= '9') ++digits;
    if (digits > 4) return true;
  }
  return false;
}

void check_written(ByteView written) {
  while (!written.empty()) {
    const Frame f = next_message(written, kMaxAuthLength);
    WEIR_FUZZ_CHECK(f.status == FrameStatus::message && f.message.type == 'p');
    written = written.subspan(f.needed);
  }
}

void log_in(ByteView stream, LoginOptions options) {
  LoginClient client(std::move(options));
  ByteBuffer out;
  client.start(out);
  WEIR_FUZZ_CHECK(read_first_packet(out.view())->kind == FirstPacket::Kind::startup);
  for (;;) {
    const Frame f = next_message(stream, kMaxAuthLength);
    if (f.status != FrameStatus::message) return;
    stream = stream.subspan(f.needed);
    out.clear();
    const auto done = client.on_message(f.message, out);
    check_written(out.view());
    if (!done.ok()) {
      WEIR_FUZZ_CHECK(done.error().connection_spoilt);
      return;
    }
    if (!*done) continue;
    WEIR_FUZZ_CHECK(client.authenticated());
    WEIR_FUZZ_CHECK(!client.key() || (client.key()->secret.size() >= 4 && client.key()->secret.size() <= 256));
    return;
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const ByteView stream(data, size);
  if (is_slow(as_text(stream))) return 0;
  using Binding = LoginOptions::Binding;
  for (const Binding binding : {Binding::disable, Binding::prefer, Binding::require})
    log_in(stream, {{{"user", "ann"}, {"database", "app"}}, {"pencil", "", nullptr}, binding, binding == Binding::disable ? "" : "hash"});
  return 0;
}
