#include "wire/scram_crypto.hpp"

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/rand.h>

#include <cstdio>
#include <cstdlib>

namespace weir::wire {
namespace {

void require(bool worked, const char* what) {
  if (worked) return;
  std::fprintf(stderr, "weir: OpenSSL cannot provide %s; check its installation and configuration\n", what);
  std::abort();
}

const unsigned char* octets(std::string_view s) { return reinterpret_cast<const unsigned char*>(s.data()); }

}  // namespace

Digest sha256(std::string_view data) {
  Digest d{};
  require(EVP_Digest(data.data(), data.size(), d.data(), nullptr, EVP_sha256(), nullptr) == 1, "SHA-256");
  return d;
}

Digest hmac_sha256(std::string_view key, std::string_view data) {
  Digest d{};
  unsigned int n = 0;
  // A null key would mean "the previous one" to older OpenSSL.
  const char* k = key.empty() ? "" : key.data();
  require(HMAC(EVP_sha256(), k, static_cast<int>(key.size()), octets(data), data.size(), d.data(), &n) != nullptr,
          "HMAC-SHA-256");
  return d;
}

Digest pbkdf2_sha256(std::string_view password, std::string_view salt, std::uint32_t iterations) {
  Digest d{};
  require(
      PKCS5_PBKDF2_HMAC(password.data(), static_cast<int>(password.size()), octets(salt), static_cast<int>(salt.size()),
                        static_cast<int>(iterations), EVP_sha256(), static_cast<int>(d.size()), d.data()) == 1,
      "PBKDF2");
  return d;
}

std::string random_bytes(std::size_t n) {
  std::string out(n, '\0');
  require(RAND_bytes(reinterpret_cast<unsigned char*>(out.data()), static_cast<int>(n)) == 1, "random bytes");
  return out;
}

bool equal_in_constant_time(const Digest& a, const Digest& b) {
  return CRYPTO_memcmp(a.data(), b.data(), a.size()) == 0;
}

}  // namespace weir::wire
