// examples/order_service, built and run: 100 concurrent requests on 8 connections a shard.
#include <cstdio>

#include "tests/unit/client/fixture.hpp"

namespace weir::client {
namespace {

class OrderService : public TwoShards {
 protected:
  static std::string configuration() {
    std::string text = "[[database]]\nname = \"app\"\n[database.sharding]\nbuckets = 4096\n";
    for (std::size_t i = 0; i < 2; ++i)
      text += "[[database.shard]]\nname = \"s" + std::to_string(i) + "\"\nbuckets = \"" +
              (i == 0 ? "0-2047" : "2048-4095") + "\"\nprimary = \"" + clusters_->conninfo(i) + "\"\nreplicas = [\"" +
              clusters_->replica_conninfo(i, 0) + "\"]\n";
    return text +
           "[[database.table]]\nname = \"users\"\nkey = \"id\"\n[[database.table]]\nname = \"orders\"\nkey = "
           "\"user_id\"\n";
  }

  static std::pair<int, std::string> run(const std::string& command) {
    FILE* pipe = popen((command + " 2>&1").c_str(), "r");
    std::string output;
    char buffer[4096];
    while (std::fgets(buffer, sizeof buffer, pipe) != nullptr) output += buffer;
    return {WEXITSTATUS(pclose(pipe)), output};
  }
};

TEST_F(OrderService, AnswersEveryRequestOfAHundredAtATimeOnEightConnections) {
  const std::string folder = testing::TempDir() + "order_service." + std::to_string(getpid());
  std::filesystem::create_directories(folder);
  std::ofstream(folder + "/weir.toml") << configuration();
  const auto [status, output] = run(std::string(ORDER_SERVICE) + " " + folder + "/weir.toml 4000 100 8");
  std::filesystem::remove_all(folder);
  EXPECT_EQ(status, 0) << output;
  EXPECT_NE(output.find("success 4000 of 4000"), std::string::npos) << output;
  int orders = 0;
  for (std::size_t i = 0; i < 2; ++i) {
    tests::PgConnection server(clusters_->conninfo(i));
    orders += std::stoi(server.value("SELECT count(*) FROM orders"));
    EXPECT_EQ(server.value("SELECT count(*) FROM orders WHERE (hashint8extended(user_id, 0) & 4095) / 2048 <> " +
                           std::to_string(i)),
              "0");
  }
  EXPECT_EQ(orders, 2000);
  std::printf("%s", output.c_str());
}

}  // namespace
}  // namespace weir::client
