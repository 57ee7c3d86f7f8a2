// ListenHub: listens for the clients. For each login (database, server role, client_encoding) with a listening client there is one server
// connection a shard, outside of the pools' bound; a channel is listened to while anybody wants it, and what comes is given to everybody who
// does. On a thread of its own, which is started with the first LISTEN.
//
// A client's LISTEN asks twice: first that the servers listen at all, before the statement is answered; then, before its transaction commits,
// from when on notifications are for the client ("live"). A LISTEN that the server is sent again, and its answer, mark that moment: PostgreSQL
// tells what was committed before a statement before it answers the statement.
// https://www.postgresql.org/docs/15/sql-notify.html
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <tuple>
#include <vector>

#include "base/held.hpp"
#include "net/loop.hpp"
#include "proxy/listen_connection.hpp"
#include "proxy/topology.hpp"

namespace weir::proxy {

class Worker;

// Whose servers listen, and in which encoding.
struct ListenLogin {
  std::string database, user;          // user: the role on the servers
  std::string encoding;                // client_encoding; empty: the server's
  friend auto operator<=>(const ListenLogin&, const ListenLogin&) = default;
};

// What a client is to get: whole messages, shared by all who get them.
struct Notification {
  std::string channel;                 // empty: a notice for whoever listens to anything
  ByteBuffer message;
};
struct Delivery {
  std::shared_ptr<const Notification> what;
  std::uint64_t ticket = 0;            // of the subscription it belongs to
};

// What SHOW LISTENERS says.
struct ListenerInfo {
  ListenLogin login;
  std::string channel;
  std::size_t clients = 0;
};
struct ListenConnectionInfo {
  ListenLogin login;
  std::string shard;
  int backend_pid = 0;                 // 0: it is away
};

class ListenHub {
 public:
  static constexpr Duration kLinger = std::chrono::seconds(10);   // connections are kept for so long after the last UNLISTEN

  // Whoever subscribes. The session is told by Session::subscribed() and Session::notified(), on its worker's thread.
  struct Listener {
    Worker* worker = nullptr;
    std::uint64_t session = 0;         // unique in the process
  };
  struct Request {
    std::vector<std::string> channels;
    std::uint64_t ticket = 0;          // of this request, never 0; the answer names it
    bool live = false;                 // notifications are for the client from the answer on
    bool waits = true;                 // for a connection that is away; else it is answered, and the client will be warned when it is back
  };

  explicit ListenHub(std::function<TopologyRef()> topology);
  ~ListenHub();   // after the workers
  ListenHub(const ListenHub&) = delete;
  ListenHub& operator=(const ListenHub&) = delete;

  // --- any thread ---
  void subscribe(Listener who, const ListenLogin& login, const pool::Credentials& credentials, Request request);
  void unsubscribe(Listener who, const ListenLogin& login, std::vector<std::string> channels);
  void forget(Listener who, const ListenLogin& login);
  // There is a new topology: connections follow their primaries.
  void topology_changed();
  // Not from a worker.
  struct Survey {
    std::vector<ListenerInfo> channels;
    std::vector<ListenConnectionInfo> connections;
  };
  [[nodiscard]] Survey survey();

 private:
  struct Subscription {
    Worker* worker = nullptr;
    std::uint64_t ticket = 0;
    std::vector<bool> live;            // by shard
  };
  using Channel = std::map<std::uint64_t, Subscription>;   // by session
  struct Group {
    pool::Credentials credentials;
    std::map<std::string, Channel, std::less<>> channels;
    std::vector<std::unique_ptr<ListenConnection>> connections;   // by shard
    TimePoint empty_since{};
  };
  using Groups = std::map<ListenLogin, Group>;
  struct Round;                        // a request on its way over the shards

  Result<void> start();
  bool post(std::function<void()> work);

  // --- on its thread ---
  net::Task<> close_idle();
  Group* group_of(const ListenLogin& login, const pool::Credentials& credentials);
  void connect(const ListenLogin& login, Group& group, const Topology& topology);
  void follow_topology();
  void subscribe_now(Listener who, const ListenLogin& login, const pool::Credentials& credentials, const Request& request);
  static void shard_listens(Group& group, const Round& round, std::size_t shard);
  void leave(Group& group, std::uint64_t session, const std::string& channel);
  static void spread(const Group& group, std::size_t shard, std::string_view channel, ByteView message);
  static void warn(const ListenLogin& login, const Group& group, std::size_t shard);

  const std::function<TopologyRef()> topology_;
  std::mutex start_mutex_;
  std::unique_ptr<net::Loop> loop_;    // null: nobody has listened yet
  std::unique_ptr<pool::Connector> logins_;
  std::thread thread_;
  std::unique_ptr<net::Waiter> waiter_;
  Groups groups_;
  net::Task<> housekeeping_;
};

}  // namespace weir::proxy
