// weir: the proxy's binary. `weir serve -c weir.toml`, `weir check -c weir.toml [--connect]`.
#include <libpq-fe.h>
#include <signal.h>
#include <sys/resource.h>

#include <CLI/CLI.hpp>
#include <atomic>
#include <iostream>
#include <thread>

#include "base/log.hpp"
#include "base/strings.hpp"
#include "config/load.hpp"
#include "proxy/check.hpp"
#include "proxy/log_spdlog.hpp"
#include "proxy/proxy.hpp"
#include "router/router.hpp"

namespace {

using namespace std::chrono_literals;
constexpr auto kDrain = 30s;

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

sigset_t blocked_signals() {
  sigset_t set;
  sigemptyset(&set);
  for (const int s : {SIGHUP, SIGINT, SIGTERM, SIGQUIT}) sigaddset(&set, s);
  pthread_sigmask(SIG_BLOCK, &set, nullptr);   // every thread inherits it; the main thread waits for them
  return set;
}

void reload(weir::proxy::Proxy& proxy) {
  const auto outcome = proxy.reload();
  for (const auto& line : outcome.lines) weir::log::warning(line);
  weir::log::info(outcome.ok ? "configuration reloaded" : "configuration not reloaded: the old one serves on");
}

// Until a signal or SHUTDOWN ends it. A second SIGTERM or SIGINT does not wait for clients.
int serve_until_told(weir::proxy::Proxy& proxy, const sigset_t& signals) {
  for (;;) {
    const timespec moment{0, 100'000'000};
    const int signal = ::sigtimedwait(&signals, nullptr, &moment);
    if (signal == SIGHUP) reload(proxy);
    if (signal == SIGQUIT) return 0;
    const bool asked = proxy.wait_shutdown_asked(weir::Deadline(weir::Clock::now()));
    if (signal != SIGTERM && signal != SIGINT && !asked) continue;
    weir::log::info("shutting down: new clients are refused, transactions may end");
    std::atomic<bool> done{false};
    std::thread drain([&] {
      proxy.shut_down(asked ? 0s : kDrain);
      done = true;
    });
    while (!done)
      if (::sigtimedwait(&signals, nullptr, &moment) > 0) proxy.hurry();
    drain.join();
    return 0;
  }
}

int serve(const std::string& path) {
  auto loaded = weir::config::load(path, {});
  if (const auto* problems = std::get_if<std::vector<weir::config::Problem>>(&loaded)) {
    for (const auto& p : *problems) std::cerr << p.str() << "\n";
    return 1;
  }
  forget_pg_environment();
  raise_descriptor_limit();
  const sigset_t signals = blocked_signals();
  auto& settings = std::get<weir::config::Settings>(loaded);
  weir::proxy::start_logging(settings.log);
  if (auto tested = weir::router::self_test(); !tested) {
    std::cerr << "weir: " << tested.error().message << "\n";
    return 1;
  }
  auto proxy = weir::proxy::Proxy::start(std::move(settings));
  if (!proxy) {
    std::cerr << "weir: " << proxy.error().message << (proxy.error().hint.empty() ? "" : " (" + proxy.error().hint + ")") << "\n";
    return 1;
  }
  weir::log::info(weir::concat("serving on port ", std::to_string((*proxy)->port()), " with ",
                               std::to_string((*proxy)->workers().size()), " workers"));
  const int status = serve_until_told(**proxy, signals);
  proxy->reset();
  weir::log::info("stopped");
  return status;
}

}  // namespace

int main(int argc, char** argv) {
  CLI::App app{"Weir: one PostgreSQL endpoint in front of many PostgreSQL databases"};
  app.require_subcommand(1);
  std::string path = "weir.toml";
  bool connect = false;
  auto* serving = app.add_subcommand("serve", "Run the proxy");
  serving->add_option("-c,--config", path, "Configuration file")->capture_default_str();
  auto* checking = app.add_subcommand("check", "Check the configuration");
  checking->add_option("-c,--config", path, "Configuration file")->capture_default_str();
  checking->add_flag("--connect", connect, "Look at the databases, too");
  app.set_version_flag("--version", "weir 0.1.0");
  CLI11_PARSE(app, argc, argv);
  return serving->parsed() ? serve(path) : weir::proxy::run_check(path, connect, std::cout);
}
