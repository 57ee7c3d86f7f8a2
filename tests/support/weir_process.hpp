// A `weir serve` of one's own for *_pgtest.cpp: started with a configuration's text, stopped with the object.
//
// Needs WEIR_BINARY, the path of the binary: target_compile_definitions(... WEIR_BINARY="$<TARGET_FILE:weir>") and
// add_dependencies(... weir). Throws std::runtime_error, with weir's log, where a test cannot go on. Not thread-safe.
#pragma once

#include <fcntl.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <optional>
#include <sstream>
#include <stdexcept>
#include <string>
#include <string_view>
#include <thread>

namespace weir::tests {

class WeirProcess {
 public:
  // `toml`: a whole configuration but for [listen], which is added: 127.0.0.1, and a port the kernel chooses.
  // Returns when weir accepts connections.
  explicit WeirProcess(const std::string& toml, unsigned workers = 2) {
    std::string pattern = (std::filesystem::temp_directory_path() / "weir-serve-XXXXXX").string();
    if (mkdtemp(pattern.data()) == nullptr) throw std::runtime_error("cannot make a folder for weir: " + pattern);
    dir_ = pattern;
    std::ofstream(dir_ / "weir.toml") << "[listen]\naddress = \"127.0.0.1\"\nport = 0\nworkers = " << workers << "\n"
                                      << toml;
    try {
      spawn();
      wait_until_it_serves();
    } catch (...) {
      end();
      throw;
    }
  }
  ~WeirProcess() { end(); }
  WeirProcess(const WeirProcess&) = delete;
  WeirProcess& operator=(const WeirProcess&) = delete;

  [[nodiscard]] int port() const { return port_; }
  [[nodiscard]] pid_t pid() const { return pid_; }
  [[nodiscard]] std::string conninfo(const std::string& dbname = "app", const std::string& user = "postgres") const {
    return "host=127.0.0.1 port=" + std::to_string(port_) + " dbname=" + dbname + " user=" + user;
  }
  // All that weir wrote until now.
  [[nodiscard]] std::string log() const {
    std::ostringstream text;
    text << std::ifstream(dir_ / "weir.log").rdbuf();
    return text.str();
  }
  // SIGTERM, and its exit status when it ends; -1: it did not end in time, or by a signal.
  int stop(std::chrono::seconds patience = std::chrono::seconds(20)) {
    if (pid_ <= 0) return -1;
    ::kill(pid_, SIGTERM);
    const auto until = std::chrono::steady_clock::now() + patience;
    while (std::chrono::steady_clock::now() < until) {
      if (const auto status = ended()) return WIFEXITED(*status) ? WEXITSTATUS(*status) : -1;
      std::this_thread::sleep_for(std::chrono::milliseconds(5));
    }
    return -1;
  }

 private:
  void spawn() {
    const std::string config = dir_ / "weir.toml", log_file = dir_ / "weir.log";
    const pid_t parent = getpid();
    pid_ = fork();
    if (pid_ < 0) throw std::runtime_error("fork failed");
    if (pid_ > 0) return;
    // A test that crashes leaves no weir behind.
    if (prctl(PR_SET_PDEATHSIG, SIGKILL) != 0 || getppid() != parent) _exit(127);
    const int out = open(log_file.c_str(), O_WRONLY | O_CREAT | O_APPEND, 0644);
    dup2(out, STDOUT_FILENO);
    dup2(out, STDERR_FILENO);
    execl(WEIR_BINARY, WEIR_BINARY, "serve", "-c", config.c_str(), static_cast<char*>(nullptr));
    _exit(127);
  }

  // Its log names the port once the listeners are there.
  void wait_until_it_serves() {
    static constexpr std::string_view kServing = "serving on port ";
    const auto until = std::chrono::steady_clock::now() + std::chrono::seconds(20);
    while (std::chrono::steady_clock::now() < until) {
      const std::string text = log();
      const auto at = text.find(kServing);
      const auto end_of_line = at == std::string::npos ? at : text.find('\n', at);
      if (end_of_line != std::string::npos) {
        port_ = std::atoi(text.c_str() + at + kServing.size());
        return;
      }
      if (ended()) throw std::runtime_error("weir ended at once:\n" + text);
      std::this_thread::sleep_for(std::chrono::milliseconds(5));
    }
    throw std::runtime_error("weir does not serve:\n" + log());
  }

  std::optional<int> ended() {
    int status = 0;
    if (pid_ <= 0 || waitpid(pid_, &status, WNOHANG) != pid_) return std::nullopt;
    pid_ = -1;
    return status;
  }

  void end() noexcept {
    if (pid_ > 0) {
      ::kill(pid_, SIGKILL);
      (void)waitpid(pid_, nullptr, 0);
      pid_ = -1;
    }
    std::error_code ignored;
    std::filesystem::remove_all(dir_, ignored);
  }

  std::filesystem::path dir_;
  pid_t pid_ = -1;
  int port_ = 0;
};

}  // namespace weir::tests
