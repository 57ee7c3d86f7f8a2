// SCRAM, the client's side: server-first-message, line feed, server-final-message. No server may pass but one that knows the
// secret: what is accepted must be refused after any change of the signature's bits.
#include <memory>

#include "base/bytes.hpp"
#include "base/strings.hpp"
#include "tests/fuzz/check.hpp"
#include "wire/base64.hpp"
#include "wire/scram_client.hpp"

namespace {

using namespace weir;
using namespace weir::wire;

// As in the corpus, which holds exchanges that succeed.
constexpr const char* kNonce = "rOprNGfwEbeRWgbNEkqO";
constexpr std::size_t kDigits = 2;  // of an iteration count that is really computed: the fuzzer shall not wait

ChannelBinding binding(bool plus) { return plus ? ChannelBinding{"hash of a certificate", true} : ChannelBinding{}; }

bool is_slow(std::string_view server_first) {
  const std::size_t at = server_first.find(",i=");
  return at != std::string_view::npos && std::min(server_first.find(',', at + 1), server_first.size()) > at + 3 + kDigits;
}

bool passes(ScramClient client, std::string_view server_first, std::string_view server_final) {
  WEIR_FUZZ_CHECK(client.first().ends_with(concat("n=,r=", kNonce)));
  const auto final = client.final(server_first);
  if (!final.ok()) {
    WEIR_FUZZ_CHECK(final.error().connection_spoilt && !client.verify(server_final).ok());
    return false;
  }
  WEIR_FUZZ_CHECK(final->starts_with("c=") && final->find(concat(",r=", kNonce)) != std::string::npos);
  const auto verified = client.verify(server_final);
  WEIR_FUZZ_CHECK(verified.ok() || verified.error().connection_spoilt);
  return verified.ok();
}

template <class Make>
void check(const Make& make, std::string_view server_first, std::string_view server_final) {
  if (!passes(make(), server_first, server_final)) return;
  const std::size_t at = server_final.find("v=") + 2;
  std::string signature = *base64_decode(server_final.substr(at, std::min(server_final.find(',', at), server_final.size()) - at));
  signature[0] = static_cast<char>(signature[0] ^ 1);
  WEIR_FUZZ_CHECK(!passes(make(), server_first, concat("v=", base64_encode(signature))));
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text = as_text({data, size});
  const std::size_t line = text.find('\n');
  const std::string_view first = text.substr(0, line);
  const std::string_view final = line == std::string_view::npos ? "" : text.substr(line + 1);
  static const auto keys = std::make_shared<const ScramKeys>(ScramKeys{*base64_decode("W22ZaJ0SNY7soEsUEjb6gQ=="), 4096, {}, {}});
  for (const bool plus : {false, true}) {
    check([&] { return ScramClient(keys, binding(plus), kNonce); }, first, final);
    if (!is_slow(first)) check([&] { return ScramClient("pencil", binding(plus), kNonce); }, first, final);
  }
  return 0;
}
