// SCRAM: client-first-message, line feed, client-final-message. No input may log in but one that has the right proof:
// what is accepted must be refused after any change of the proof's bits. The text is also read as a stored secret.
#include "base/bytes.hpp"
#include "tests/fuzz/check.hpp"
#include "wire/base64.hpp"
#include "wire/scram.hpp"

namespace {

using namespace weir;
using namespace weir::wire;

// RFC 7677's, so that the corpus can hold an exchange that succeeds.
constexpr const char* kServerNonce = "%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0";

const ScramSecret& secret() {
  static const ScramSecret made = ScramSecret::derive("pencil", *base64_decode("W22ZaJ0SNY7soEsUEjb6gQ=="), 4096);
  return made;
}

bool logs_in(std::string_view first, std::string_view final, const ChannelBinding& binding) {
  ScramServer server(secret(), binding, kServerNonce);
  const auto server_first = server.first(first);
  if (!server_first.ok()) return false;
  WEIR_FUZZ_CHECK(server_first->starts_with("r=") && server_first->size() < 2 * ScramServer::kMaxClientNonce);
  return server.final(final).ok();
}

void check_exchange(std::string_view first, std::string_view final, const ChannelBinding& binding) {
  if (!logs_in(first, final, binding)) return;
  const std::size_t at = final.rfind(",p=") + 3;
  std::string proof = *base64_decode(final.substr(at));
  proof[0] = static_cast<char>(proof[0] ^ 1);
  WEIR_FUZZ_CHECK(!logs_in(first, std::string(final.substr(0, at)) + base64_encode(proof), binding));
}

void check_secret(std::string_view text) {
  const auto parsed = ScramSecret::parse(text);
  WEIR_FUZZ_CHECK(!parsed.ok() || (parsed->iterations > 0 && !parsed->salt.empty()));
  if (const auto decoded = base64_decode(text)) WEIR_FUZZ_CHECK(base64_encode(*decoded).size() == text.size());
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text = weir::as_text({data, size});
  const std::size_t line = text.find('\n');
  const std::string_view final = line == std::string_view::npos ? "" : text.substr(line + 1);
  for (const ChannelBinding& binding : {ChannelBinding{}, {"hash", false}, {"hash", true}})
    check_exchange(text.substr(0, line), final, binding);
  check_secret(text);
  return 0;
}
