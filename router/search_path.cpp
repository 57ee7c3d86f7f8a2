#include "router/search_path.hpp"

#include "base/strings.hpp"

namespace weir::router {
namespace {

bool is_blank(char c) { return c == ' ' || c == '\t' || c == '\n' || c == '\r' || c == '\f'; }

class Splitter {
 public:
  explicit Splitter(std::string_view text) : rest_(text) {}

  std::optional<std::vector<std::string>> split() {
    std::vector<std::string> names;
    skip_blanks();
    if (rest_.empty()) return std::vector<std::string>{""};
    for (;;) {
      if (!name(names)) return std::nullopt;
      skip_blanks();
      if (rest_.empty()) return names;
      if (rest_.front() != ',') return std::nullopt;
      rest_.remove_prefix(1);
      skip_blanks();
    }
  }

 private:
  void skip_blanks() {
    while (!rest_.empty() && is_blank(rest_.front())) rest_.remove_prefix(1);
  }

  bool name(std::vector<std::string>& names) {
    if (!rest_.empty() && rest_.front() == '"') return quoted_name(names);
    std::size_t size = 0;
    while (size < rest_.size() && rest_[size] != ',' && !is_blank(rest_[size])) ++size;
    if (size == 0) return false;
    names.push_back(truncated(ascii_lower(rest_.substr(0, size))));
    rest_.remove_prefix(size);
    return true;
  }

  bool quoted_name(std::vector<std::string>& names) {
    std::string name;
    for (std::size_t at = 1; at < rest_.size(); ++at) {
      if (rest_[at] != '"') {
        name += rest_[at];
      } else if (at + 1 < rest_.size() && rest_[at + 1] == '"') {
        name += rest_[at++];
      } else {
        names.push_back(truncated(std::move(name)));
        rest_.remove_prefix(at + 1);
        return true;
      }
    }
    return false;
  }

  // PostgreSQL cuts names to 63 bytes, between characters.
  static std::string truncated(std::string name) {
    constexpr std::size_t kMaxName = 63;
    if (name.size() <= kMaxName) return name;
    std::size_t size = kMaxName;
    while (size > 0 && (static_cast<unsigned char>(name[size]) & 0xC0) == 0x80) --size;
    name.resize(size);
    return name;
  }

  std::string_view rest_;
};

}  // namespace

std::optional<std::vector<std::string>> parse_search_path(std::string_view text) { return Splitter(text).split(); }

void expand_user(std::vector<std::string>& search_path, std::string_view user) {
  if (user.empty()) return;
  for (std::string& name : search_path)
    if (name == "$user") name = user;
}

}  // namespace weir::router
