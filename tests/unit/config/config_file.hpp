// A weir.toml and a users.toml in a folder of their own, for one test.
#pragma once

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include "config/load.hpp"

namespace weir::config {

inline constexpr std::string_view kUsers = "[[user]]\nname = 'app'\npassword = 'secret'\n";
inline constexpr std::string_view kPlainDatabase =
    "[[database]]\nname = 'app'\n[[database.shard]]\nname = 's0'\nprimary = 'host=h dbname=app'\n";

class ConfigFile {
 public:
  explicit ConfigFile(std::string_view text, std::string_view users = kUsers) {
    std::string pattern = (std::filesystem::temp_directory_path() / "weirXXXXXX").string();
    folder_ = ::mkdtemp(pattern.data());
    write("weir.toml", text);
    write("users.toml", users);
  }
  ~ConfigFile() { std::filesystem::remove_all(folder_); }
  ConfigFile(const ConfigFile&) = delete;
  ConfigFile& operator=(const ConfigFile&) = delete;

  void write(const std::string& name, std::string_view text) const { std::ofstream(folder_ / name) << text; }
  [[nodiscard]] const std::filesystem::path& folder() const { return folder_; }
  [[nodiscard]] std::string path() const { return (folder_ / "weir.toml").string(); }

  // The settings; fails the test, with the problems, where there are none.
  [[nodiscard]] Settings settings(const LoadOptions& options = {}) const {
    auto result = load(path(), options);
    for (const std::string& problem : lines(result)) ADD_FAILURE() << problem;
    return result.index() == 0 ? std::get<Settings>(std::move(result)) : Settings{};
  }

  // Every problem as a user sees it, without the folder's name.
  [[nodiscard]] std::vector<std::string> problems(const LoadOptions& options = {}) const {
    return lines(load(path(), options));
  }

 private:
  [[nodiscard]] std::vector<std::string> lines(const LoadResult& result) const {
    std::vector<std::string> out;
    if (const auto* problems = std::get_if<std::vector<Problem>>(&result)) {
      EXPECT_FALSE(problems->empty());
      for (const Problem& problem : *problems) out.push_back(without_folder(problem.str()));
    }
    return out;
  }

  [[nodiscard]] std::string without_folder(std::string text) const {
    const std::string prefix = folder_.string() + "/";
    for (auto at = text.find(prefix); at != std::string::npos; at = text.find(prefix)) text.erase(at, prefix.size());
    return text;
  }

  std::filesystem::path folder_;
};

}  // namespace weir::config
