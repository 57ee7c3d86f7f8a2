#include <fcntl.h>
#include <netinet/tcp.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/un.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include "support.hpp"

namespace weir::net {
namespace {

struct Folder {
  Folder() {
    char name[] = "/tmp/wXXXXXX";
    path = mkdtemp(name);
  }
  ~Folder() { std::filesystem::remove_all(path); }
  [[nodiscard]] std::string file() const { return path + "/.s.PGSQL.6432"; }
  std::string path;
};

struct Fd {
  explicit Fd(Result<int> made) : fd(made.ok() ? *made : -1) {
    if (!made) error = made.error();
  }
  ~Fd() {
    if (fd >= 0) close(fd);
  }
  Fd(const Fd&) = delete;
  int fd;
  Error error;
};

int connect_unix(const std::string& path) {
  const int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_un to{};
  to.sun_family = AF_UNIX;
  path.copy(to.sun_path, sizeof to.sun_path - 1);
  if (connect(fd, reinterpret_cast<sockaddr*>(&to), sizeof to) == 0) return fd;
  close(fd);
  return -1;
}

int option(int fd, int level, int name) {
  int value = 0;
  socklen_t length = sizeof value;
  EXPECT_EQ(getsockopt(fd, level, name, &value, &length), 0);
  return value;
}

class Address : public testing::TestWithParam<const char*> {};
INSTANTIATE_TEST_SUITE_P(, Address, testing::Values("127.0.0.1", "localhost", "0.0.0.0", "*"),
                         [](const auto& p) { return std::string("Nr") + std::to_string(p.index); });

TEST_P(Address, TakesAnIpv4ConnectionWithItsOptionsAndKnowsItsPeer) {
  const Fd listener(listen_tcp(GetParam(), 0, false));
  ASSERT_GE(listener.fd, 0) << listener.error.message;
  EXPECT_FALSE(accept_one(listener.fd)->has_value());
  const Fd client{connect_to(local_port(listener.fd).value())};
  const Fd server{accept_one(listener.fd)->value()};
  EXPECT_NE(option(server.fd, IPPROTO_TCP, TCP_NODELAY), 0);
  EXPECT_NE(option(server.fd, SOL_SOCKET, SO_KEEPALIVE), 0);
  EXPECT_NE(fcntl(server.fd, F_GETFL) & O_NONBLOCK, 0);
  EXPECT_NE(fcntl(server.fd, F_GETFD) & FD_CLOEXEC, 0);
  EXPECT_NE(fcntl(listener.fd, F_GETFD) & FD_CLOEXEC, 0);
  const PeerName peer = peer_name(server.fd);
  EXPECT_EQ(peer.address, "127.0.0.1");  // not ::ffff:127.0.0.1
  EXPECT_EQ(peer.port, local_port(client.fd).value());
}

bool has_ipv6() { return Fd(listen_tcp("::1", 0, false)).fd >= 0; }

TEST(ListenTcp, TakesIpv6Addresses) {
  if (!has_ipv6()) GTEST_SKIP() << "this machine has no IPv6";
  const Fd any(listen_tcp("::", 0, false));
  ASSERT_GE(any.fd, 0) << any.error.message;
  const Fd beside(listen_tcp("0.0.0.0", local_port(any.fd).value(), false));  // "::" leaves IPv4 alone
  EXPECT_GE(beside.fd, 0) << beside.error.message;
  const Fd client{socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0)};
  sockaddr_in6 to{};
  to.sin6_family = AF_INET6;
  to.sin6_port = htons(local_port(any.fd).value());
  to.sin6_addr = in6addr_loopback;
  ASSERT_EQ(connect(client.fd, reinterpret_cast<sockaddr*>(&to), sizeof to), 0);
  const Fd server{accept_one(any.fd)->value()};
  EXPECT_EQ(peer_name(server.fd).address, "::1");
}

TEST(ListenTcp, NamesTheAddressItCannotHave) {
  const Fd first(listen_tcp("127.0.0.1", 0, false));
  const std::uint16_t port = local_port(first.fd).value();
  const Fd second(listen_tcp("127.0.0.1", port, false));
  ASSERT_LT(second.fd, 0);
  EXPECT_NE(second.error.message.find("\"127.0.0.1\" port " + std::to_string(port)), std::string::npos);
  EXPECT_FALSE(second.error.hint.empty());
  const Fd nowhere(listen_tcp("no-such-host.invalid", 0, false));
  ASSERT_LT(nowhere.fd, 0);
  EXPECT_NE(nowhere.error.message.find("no-such-host.invalid"), std::string::npos);
  const Fd foreign(listen_tcp("192.0.2.1", 0, false));
  EXPECT_LT(foreign.fd, 0);
}

TEST(ListenTcp, SeveralWorkersShareAPortIfTheyAsk) {
  const Fd first(listen_tcp("127.0.0.1", 0, true));
  const Fd second(listen_tcp("127.0.0.1", local_port(first.fd).value(), true));
  EXPECT_GE(second.fd, 0) << second.error.message;
}

TEST(ListenUnix, EverybodyMayConnectWhateverTheUmask) {
  const Folder folder;
  const mode_t before = umask(0077);
  const Fd listener(listen_unix(folder.file()));
  umask(before);
  ASSERT_GE(listener.fd, 0) << listener.error.message;
  struct stat is {};
  ASSERT_EQ(stat(folder.file().c_str(), &is), 0);
  EXPECT_EQ(is.st_mode & 0777, 0777u);
  const Fd client{connect_unix(folder.file())};
  ASSERT_GE(client.fd, 0);
  const Fd server{accept_one(listener.fd)->value()};
  EXPECT_EQ(peer_name(server.fd).address, "unix");
  EXPECT_EQ(peer_name(server.fd).pid, getpid());
}

TEST(ListenUnix, ReplacesAStaleSocketAndRefusesALiveOne) {
  const Folder folder;
  { const Fd dead(listen_unix(folder.file())); }
  ASSERT_TRUE(std::filesystem::exists(folder.file()));
  const Fd alive(listen_unix(folder.file()));
  ASSERT_GE(alive.fd, 0) << alive.error.message;
  const Fd second(listen_unix(folder.file()));
  ASSERT_LT(second.fd, 0);
  EXPECT_NE(second.error.message.find(folder.file()), std::string::npos);
  EXPECT_FALSE(second.error.hint.empty());
  const Fd client{connect_unix(folder.file())};  // the first still serves
  EXPECT_GE(client.fd, 0);
}

TEST(ListenUnix, LeavesAFileThatIsNoSocketAlone) {
  const Folder folder;
  std::ofstream(folder.file()) << "precious";
  const Fd refused(listen_unix(folder.file()));
  EXPECT_LT(refused.fd, 0);
  EXPECT_EQ(std::filesystem::file_size(folder.file()), 8u);
}

TEST(ListenUnix, RefusesAPathThatIsTooLongOrInNoFolder) {
  const Fd too_long(listen_unix("/tmp/" + std::string(200, 'x')));
  EXPECT_NE(too_long.error.message.find("107"), std::string::npos);
  const Fd nowhere(listen_unix("/tmp/no/such/folder/.s.PGSQL.1"));
  EXPECT_LT(nowhere.fd, 0);
  EXPECT_FALSE(nowhere.error.hint.empty());
}

TEST(AcceptOne, SaysWhatToDoWhenThereAreNoDescriptorsLeftAndServesTheConnectionLater) {
  const Fd listener(listen_tcp("127.0.0.1", 0, false));
  const Fd client{connect_to(local_port(listener.fd).value())};
  rlimit before{};
  getrlimit(RLIMIT_NOFILE, &before);
  rlimit none = before;
  none.rlim_cur = 0;
  ASSERT_EQ(setrlimit(RLIMIT_NOFILE, &none), 0);
  const auto refused = accept_one(listener.fd);
  setrlimit(RLIMIT_NOFILE, &before);
  ASSERT_FALSE(refused.ok());
  EXPECT_NE(refused.error().hint.find("ulimit -n"), std::string::npos);
  const Fd server{accept_one(listener.fd)->value()};
  EXPECT_GE(server.fd, 0);
}

TEST(PeerName, OfAClosedConnectionIsUnknown) {
  const auto [left, right] = tcp_pair();
  shutdown(left, SHUT_RDWR);
  close(right);
  EXPECT_EQ(peer_name(987654).address, "unknown");
  close(left);
}

TEST(LocalPort, OfAUnixSocketIsAnError) {
  const auto [left, right] = unix_pair();
  EXPECT_FALSE(local_port(left).ok());
  close(left);
  close(right);
}

}  // namespace
}  // namespace weir::net
