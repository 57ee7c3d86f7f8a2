#include "proxy/listen_hub.hpp"

#include <pthread.h>

#include <algorithm>
#include <future>
#include <utility>

#include "base/log.hpp"
#include "base/strings.hpp"
#include "proxy/session.hpp"
#include "proxy/worker.hpp"
#include "wire/messages.hpp"

namespace weir::proxy {

namespace {

constexpr unsigned kLoginThreads = 2;
constexpr std::size_t kReceiveBuffer = 16 << 10;

void answer(const ListenHub::Listener& who, std::uint64_t ticket, std::shared_ptr<const Error> error) {
  who.worker->loop().post([who, ticket, error = std::move(error)] {
    if (Session* session = who.worker->find_session(who.session)) session->subscribed(ticket, error.get());
  });
}

using Deliveries = std::map<Worker*, std::vector<std::pair<std::uint64_t, Delivery>>>;

void hand_over(Deliveries deliveries) {
  for (auto& [worker, list] : deliveries)
    worker->loop().post([worker = worker, list = std::move(list)] {
      for (const auto& [id, delivery] : list)
        if (Session* session = worker->find_session(id)) session->notified(delivery);
    });
}

}  // namespace

// A request asks every shard, and is answered when the last has answered.
struct ListenHub::Round {
  Listener who;
  Request request;
  std::size_t left = 0;
  std::shared_ptr<const Error> error;   // the first shard's that failed
};

// ---- any thread ----

ListenHub::ListenHub(std::function<TopologyRef()> topology) : topology_(std::move(topology)) {}

ListenHub::~ListenHub() {
  if (!loop_) return;
  loop_->post([this] {   // frames and sockets belong to its thread
    housekeeping_ = {};
    groups_.clear();
    loop_->stop();
  });
  thread_.join();
  logins_.reset();       // a running login posts to the loop
  waiter_.reset();
}

Result<void> ListenHub::start() {
  std::lock_guard lock(start_mutex_);
  if (loop_) return {};
  auto loop = net::Loop::create(kReceiveBuffer);
  if (!loop) return loop.take_error();
  loop_ = std::move(*loop);
  logins_ = std::make_unique<pool::Connector>(kLoginThreads);
  waiter_ = std::make_unique<net::Waiter>(*loop_);
  thread_ = std::thread([this] {
    pthread_setname_np(pthread_self(), "weir-listen");
    housekeeping_ = close_idle();
    housekeeping_.start();
    loop_->run();
  });
  return {};
}

bool ListenHub::post(std::function<void()> work) {
  std::lock_guard lock(start_mutex_);
  if (loop_) loop_->post(std::move(work));
  return loop_ != nullptr;
}

void ListenHub::subscribe(Listener who, const ListenLogin& login, const pool::Credentials& credentials, Request request) {
  if (const auto started = start(); !started) return answer(who, request.ticket, std::make_shared<const Error>(started.error()));
  post([this, who, login, credentials, request = std::move(request)] { subscribe_now(who, login, credentials, request); });
}

void ListenHub::unsubscribe(Listener who, const ListenLogin& login, std::vector<std::string> channels) {
  post([this, who, login, channels = std::move(channels)] {
    const auto group = groups_.find(login);
    if (group == groups_.end()) return;
    for (const std::string& channel : channels) leave(group->second, who.session, channel);
  });
}

void ListenHub::forget(Listener who, const ListenLogin& login) {
  post([this, who, login] {
    const auto group = groups_.find(login);
    if (group == groups_.end()) return;
    std::vector<std::string> left;
    for (const auto& [name, channel] : group->second.channels)
      if (channel.contains(who.session)) left.push_back(name);
    for (const std::string& channel : left) leave(group->second, who.session, channel);
  });
}

void ListenHub::topology_changed() {
  post([this] { follow_topology(); });
}

ListenHub::Survey ListenHub::survey() {
  std::promise<Survey> done;
  const bool asked = post([this, &done] {
    Survey survey;
    for (const auto& [login, group] : groups_) {
      for (const auto& [name, channel] : group.channels) survey.channels.push_back({login, name, channel.size()});
      for (const auto& connection : group.connections)
        survey.connections.push_back({login, connection->backend().id().shard_name, connection->backend_pid()});
    }
    done.set_value(std::move(survey));
  });
  return asked ? done.get_future().get() : Survey{};
}

// ---- groups ----

net::Task<> ListenHub::close_idle() {
  net::Timer timer(*waiter_);
  for (;;) {
    timer.arm(Deadline::after(loop_->now(), kLinger / 5));
    while (!timer.fired()) co_await waiter_->wait();
    std::erase_if(groups_, [now = loop_->now()](const auto& entry) {
      return entry.second.channels.empty() && now - entry.second.empty_since >= kLinger;
    });
  }
}

ListenHub::Group* ListenHub::group_of(const ListenLogin& login, const pool::Credentials& credentials) {
  const TopologyRef topology = topology_();
  if (!topology->find(login.database)) return nullptr;
  const auto entry = groups_.try_emplace(login).first;
  Group& group = entry->second;
  const bool renewed = !(group.credentials == credentials);
  group.credentials = credentials;   // a password may have changed
  if (group.connections.empty() || renewed) connect(entry->first, group, *topology);
  return &group;
}

// A connection for every shard, as the topology has them now. `login` and `group` are an entry of groups_, which their events refer to.
void ListenHub::connect(const ListenLogin& login, Group& group, const Topology& topology) {
  const DatabaseState& state = *topology.find(login.database);
  for (std::size_t i = 0; i < state.shards.size(); ++i) {
    ListenConnection::Target target{state.shards[i].primary, state.checks[i], group.credentials, login.encoding, topology.settings->pool.connect_timeout};
    if (i < group.connections.size()) {
      group.connections[i]->retarget(std::move(target));
      continue;
    }
    const auto wanted = [&group] {
      std::vector<std::string> names;
      for (const auto& [name, channel] : group.channels) names.push_back(name);
      return names;
    };
    group.connections.push_back(std::make_unique<ListenConnection>(
        *loop_, *logins_, std::move(target),
        ListenConnection::Events{wanted, [&login, &group, i] { warn(login, group, i); },
                                 [&group, i](std::string_view channel, ByteView message) { spread(group, i, channel, message); }}));
  }
  group.connections.resize(state.shards.size());
  for (auto& [name, channel] : group.channels)
    for (auto& [session, subscription] : channel) subscription.live.resize(state.shards.size(), true);
}

void ListenHub::follow_topology() {
  const TopologyRef topology = topology_();
  for (auto it = groups_.begin(); it != groups_.end();) {
    if (!topology->find(it->first.database)) {
      it = groups_.erase(it);   // its clients are told to go
      continue;
    }
    connect(it->first, it->second, *topology);
    ++it;
  }
}

// ---- subscriptions ----

void ListenHub::subscribe_now(Listener who, const ListenLogin& login, const pool::Credentials& credentials, const Request& request) {
  Group* const group = group_of(login, credentials);
  if (!group)
    return answer(who, request.ticket, std::make_shared<const Error>(
        sqlstate::kInvalidDatabase, concat("database \"", login.database, "\" was removed from the configuration")));
  for (const std::string& name : request.channels) {
    Subscription& subscription = group->channels[name][who.session];
    subscription.worker = who.worker;
    subscription.ticket = request.ticket;
    subscription.live.resize(group->connections.size(), false);
  }
  const auto round = std::make_shared<Round>(Round{who, request, group->connections.size(), nullptr});
  for (std::size_t i = 0; i < group->connections.size(); ++i) {
    const auto done = [group, round, i](const Held<Error>& error) {
      if (error && !round->error) {
        Error named = *error;
        named.message = concat("LISTEN on shard ", group->connections[i]->backend().id().shard_name, " failed: ", named.message);
        round->error = std::make_shared<const Error>(std::move(named));
      }
      if (!error && round->request.live) shard_listens(*group, *round, i);
      if (--round->left == 0) answer(round->who, round->request.ticket, round->error);
    };
    ListenConnection& connection = *group->connections[i];
    if (!request.waits && !connection.up())
      done({});
    else
      connection.listen(request.channels, done);
  }
}

// What comes from this shard now is for the client.
void ListenHub::shard_listens(Group& group, const Round& round, std::size_t shard) {
  for (const std::string& name : round.request.channels) {
    const auto channel = group.channels.find(name);
    if (channel == group.channels.end()) continue;
    const auto subscription = channel->second.find(round.who.session);
    if (subscription == channel->second.end() || subscription->second.ticket != round.request.ticket) continue;
    if (shard < subscription->second.live.size()) subscription->second.live[shard] = true;
  }
}

void ListenHub::leave(Group& group, std::uint64_t session, const std::string& name) {
  const auto channel = group.channels.find(name);
  if (channel == group.channels.end() || channel->second.erase(session) == 0 || !channel->second.empty()) return;
  group.channels.erase(channel);
  for (const auto& connection : group.connections) connection->unlisten(name);
  if (group.channels.empty()) group.empty_since = loop_->now();
}

// ---- what comes ----

void ListenHub::spread(const Group& group, std::size_t shard, std::string_view name, ByteView message) {
  const auto channel = group.channels.find(name);
  if (channel == group.channels.end()) return;
  auto what = std::make_shared<Notification>();
  what->channel = name;
  what->message.append(message);
  Deliveries deliveries;
  for (const auto& [session, subscription] : channel->second)
    if (shard < subscription.live.size() && subscription.live[shard])
      deliveries[subscription.worker].push_back({session, {what, subscription.ticket}});
  hand_over(std::move(deliveries));
}

// To everybody who listened while the shard was not heard.
void ListenHub::warn(const ListenLogin& login, const Group& group, std::size_t shard) {
  const std::string& name = group.connections[shard]->backend().id().shard_name;
  auto what = std::make_shared<Notification>();
  wire::write_notice(what->message, wire::Severity::warning,
                     {sqlstate::kWarning, concat("the connection that listens to database \"", login.database, "\", shard ", name,
                                                 ", was lost and is back: notifications sent in between may have been lost"),
                      "Look for what they would have told."});
  Deliveries deliveries;
  std::map<std::uint64_t, Worker*> told;
  for (const auto& [channel, subscriptions] : group.channels)
    for (const auto& [session, subscription] : subscriptions) told.emplace(session, subscription.worker);
  for (const auto& [session, worker] : told) deliveries[worker].push_back({session, {what, 0}});
  hand_over(std::move(deliveries));
}

}  // namespace weir::proxy
