// Reader: collects everything that is wrong with one TOML file. Private to config/.
#pragma once

#include <toml++/toml.h>

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "config/load.hpp"

namespace weir::config {

// One table of a file, and how messages call it.
struct Section {
  const toml::table* table = nullptr;
  std::string kind;  // "database.shard": whose rows describe it
  std::string path;  // "database.app.shard.s0": the name in messages

  [[nodiscard]] std::string key(std::string_view name) const;
  // Of a key, or of the table itself where the key is absent.
  [[nodiscard]] unsigned line(std::string_view name = {}) const;
  [[nodiscard]] bool has(std::string_view name) const { return table->contains(name); }
};

[[nodiscard]] unsigned line_of(const toml::node& node);

class Reader {
 public:
  // `file` is used in messages only.
  explicit Reader(std::string file) : file_(std::move(file)) {}

  void report(unsigned line, std::string key, std::string message);
  // `name` of `section` is wrong: the line is the key's own where it is written.
  void report(const Section& section, std::string_view name, std::string message);
  // Whether that key of that very table has a problem (two tables may share a name by mistake).
  [[nodiscard]] bool reported(const Section& section, std::string_view name) const;

  // Parses the text of the file; nothing (and a problem) where it is no TOML.
  [[nodiscard]] std::optional<toml::table> parse(std::string_view text);
  // The table `name` of `parent`; nothing where it is absent, or (reported) no table.
  [[nodiscard]] std::optional<Section> child(const Section& parent, std::string_view name);
  // The tables [[name]] of `parent`, each called by its own `name` key in messages, or by its index.
  [[nodiscard]] std::vector<Section> children(const Section& parent, std::string_view name);

  // Problems found so far, in the order of the file's lines.
  [[nodiscard]] std::vector<Problem> take_problems();

 private:
  std::string file_;
  std::vector<Problem> problems_;
};

// One value on its way into a member of Settings.
class Value {
 public:
  // `secret`: the value is never repeated in a message.
  Value(Reader& reader, const toml::node& node, std::string key, bool secret)
      : reader_(reader), node_(node), key_(std::move(key)), secret_(secret) {}

  [[nodiscard]] const toml::node& node() const { return node_; }
  // The string with ${NAME} replaced from the environment and $${ as a literal ${. Nothing: it is no string (nothing is
  // reported: the caller says what it expected), or a variable is unset (reported; failed() tells).
  [[nodiscard]] std::optional<std::string> text();
  [[nodiscard]] bool failed() const { return failed_; }
  // "expected <allowed>, got <the value>", unless this value has been reported already.
  void expected(std::string_view allowed);
  void reject(std::string message);
  // The value of an element of an array, or of a key of an inline table.
  [[nodiscard]] Value element(const toml::node& node) const { return {reader_, node, key_, secret_}; }
  [[nodiscard]] Reader& reader() { return reader_; }
  [[nodiscard]] const std::string& key() const { return key_; }

 private:
  std::optional<std::string> expand(std::string_view text);
  std::optional<std::string> variable(std::string_view name);

  Reader& reader_;
  const toml::node& node_;
  std::string key_;
  bool secret_;
  bool failed_ = false;
};

// `text` as a TOML string.
[[nodiscard]] std::string quoted(std::string_view text);

}  // namespace weir::config
