// ListenConnection: the one server connection that listens at a shard for all clients of a login. Outside of the pools' bound. It logs in again
// when it is lost, with growing pauses, and listens to everything again. Made by ListenHub; everything happens on its loop's thread.
// https://www.postgresql.org/docs/15/protocol-flow.html#PROTOCOL-ASYNC
#pragma once

#include <deque>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/bytes.hpp"
#include "base/deadline.hpp"
#include "base/held.hpp"
#include "base/result.hpp"
#include "net/loop.hpp"
#include "net/task.hpp"
#include "pool/connector.hpp"
#include "pool/server.hpp"
#include "wire/frame.hpp"

namespace weir::proxy {

class ListenConnection {
 public:
  // Where and as whom to log in. Of the newest topology; a change of `backend` moves the connection.
  struct Target {
    std::shared_ptr<pool::Backend> backend;
    pool::LoginCheck check;
    pool::Credentials credentials;
    std::string encoding;        // client_encoding: PostgreSQL converts for it; empty: the server's own
    Duration connect_timeout{};
  };
  // To whom it belongs. None of these may destroy it.
  struct Events {
    std::function<std::vector<std::string>()> wanted;        // the channels to listen to after a login
    std::function<void()> listens_again;                     // to all of them, after a loss
    std::function<void(std::string_view channel, ByteView message)> notified;   // a whole NotificationResponse
  };
  using Done = std::function<void(const Held<Error>&)>;

  ListenConnection(net::Loop& loop, pool::Connector& logins, Target target, Events events);
  ~ListenConnection();   // who still waits for an answer gets none
  ListenConnection(const ListenConnection&) = delete;
  ListenConnection& operator=(const ListenConnection&) = delete;

  // The server has answered LISTEN, and whatever was committed before it did was told to Events::notified before `done` is called. While the
  // connection is away `done` waits; it fails only where a login is refused for good (password, database), or the server refuses the LISTEN.
  // The channels are among Events::wanted.
  void listen(const std::vector<std::string>& channels, Done done);
  void unlisten(const std::string& channel);
  void retarget(Target target);
  // Listens to everything that is wanted.
  [[nodiscard]] bool up() const { return up_; }
  [[nodiscard]] int backend_pid() const { return server_ && up_ ? server_->backend_pid : 0; }
  [[nodiscard]] const pool::Backend& backend() const { return *target_.backend; }

 private:
  struct Login {
    net::Waiter* waiter = nullptr;   // null: nobody waits any more
    std::optional<Result<pool::LoggedIn>> outcome;
  };
  struct Query {
    Done done;
    Held<Error> error{};
  };
  net::Task<> run();
  net::Task<> log_in();
  net::Task<> converse();
  void set_up();
  void ask(std::string_view sql, Done done);
  void on_login(const Held<Error>& error);
  bool flush();
  bool receive();
  void on_message(const wire::Message& message);
  void lose();
  void fail(const Error& error);

  net::Loop& loop_;
  pool::Connector& logins_;
  Target target_;
  const Events events_;
  net::Waiter waiter_;
  net::Timer timer_;
  std::shared_ptr<Login> login_;
  std::unique_ptr<pool::Server> server_;
  bool up_ = false, broken_ = false;
  bool was_up_ = false;             // and a loss has to be told
  ByteBuffer out_, in_;
  std::deque<Query> asked_;         // in the order of their answers
  std::vector<Done> waiting_;       // until it is up
  net::Task<> task_;                // last: it uses the rest
};

}  // namespace weir::proxy
