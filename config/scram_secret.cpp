#include "config/scram_secret.hpp"

#include <algorithm>
#include <charconv>
#include <optional>

namespace weir::config {
namespace {

constexpr std::string_view kScramPrefix = "SCRAM-SHA-256$";
constexpr std::size_t kSha256Bytes = 32;

bool is_base64_digit(char c) {
  return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '+' || c == '/';
}

// Bytes that padded base64 stands for; none: it is no base64.
std::optional<std::size_t> base64_size(std::string_view text) {
  if (text.empty() || text.size() % 4 != 0) return std::nullopt;
  const std::size_t padding = text.ends_with("==") ? 2 : text.ends_with('=') ? 1 : 0;
  const std::string_view digits = text.substr(0, text.size() - padding);
  if (!std::all_of(digits.begin(), digits.end(), is_base64_digit)) return std::nullopt;
  return text.size() / 4 * 3 - padding;
}

// Splits at the first `separator`; the part after it goes back into `rest`.
std::string_view take_until(std::string_view& rest, char separator) {
  const std::size_t end = std::min(rest.find(separator), rest.size());
  const std::string_view part = rest.substr(0, end);
  rest.remove_prefix(std::min(end + 1, rest.size()));
  return part;
}

bool is_scram_body(std::string_view rest) {
  const std::string_view iterations = take_until(rest, ':');
  const std::string_view salt = take_until(rest, '$');
  const std::string_view stored_key = take_until(rest, ':');
  int count = 0;
  const auto [end, error] = std::from_chars(iterations.data(), iterations.data() + iterations.size(), count);
  const bool counted = error == std::errc{} && end == iterations.data() + iterations.size() && count >= 1;
  return counted && base64_size(salt) && base64_size(stored_key) == kSha256Bytes && base64_size(rest) == kSha256Bytes;
}

bool is_md5_secret(std::string_view password) {
  return password.size() == 35 && password.starts_with("md5") &&
         password.find_first_not_of("0123456789abcdef", 3) == password.npos;
}

}  // namespace

SecretKind secret_kind(std::string_view password) {
  if (is_md5_secret(password)) return SecretKind::md5;
  return password.starts_with(kScramPrefix) ? SecretKind::scram : SecretKind::plain;
}

std::string password_mistake(std::string_view password) {
  if (password.starts_with(kScramPrefix) && !is_scram_body(password.substr(kScramPrefix.size())))
    return "malformed SCRAM secret: expected SCRAM-SHA-256$<iterations>:<salt>$<StoredKey>:<ServerKey> as in "
           "pg_authid.rolpassword (was it cut short?)";
  return {};
}

}  // namespace weir::config
