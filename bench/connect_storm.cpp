// connect_storm: how many clients a second can log in (trust) and leave again.
//
//   connect_storm <port> <seconds> <threads> [user] [database]
//
// Each thread connects to 127.0.0.1, sends a StartupMessage, reads to ReadyForQuery, says Terminate and closes. Prints connects a second and the
// errors; exit status 1 if there was one. Bounded in time, and by one connection a thread.
#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <thread>
#include <vector>

namespace {

std::string startup_message(const std::string& user, const std::string& database) {
  std::string body("\0\3\0\0", 4);
  for (const std::string& word : {std::string("user"), user, std::string("database"), database}) body += word + '\0';
  body += '\0';
  const std::uint32_t size = htonl(static_cast<std::uint32_t>(body.size() + 4));
  return std::string(reinterpret_cast<const char*>(&size), 4) + body;
}

// One login; false: refused, or the connection broke.
bool log_in_once(const sockaddr_in& where, const std::string& startup) {
  const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (fd < 0) return false;
  const int one = 1;
  setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
  bool ready = false;
  if (connect(fd, reinterpret_cast<const sockaddr*>(&where), sizeof where) == 0 && send(fd, startup.data(), startup.size(), MSG_NOSIGNAL) > 0) {
    std::string received;
    char piece[4096];
    while (!ready) {
      const ssize_t n = recv(fd, piece, sizeof piece, 0);
      if (n <= 0) break;
      received.append(piece, static_cast<std::size_t>(n));
      if (received[0] == 'E') break;
      ready = received.size() >= 6 && std::memcmp(received.data() + received.size() - 6, "Z\0\0\0\5I", 6) == 0;
    }
    if (ready) send(fd, "X\0\0\0\4", 5, MSG_NOSIGNAL);
  }
  close(fd);
  return ready;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 4) {
    std::fprintf(stderr, "usage: connect_storm <port> <seconds> <threads> [user] [database]\n");
    return 2;
  }
  sockaddr_in where{};
  where.sin_family = AF_INET;
  where.sin_port = htons(static_cast<std::uint16_t>(std::atoi(argv[1])));
  where.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  const std::string startup = startup_message(argc > 4 ? argv[4] : "postgres", argc > 5 ? argv[5] : "app");
  const auto begin = std::chrono::steady_clock::now();
  const auto end = begin + std::chrono::seconds(std::atoi(argv[2]));
  std::atomic<unsigned long> logins{0}, errors{0};
  std::vector<std::thread> threads;
  for (int i = std::atoi(argv[3]); i > 0; --i)
    threads.emplace_back([&] {
      while (std::chrono::steady_clock::now() < end) (log_in_once(where, startup) ? logins : errors).fetch_add(1);
    });
  for (std::thread& t : threads) t.join();
  const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
  std::printf("%.0f connects/s, %lu logins, %lu errors\n", static_cast<double>(logins) / seconds, logins.load(), errors.load());
  return errors == 0 ? 0 : 1;
}
