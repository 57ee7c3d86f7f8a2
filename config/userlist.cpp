#include "config/userlist.hpp"

#include <algorithm>
#include <map>
#include <optional>

#include "base/strings.hpp"
#include "config/load.hpp"

namespace weir::config {
namespace {

constexpr std::size_t kNameBytes = 63;
constexpr std::size_t kSecretBytes = 4096;

void skip_blanks(std::string_view& rest) { rest.remove_prefix(std::min(rest.find_first_not_of(" \t\r\f\v"), rest.size())); }

// A quoted string; none: there is no quote, or it is not closed.
std::optional<std::string> take_quoted(std::string_view& rest) {
  skip_blanks(rest);
  if (!rest.starts_with('"')) return std::nullopt;
  std::string out;
  for (std::size_t i = 1; i < rest.size(); ++i) {
    if (rest[i] == '"' && !rest.substr(i + 1).starts_with('"')) {
      rest.remove_prefix(i + 1);
      return out;
    }
    if (rest[i] == '"') ++i;
    out += rest[i];
  }
  return std::nullopt;
}

}  // namespace

bool is_userlist(std::string_view path, std::string_view text) {
  if (path.ends_with(".txt")) return true;
  const std::size_t first = text.find_first_not_of(" \t\r\n\f\v");
  return first != text.npos && (text[first] == '"' || text[first] == ';');
}

Userlist parse_userlist(const std::string& file, std::string_view text, std::vector<Problem>& problems) {
  Userlist out;
  std::map<std::string, unsigned> seen;
  for (unsigned line = 1; !text.empty(); ++line) {
    const std::size_t end = std::min(text.find('\n'), text.size());
    std::string_view rest = text.substr(0, end);
    text.remove_prefix(std::min(end + 1, text.size()));
    skip_blanks(rest);
    if (rest.empty() || rest.starts_with(';')) continue;
    const auto report = [&](std::string message) { problems.push_back({file, line, "", std::move(message)}); };
    auto name = take_quoted(rest);
    auto secret = name ? take_quoted(rest) : std::nullopt;
    if (!secret) {
      report("expected \"name\" \"secret\", both in double quotes (a quote inside is doubled)");
    } else if (name->empty() || name->size() > kNameBytes || secret->size() > kSecretBytes) {
      report(concat("expected a name of 1 to ", std::to_string(kNameBytes), " bytes and a secret of at most ", std::to_string(kSecretBytes)));
    } else if (const auto [first, added] = seen.emplace(*name, line); !added) {
      report(concat("user \"", *name, "\" is there already, in line ", std::to_string(first->second)));
    } else {
      User& user = out.users.emplace_back();
      user.name = std::move(*name);
      user.password = std::move(*secret);
      out.lines.push_back(line);
    }
  }
  return out;
}

}  // namespace weir::config
