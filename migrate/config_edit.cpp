#include "migrate/config_edit.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <fstream>
#include <regex>
#include <sstream>

#include "base/strings.hpp"
#include "config/load.hpp"
#include "migrate/session.hpp"

namespace weir::migrate {

namespace {

// One line, taken apart as far as the edit needs it: [indent][key] = [value][rest].
struct KeyLine {
  std::string head;  // with the key and the =
  std::string value;
  std::string tail;  // blanks, a comment, the line's end
};

std::vector<std::string> lines_of(const std::string& text) {
  std::vector<std::string> lines;
  std::size_t begin = 0;
  while (begin < text.size()) {
    const std::size_t end = std::min(text.find('\n', begin), text.size() - 1) + 1;
    lines.push_back(text.substr(begin, end - begin));
    begin = end;
  }
  return lines;
}

// "database.shard" of "  [[database.shard]]  # comment"; empty: no header.
std::string header_of(const std::string& line) {
  static const std::regex pattern(R"(^\s*\[\[?\s*([A-Za-z0-9_.\- ]+?)\s*\]\]?\s*(#.*)?\s*$)");
  std::smatch match;
  return std::regex_match(line, match, pattern) ? match[1].str() : "";
}

std::optional<KeyLine> key_line(const std::string& line, const std::string& key) {
  const std::regex pattern("^(\\s*" + key + R"(\s*=\s*)(\"[^\"\\]*\"|'[^']*'|[0-9_]+)(\s*(#.*)?\s*)$)");
  std::smatch match;
  if (!std::regex_match(line, match, pattern)) return std::nullopt;
  return KeyLine{match[1].str(), match[2].str(), match[3].str()};
}

std::string unquoted(const std::string& value) {
  return value.size() >= 2 && (value.front() == '"' || value.front() == '\'') ? value.substr(1, value.size() - 2)
                                                                              : value;
}

// A table of the file: its header line and what belongs to it.
struct Section {
  std::string header;
  std::size_t first = 0, end = 0;  // lines, the header included
};

std::vector<Section> sections_of(const std::vector<std::string>& lines) {
  std::vector<Section> sections{{"", 0, 0}};
  for (std::size_t i = 0; i < lines.size(); ++i) {
    const std::string header = header_of(lines[i]);
    if (header.empty()) continue;
    sections.back().end = i;
    sections.push_back({header, i, 0});
  }
  sections.back().end = lines.size();
  return sections;
}

class Editor {
 public:
  Editor(const std::string& text, const MapEdit& edit)
      : lines_(lines_of(text)), sections_(sections_of(lines_)), edit_(edit) {}

  Result<std::string> run() {
    const auto [first, end] = database_range();
    if (first == end) return failure("[[database]] with name = \"" + edit_.database + "\"");
    for (const auto& shard : edit_.shards)
      if (!set_buckets(first, end, shard))
        return failure("[[database.shard]] with name = \"" + shard.name + "\" and a line buckets = \"...\"");
    if (!set_version(first, end)) return failure("[database.sharding]");
    std::string text;
    for (const auto& line : lines_) text += line;
    return text;
  }

 private:
  static Result<std::string> failure(const std::string& what) {
    return Error(
        sqlstate::kConfigFile, "cannot edit the configuration: found no " + what,
        "Give every shard a table of its own with `buckets` on a line of its own, as in docs/configuration.md.");
  }

  [[nodiscard]] std::string value_in(const Section& section, const std::string& key) const {
    for (std::size_t i = section.first; i < section.end; ++i)
      if (const auto line = key_line(lines_[i], key)) return unquoted(line->value);
    return "";
  }

  // Sections from the database's own up to the next one's.
  [[nodiscard]] std::pair<std::size_t, std::size_t> database_range() const {
    for (std::size_t s = 0; s < sections_.size(); ++s) {
      if (sections_[s].header != "database" || value_in(sections_[s], "name") != edit_.database) continue;
      std::size_t end = s + 1;
      while (end < sections_.size() && sections_[end].header != "database") ++end;
      return {s, end};
    }
    return {0, 0};
  }

  bool set(const Section& section, const std::string& key, const std::string& value) {
    for (std::size_t i = section.first; i < section.end; ++i) {
      const auto line = key_line(lines_[i], key);
      if (!line) continue;
      lines_[i] = line->head + value + line->tail;
      return true;
    }
    return false;
  }

  bool set_buckets(std::size_t first, std::size_t end, const MapEdit::Shard& shard) {
    for (std::size_t s = first; s < end; ++s)
      if (sections_[s].header == "database.shard" && value_in(sections_[s], "name") == shard.name)
        return set(sections_[s], "buckets", "\"" + config::format_bucket_ranges(shard.buckets) + "\"");
    return false;
  }

  bool set_version(std::size_t first, std::size_t end) {
    for (std::size_t s = first; s < end; ++s) {
      if (sections_[s].header != "database.sharding") continue;
      if (set(sections_[s], "map_version", std::to_string(edit_.map_version))) return true;
      std::string& header = lines_[sections_[s].first];
      const std::string indent = header.substr(0, header.find('['));
      header +=
          (header.ends_with('\n') ? "" : "\n") + indent + "map_version = " + std::to_string(edit_.map_version) + "\n";
      return true;
    }
    return false;
  }

  std::vector<std::string> lines_;
  std::vector<Section> sections_;
  const MapEdit& edit_;
};

[[noreturn]] void fail(const std::string& what, const std::string& path) {
  throw Failure(what + " " + path + ": " + std::strerror(errno));
}

void sync_directory_of(const std::string& path) {
  const auto slash = path.rfind('/');
  const std::string folder = slash == std::string::npos ? "." : path.substr(0, slash + 1);
  const int fd = ::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (fd < 0 || ::fsync(fd) != 0) fail("cannot sync", folder);
  ::close(fd);
}

void write_all(int fd, const std::string& text, const std::string& path) {
  std::size_t done = 0;
  while (done < text.size()) {
    const ssize_t n = ::write(fd, text.data() + done, text.size() - done);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) fail("cannot write", path);
    done += static_cast<std::size_t>(n);
  }
}

}  // namespace

Result<std::string> edit_map(const std::string& text, const MapEdit& edit) { return Editor(text, edit).run(); }

void write_beside(const std::string& path, const std::string& new_path, const std::string& text) {
  struct stat like {};
  if (::stat(path.c_str(), &like) != 0) fail("cannot look at", path);
  const int fd = ::open(new_path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
  if (fd < 0) fail("cannot create", new_path);
  write_all(fd, text, new_path);
  if (::fchown(fd, like.st_uid, like.st_gid) != 0 && errno != EPERM) fail("cannot give away", new_path);
  if (::fchmod(fd, like.st_mode & 07777) != 0) fail("cannot set the mode of", new_path);
  if (::fsync(fd) != 0) fail("cannot sync", new_path);
  ::close(fd);
  sync_directory_of(new_path);
}

void replace_file(const std::string& new_path, const std::string& path) {
  if (::rename(new_path.c_str(), path.c_str()) != 0) fail("cannot rename " + new_path + " to", path);
  sync_directory_of(path);
}

std::string read_file(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  if (!in) fail("cannot read", path);
  std::ostringstream text;
  text << in.rdbuf();
  return text.str();
}

}  // namespace weir::migrate
