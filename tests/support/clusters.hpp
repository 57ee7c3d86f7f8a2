// Throw-away PostgreSQL clusters for *_pgtest.cpp and *_chaos.cpp: scripts/lib/clusters, started and stopped with the
// object.
//
// Needs WEIR_SOURCE_DIR, which weir_pgtest() defines. Throws std::runtime_error where a test cannot go on. Not
// thread-safe.
#pragma once

#include <sys/wait.h>
#include <unistd.h>

#include <boost/property_tree/json_parser.hpp>
#include <boost/property_tree/ptree.hpp>
#include <cstdlib>
#include <filesystem>
#include <stdexcept>
#include <string>
#include <vector>

namespace weir::tests {

class Clusters {
 public:
  struct Node {
    std::string host;
    int port = 0;
  };
  struct Shard {
    std::string name;
    Node primary;
    std::vector<Node> replicas;
  };

  // `options`: more of scripts/lib/clusters start, e.g. {"--set", "max_prepared_transactions=0"}.
  explicit Clusters(int shards, int replicas = 0, const std::vector<std::string>& options = {}) {
    make_folder();
    std::vector<std::string> args{"start",
                                  "--dir",
                                  dir_,
                                  "--shards",
                                  std::to_string(shards),
                                  "--replicas",
                                  std::to_string(replicas),
                                  "--owner-pid",
                                  std::to_string(getpid())};
    args.insert(args.end(), options.begin(), options.end());
    try {
      run(args);
      read();
    } catch (...) {
      stop();
      throw;
    }
  }
  ~Clusters() { stop(); }
  Clusters(const Clusters&) = delete;
  Clusters& operator=(const Clusters&) = delete;

  [[nodiscard]] const std::vector<Shard>& shards() const { return shards_; }
  // The primary of shard i; its replica r.
  [[nodiscard]] std::string conninfo(std::size_t i) const { return conninfo(shards_.at(i).primary); }
  [[nodiscard]] std::string replica_conninfo(std::size_t i, std::size_t r) const {
    return conninfo(shards_.at(i).replicas.at(r));
  }
  [[nodiscard]] static std::string conninfo(const Node& node) {
    return "host=" + node.host + " port=" + std::to_string(node.port) + " dbname=app user=postgres";
  }

  // `node`: "primary", or a replica's number. kill -9; starts again on the same port; promotes.
  void kill(std::size_t shard, const std::string& node) { one("kill", shard, node); }
  void restart(std::size_t shard, const std::string& node) { one("restart", shard, node); }
  void promote(std::size_t shard, const std::string& node) { one("promote", shard, node); }

 private:
  void make_folder() {
    std::string pattern = (std::filesystem::temp_directory_path() / "weir-pgtest-XXXXXX").string();
    if (mkdtemp(pattern.data()) == nullptr)
      throw std::runtime_error("cannot make a folder for the clusters: " + pattern);
    // PostgreSQL runs as another user when the tests run as root.
    std::filesystem::permissions(pattern, std::filesystem::perms(0755));
    dir_ = pattern;
  }

  void one(const char* command, std::size_t shard, const std::string& node) {
    run({command, "--dir", dir_, "--shard", std::to_string(shard), "--node", node});
  }

  static int status_of(const std::vector<std::string>& args) {
    const std::string program = std::string(WEIR_SOURCE_DIR) + "/scripts/lib/clusters";
    const pid_t pid = fork();
    if (pid < 0) throw std::runtime_error("fork failed");
    if (pid == 0) {
      std::vector<char*> argv{const_cast<char*>(program.c_str())};
      for (const std::string& arg : args) argv.push_back(const_cast<char*>(arg.c_str()));
      argv.push_back(nullptr);
      dup2(STDERR_FILENO, STDOUT_FILENO);  // the state it prints would drown the test's own output on stdout
      execv(argv[0], argv.data());
      _exit(127);
    }
    int status = 0;
    waitpid(pid, &status, 0);
    return status;
  }

  static void run(const std::vector<std::string>& args) {
    if (status_of(args) != 0)
      throw std::runtime_error("scripts/lib/clusters " + args.front() + " failed; its reason stands above");
  }

  void read() {
    boost::property_tree::ptree root;
    boost::property_tree::read_json(dir_ + "/clusters.json", root);
    for (const auto& [ignored, entry] : root.get_child("shards")) {
      Shard shard{entry.get<std::string>("name"), node(entry.get_child("primary")), {}};
      for (const auto& [ignored_too, replica] : entry.get_child("replicas")) shard.replicas.push_back(node(replica));
      shards_.push_back(std::move(shard));
    }
  }
  static Node node(const boost::property_tree::ptree& entry) {
    // Not get<int>: GCC warns of Boost's translator under the sanitizers.
    return {entry.get<std::string>("host"), std::stoi(entry.get<std::string>("port"))};
  }

  void stop() noexcept {
    try {
      if (std::filesystem::exists(dir_ + "/clusters.json")) (void)status_of({"stop", "--dir", dir_});
      std::filesystem::remove_all(dir_);
    } catch (const std::exception&) {
      // --owner-pid stops the clusters when this process ends.
    }
  }

  std::string dir_;
  std::vector<Shard> shards_;
};

}  // namespace weir::tests
