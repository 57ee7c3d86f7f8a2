#include "wire/md5.hpp"

#include <openssl/crypto.h>
#include <openssl/evp.h>

#include <algorithm>

#include "base/strings.hpp"
#include "wire/scram_crypto.hpp"

namespace weir::wire {
namespace {

constexpr std::string_view kPrefix = "md5";
constexpr std::size_t kHexDigits = 32;

std::optional<std::string> md5_hex(std::string_view text) {
  unsigned char digest[16];
  if (EVP_Digest(text.data(), text.size(), digest, nullptr, EVP_md5(), nullptr) != 1) return std::nullopt;
  std::string out;
  for (const unsigned char byte : digest) {
    out += "0123456789abcdef"[byte >> 4];
    out += "0123456789abcdef"[byte & 15];
  }
  return out;
}

}  // namespace

bool is_md5_secret(std::string_view text) {
  return text.size() == kPrefix.size() + kHexDigits && text.starts_with(kPrefix) &&
         text.find_first_not_of("0123456789abcdef", kPrefix.size()) == text.npos;
}

std::optional<std::string> md5_secret(std::string_view password, std::string_view user) {
  auto hex = md5_hex(concat(password, user));
  if (!hex) return std::nullopt;
  return concat(kPrefix, *hex);
}

std::optional<std::string> md5_response(std::string_view secret, const Md5Salt& salt) {
  if (!is_md5_secret(secret)) return std::nullopt;
  std::string salted(secret.substr(kPrefix.size()));
  salted.append(reinterpret_cast<const char*>(salt.data()), salt.size());
  auto hex = md5_hex(salted);
  if (!hex) return std::nullopt;
  return concat(kPrefix, *hex);
}

Md5Salt random_md5_salt() {
  const std::string random = random_bytes(Md5Salt{}.size());
  Md5Salt salt{};
  std::copy(random.begin(), random.end(), salt.begin());
  return salt;
}

bool equal_secrets(std::string_view a, std::string_view b) {
  return a.size() == b.size() && CRYPTO_memcmp(a.data(), b.data(), a.size()) == 0;
}

}  // namespace weir::wire
