#include "config/reader.hpp"

#include <algorithm>
#include <cstdlib>

#include "base/strings.hpp"

namespace weir::config {
namespace {

std::string describe(const toml::node& node, bool secret) {
  if (const auto* s = node.as_string()) return secret ? std::string("a string") : quoted(s->get());
  if (const auto* i = node.as_integer()) return std::to_string(i->get());
  if (const auto* b = node.as_boolean()) return b->get() ? "true" : "false";
  if (node.is_table()) return "a table";
  if (node.is_array()) return "an array";
  if (node.is_floating_point()) return "a number with a fraction";
  return "a date or time";
}

bool is_variable_name(std::string_view name) {
  if (name.empty() || (name[0] >= '0' && name[0] <= '9')) return false;
  return std::all_of(name.begin(), name.end(), [](char c) {
    return c == '_' || (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
  });
}

std::string label_of(const toml::table& table, std::size_t index) {
  const auto* name = table.get_as<std::string>("name");
  if (name != nullptr && !name->get().empty()) return "." + name->get();
  return "[" + std::to_string(index) + "]";
}

std::string joined(std::string_view parent, std::string_view name) {
  return parent.empty() ? std::string(name) : concat(parent, ".", name);
}

}  // namespace

std::string quoted(std::string_view text) {
  std::string out = "\"";
  for (const char c : text) {
    if (c == '"' || c == '\\') out += '\\';
    if (c == '\n') {
      out += "\\n";
    } else {
      out += c;
    }
  }
  return out + '"';
}

unsigned line_of(const toml::node& node) { return node.source().begin.line; }

std::string Section::key(std::string_view name) const { return name.empty() ? path : joined(path, name); }

unsigned Section::line(std::string_view name) const {
  const toml::node* node = name.empty() ? nullptr : table->get(name);
  return line_of(node != nullptr ? *node : *table);
}

void Reader::report(unsigned line, std::string key, std::string message) {
  problems_.push_back({file_, line, std::move(key), std::move(message)});
}

void Reader::report(const Section& section, std::string_view name, std::string message) {
  report(section.line(name), section.key(name), std::move(message));
}

bool Reader::reported(const Section& section, std::string_view name) const {
  const std::string key = section.key(name);
  const unsigned line = section.line(name);
  return std::any_of(problems_.begin(), problems_.end(),
                     [&](const Problem& p) { return p.key == key && p.line == line; });
}

std::optional<toml::table> Reader::parse(std::string_view text) {
  try {
    return toml::parse(text);
  } catch (const toml::parse_error& e) {
    report(e.source().begin.line, "", concat("not valid TOML: ", e.description()));
    return std::nullopt;
  }
}

std::optional<Section> Reader::child(const Section& parent, std::string_view name) {
  const toml::node* node = parent.table->get(name);
  if (node == nullptr) return std::nullopt;
  const std::string kind = joined(parent.kind, name);
  if (const auto* table = node->as_table()) return Section{table, kind, parent.key(name)};
  report(parent, name, concat("expected a table, written [", kind, "] (once), got ", describe(*node, true)));
  return std::nullopt;
}

std::vector<Section> Reader::children(const Section& parent, std::string_view name) {
  std::vector<Section> found;
  const toml::node* node = parent.table->get(name);
  if (node == nullptr) return found;
  const std::string kind = joined(parent.kind, name);
  const std::string wanted = concat("expected an array of tables, each written [[", kind, "]], got ");
  const auto* array = node->as_array();
  if (array == nullptr) {
    report(parent, name, wanted + describe(*node, true));
    return found;
  }
  for (std::size_t i = 0; i < array->size(); ++i) {
    const toml::node& each = (*array)[i];
    if (const auto* table = each.as_table()) {
      found.push_back({table, kind, parent.key(name) + label_of(*table, i)});
    } else {
      report(line_of(each), parent.key(name), wanted + describe(each, true));
    }
  }
  return found;
}

std::vector<Problem> Reader::take_problems() {
  std::stable_sort(problems_.begin(), problems_.end(),
                   [](const Problem& a, const Problem& b) { return a.line < b.line; });
  return std::move(problems_);
}

std::optional<std::string> Value::text() {
  const auto* s = node_.as_string();
  return s == nullptr ? std::nullopt : expand(s->get());
}

void Value::expected(std::string_view allowed) {
  if (failed_) return;
  reject(concat("expected ", allowed, ", got ", describe(node_, secret_)));
}

void Value::reject(std::string message) {
  failed_ = true;
  reader_.report(line_of(node_), key_, std::move(message));
}

std::optional<std::string> Value::expand(std::string_view text) {
  std::string out;
  for (std::size_t at = 0; at < text.size();) {
    if (text.substr(at, 3) == "$${") {
      out += "${";
      at += 3;
    } else if (text.substr(at, 2) == "${") {
      const std::size_t end = text.find('}', at);
      if (end == text.npos) {
        reject("a \"${\" without \"}\": write ${NAME} for an environment variable, $${ for a literal ${");
        return std::nullopt;
      }
      const auto value = variable(text.substr(at + 2, end - at - 2));
      if (!value) return std::nullopt;
      out += *value;
      at = end + 1;
    } else {
      out += text[at++];
    }
  }
  return out;
}

std::optional<std::string> Value::variable(std::string_view name) {
  if (!is_variable_name(name)) {
    reject(concat("${", name, "} names no environment variable (letters, digits and _): write $${ for a literal ${"));
    return std::nullopt;
  }
  const char* value = std::getenv(std::string(name).c_str());
  if (value == nullptr) {
    reject(concat("the environment variable ", name, " is not set: set it, or write $${ for a literal ${"));
    return std::nullopt;
  }
  return std::string(value);
}

}  // namespace weir::config
