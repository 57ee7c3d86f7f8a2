#include "router/gid.hpp"

#include <algorithm>
#include <array>

#include "base/strings.hpp"

namespace weir::router {
namespace {

constexpr std::string_view kPrefix = "weir:1:";
constexpr std::string_view kDigits = "0123456789abcdef";
constexpr std::array<std::size_t, 4> kDashes = {8, 13, 18, 23};   // of a uuid's text
constexpr std::size_t kRandomDigits = 14, kMaxXidDigits = 16;

bool is_hex(std::string_view text) { return text.find_first_not_of(kDigits) == std::string_view::npos; }

bool is_plain(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' || c == '.' || c == '-';
}

std::string hex(std::uint64_t value) {
  std::string out;
  do {
    out.insert(out.begin(), kDigits[value & 15]);
    value >>= 4;
  } while (value != 0);
  return out;
}

std::string without_dashes(std::string_view uuid) {
  std::string out(uuid);
  std::erase(out, '-');
  return out;
}

std::string with_dashes(std::string_view digits) {
  std::string out(digits);
  for (const std::size_t at : kDashes) out.insert(at, 1, '-');
  return out;
}

std::string escaped(std::string_view name) {
  std::string out;
  for (const char c : name) {
    if (is_plain(c)) {
      out += c;
      continue;
    }
    const auto byte = static_cast<unsigned char>(c);
    out += {'%', kDigits[byte >> 4], kDigits[byte & 15]};
  }
  return out;
}

std::optional<std::string> unescaped(std::string_view text) {
  std::string out;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '%') {
      out += text[i];
      continue;
    }
    if (text.size() - i < 3 || !is_hex(text.substr(i + 1, 2))) return std::nullopt;
    out += static_cast<char>(kDigits.find(text[i + 1]) << 4 | kDigits.find(text[i + 2]));
    i += 2;
  }
  return out;
}

bool is_decision_id(std::string_view text) {
  const std::size_t dash = text.find('-');
  if (dash == std::string_view::npos || dash == 0 || dash > kMaxXidDigits) return false;
  return text.size() - dash - 1 == kRandomDigits && is_hex(text.substr(0, dash)) && is_hex(text.substr(dash + 1));
}

}  // namespace

std::string make_decision_id(std::uint64_t xid, std::uint64_t random) {
  std::string digits = hex(random & ((std::uint64_t{1} << (4 * kRandomDigits)) - 1));
  digits.insert(0, kRandomDigits - digits.size(), '0');
  return concat(hex(xid), "-", digits);
}

Result<std::string> print_gid(const Gid& gid) {
  std::string text =
      concat(kPrefix, without_dashes(gid.cluster), ":", escaped(gid.decider), ":", gid.decision, ":", escaped(gid.participant));
  if (text.size() <= Gid::kMaxBytes) return text;
  return Error(sqlstate::kProgramLimit,
               concat("the names of shards ", gid.decider, " and ", gid.participant, " are too long for one distributed transaction"),
               "Give the shards shorter names of letters, digits and _.");
}

std::optional<Gid> parse_gid(std::string_view text) {
  if (!text.starts_with(kPrefix)) return std::nullopt;
  std::array<std::string_view, 4> parts;
  std::string_view rest = text.substr(kPrefix.size());
  for (std::size_t i = 0; i < parts.size(); ++i) {
    const std::size_t end = i + 1 < parts.size() ? rest.find(':') : rest.size();
    if (end == std::string_view::npos) return std::nullopt;
    parts[i] = rest.substr(0, end);
    rest.remove_prefix(std::min(end + 1, rest.size()));
  }
  const auto decider = unescaped(parts[1]), participant = unescaped(parts[3]);
  if (parts[0].size() != 32 || !is_hex(parts[0]) || !is_decision_id(parts[2]) || !decider || !participant) return std::nullopt;
  Gid gid{with_dashes(parts[0]), *decider, std::string(parts[2]), *participant};
  const auto again = print_gid(gid);
  if (gid.decider.empty() || gid.participant.empty() || !again || *again != text) return std::nullopt;
  return gid;
}

}  // namespace weir::router
