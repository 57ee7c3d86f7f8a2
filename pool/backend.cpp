#include "pool/backend.hpp"

#include <libpq-fe.h>

#include "base/strings.hpp"

namespace weir::pool {

Result<ConnParams> parse_conninfo(const std::string& conninfo) {
  char* why = nullptr;
  std::unique_ptr<PQconninfoOption, decltype(&PQconninfoFree)> options(PQconninfoParse(conninfo.c_str(), &why),
                                                                      &PQconninfoFree);
  if (!options) {
    Error e(sqlstate::kConfigFile, concat("connection string: ", why ? why : "out of memory"));
    PQfreemem(why);
    return e;
  }
  ConnParams params;
  for (const PQconninfoOption* o = options.get(); o->keyword; ++o)
    if (o->val && *o->val) params.emplace_back(o->keyword, o->val);
  return params;
}

std::string_view get(const ConnParams& params, std::string_view name) {
  for (const auto& [key, value] : params)
    if (key == name) return value;
  return {};
}

void set(ConnParams& params, std::string_view name, std::string_view value) {
  for (auto& [key, old] : params)
    if (key == name) {
      old = value;
      return;
    }
  params.emplace_back(name, value);
}

namespace {
std::string or_default(std::string_view value, std::string_view fallback) {
  return std::string(value.empty() ? fallback : value);
}

std::atomic<std::size_t> serials{0};
}  // namespace

Backend::Backend(BackendIdentity identity, std::shared_ptr<Budget> budget, policy::BreakerSettings breaker)
    : events(identity.counted_with ? identity.counted_with->events : std::make_shared<ConnectionEvents>()),
      id_(std::move(identity)),
      serial_(id_.counted_with ? id_.counted_with->serial() : serials.fetch_add(1, std::memory_order_relaxed)),
      budget_(std::move(budget)),
      host_(or_default(get(id_.params, "host"), get(id_.params, "hostaddr"))),
      port_(or_default(get(id_.params, "port"), "5432")),
      dbname_(or_default(get(id_.params, "dbname"), id_.database)),
      // A primary is tried until it proves unusable; a replica must prove itself first.
      usable_(id_.role == policy::Role::primary),
      breaker_(breaker),
      reason_(id_.role == policy::Role::primary ? "" : "not probed yet") {
  if (host_.empty()) host_ = "/var/run/postgresql";
}

std::string Backend::name() const {
  return concat(id_.database, "/", id_.shard_name, id_.role == policy::Role::primary ? " primary " : " replica ", host_,
                ":", port_);
}

std::string Backend::why_not() const {
  std::lock_guard lock(mutex_);
  return reason_;
}

void Backend::set_verdict(const policy::Verdict& verdict, const policy::Probe& probe) {
  std::lock_guard lock(mutex_);
  probe_ = probe;
  reason_ = verdict.reason;
  usable_.store(verdict.usable, std::memory_order_relaxed);
}

bool Backend::allow_login(TimePoint now) {
  std::lock_guard lock(mutex_);
  return breaker_.allow(now);
}

TimePoint Backend::next_login() const {
  std::lock_guard lock(mutex_);
  return breaker_.next_trial();
}

void Backend::login_succeeded() {
  std::lock_guard lock(mutex_);
  breaker_.on_success();
}

void Backend::login_failed(TimePoint now, const std::string& why) {
  std::lock_guard lock(mutex_);
  breaker_.on_failure(now);
  reason_ = why;
}

void Backend::set_breaker(policy::BreakerSettings settings) {
  std::lock_guard lock(mutex_);
  breaker_.set_settings(settings);
}

policy::CircuitBreaker::State Backend::breaker_state(TimePoint now) const {
  std::lock_guard lock(mutex_);
  return breaker_.state(now);
}

policy::Probe Backend::last_probe() const {
  std::lock_guard lock(mutex_);
  return probe_;
}

}  // namespace weir::pool
