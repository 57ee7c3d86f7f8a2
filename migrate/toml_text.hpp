// Writing TOML, as far as weir.toml needs it.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace weir::migrate {

// A basic string; "${" is kept from being read as a variable of the environment.
[[nodiscard]] std::string toml_string(std::string_view text);
[[nodiscard]] std::string toml_strings(const std::vector<std::string>& texts);

class TomlText {
 public:
  void comment(std::string_view text);         // one line
  void table(std::string_view header);         // "[pool]", "[[user]]"
  void raw(std::string_view key, std::string_view value);
  void text(std::string_view key, std::string_view value) { raw(key, toml_string(value)); }
  [[nodiscard]] const std::string& str() const { return out_; }

 private:
  std::string out_;
};

}  // namespace weir::migrate
