// weir: the proxy's binary. `weir serve -c weir.toml`, `weir check -c weir.toml [--connect]`.
#include <libpq-fe.h>
#include <fcntl.h>
#include <sys/resource.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <cstdlib>
#include <iostream>

#include "base/log.hpp"
#include "base/strings.hpp"
#include "config/load.hpp"
#include "proxy/check.hpp"
#include "proxy/log_spdlog.hpp"
#include "proxy/proxy.hpp"
#include "proxy/signals.hpp"
#include "proxy/systemd.hpp"
#include "router/router.hpp"

namespace {

// PG* variables would leak into server logins through libpq's defaults.
void forget_pg_environment() {
  PQconninfoOption* defaults = PQconndefaults();
  for (const PQconninfoOption* o = defaults; o && o->keyword; ++o)
    if (o->envvar) ::unsetenv(o->envvar);
  PQconninfoFree(defaults);
}

void raise_descriptor_limit() {
  rlimit limit{};
  if (::getrlimit(RLIMIT_NOFILE, &limit) != 0) return;
  limit.rlim_cur = limit.rlim_max;
  ::setrlimit(RLIMIT_NOFILE, &limit);
}

// The process in front waits until the one behind serves (its status 0), or has failed (1): for `systemctl reload` and scripts.
class Detached {
 public:
  // Returns in the child only.
  static Detached start() {
    int ends[2];
    if (::pipe2(ends, O_CLOEXEC) != 0) std::exit(1);
    if (const pid_t child = ::fork(); child != 0) {
      ::close(ends[1]);
      char serves = 0;
      std::_Exit(child > 0 && ::read(ends[0], &serves, 1) == 1 ? 0 : 1);
    }
    ::close(ends[0]);
    ::setsid();
    return Detached(ends[1]);
  }
  static Detached none() { return Detached(-1); }

  void serves() {
    if (tell_ < 0) return;
    if (::write(tell_, "1", 1) != 1) weir::log::warning("the process in front is gone");
    ::close(tell_);
  }

 private:
  explicit Detached(int tell) : tell_(tell) {}
  int tell_;
};

int fail(const weir::Error& error) {
  std::cerr << "weir: " << error.message << (error.hint.empty() ? "" : " (" + error.hint + ")") << "\n";
  return 1;
}

// What comes from the process before, or from systemd.
weir::Result<weir::proxy::Inheritance> take_over(const weir::config::Settings& settings) {
  weir::proxy::Inheritance inherited;
  if (!settings.listen.takeover_socket.empty()) {
    auto got = weir::proxy::inherit(settings.listen.takeover_socket);
    if (!got) return got.take_error();
    inherited = std::move(*got);
    if (inherited.channel) weir::proxy::systemd::adopt_environment(inherited.environment);
  }
  for (auto& listener : weir::proxy::systemd::given_listeners()) inherited.listeners.push_back(std::move(listener));
  return inherited;
}

int serve(const std::string& path, bool detach) {
  auto loaded = weir::config::load(path, {});
  if (const auto* problems = std::get_if<std::vector<weir::config::Problem>>(&loaded)) {
    for (const auto& p : *problems) std::cerr << p.str() << "\n";
    return 1;
  }
  Detached front = detach ? Detached::start() : Detached::none();
  forget_pg_environment();
  raise_descriptor_limit();
  const weir::proxy::Signals signals;
  auto& settings = std::get<weir::config::Settings>(loaded);
  weir::proxy::start_logging(settings.log);
  if (auto tested = weir::router::self_test(); !tested) return fail(tested.error());
  auto inherited = take_over(settings);
  if (!inherited) return fail(inherited.error());
  auto proxy = weir::proxy::Proxy::start(std::move(settings), std::move(*inherited));
  if (!proxy) return fail(proxy.error());
  weir::log::info(weir::concat("serving on port ", std::to_string((*proxy)->port()), " with ",
                               std::to_string((*proxy)->workers().size()), " workers"));
  weir::proxy::systemd::notify(weir::concat("READY=1\nMAINPID=", std::to_string(::getpid())));
  front.serves();
  weir::proxy::serve_until_told(**proxy, signals);
  proxy->reset();
  weir::log::info("stopped");
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  CLI::App app{"Weir: one PostgreSQL endpoint in front of many PostgreSQL databases"};
  app.require_subcommand(1);
  std::string path = "weir.toml";
  bool connect = false, detach = false;
  auto* serving = app.add_subcommand("serve", "Run the proxy");
  serving->add_option("-c,--config", path, "Configuration file")->capture_default_str();
  serving->add_flag("--detach", detach, "Serve in the background; return when clients are accepted (status 0) or that failed");
  auto* checking = app.add_subcommand("check", "Check the configuration");
  checking->add_option("-c,--config", path, "Configuration file")->capture_default_str();
  checking->add_flag("--connect", connect, "Look at the databases, too");
  app.set_version_flag("--version", "weir 0.1.0");
  CLI11_PARSE(app, argc, argv);
  if (!serving->parsed()) return weir::proxy::run_check(path, connect, std::cout);
  const int status = serve(path, detach);
  weir::proxy::flush_logging(weir::Deadline::after(weir::Clock::now(), std::chrono::seconds(2)));
  return status;
}
