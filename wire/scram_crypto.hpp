// SHA-256, HMAC, PBKDF2 and randomness for SCRAM, from OpenSSL.
//
// These fail only when OpenSSL itself is broken (no entropy, no SHA-256). Going on would mean predictable salts or
// proofs, so they end the process with a message instead of returning.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace weir::wire {

using Digest = std::array<std::uint8_t, 32>;

[[nodiscard]] Digest sha256(std::string_view data);
[[nodiscard]] Digest hmac_sha256(std::string_view key, std::string_view data);
[[nodiscard]] Digest pbkdf2_sha256(std::string_view password, std::string_view salt, std::uint32_t iterations);
[[nodiscard]] std::string random_bytes(std::size_t n);
// In time that does not depend on where they differ.
[[nodiscard]] bool equal_in_constant_time(const Digest& a, const Digest& b);

}  // namespace weir::wire
