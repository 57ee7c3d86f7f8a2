#include "migrate/proxy_console.hpp"

#include <pqxx/except>

#include "migrate/session.hpp"
#include "router/client/conninfo.hpp"
#include "schema/quote.hpp"

namespace weir::migrate {

namespace {

std::string console_conninfo(const std::string& conninfo) {
  client::ConninfoMap parts = client::parse_conninfo(client::with_weir_defaults(conninfo, "weirctl"));
  parts["dbname"] = "weir";
  return client::format_conninfo(parts);
}

// Bare where it can be, as people type it.
std::string console_name(const std::string& name) {
  const bool bare = name.find_first_not_of("abcdefghijklmnopqrstuvwxyz0123456789_") == std::string::npos;
  return bare ? name : schema::quote_ident(name);
}

}  // namespace

ProxyConsoles::ProxyConsoles(const std::vector<std::string>& conninfos, Duration patience) : patience_(patience) {
  for (const auto& conninfo : conninfos) {
    Proxy proxy{client::conninfo_label(console_conninfo(conninfo)), console_conninfo(conninfo), nullptr};
    tell(proxy, "SHOW VERSION");
    proxies_.push_back(std::move(proxy));
  }
}

// A console that was lost (a proxy restarted) is logged in to again: the commands may all be repeated.
void ProxyConsoles::tell(Proxy& proxy, const std::string& command) {
  const Deadline deadline = Deadline::after(Clock::now(), patience_);
  try {
    if (!proxy.connection || !proxy.connection->alive())
      proxy.connection = std::make_unique<client::ServerConnection>(proxy.conninfo, deadline);
    proxy.connection->query(command, deadline);
  } catch (const pqxx::failure& e) {
    proxy.connection.reset();
    throw Failure("proxy " + proxy.label + ": " + command + ": " + e.what());
  }
}

void ProxyConsoles::pause(const std::string& database) {
  for (auto& proxy : proxies_) {
    try {
      tell(proxy, "PAUSE " + console_name(database));
    } catch (const Failure& e) {
      std::string message = e.what();
      try {
        resume(database);
      } catch (const Failure& undone) {
        message += std::string("; and then: ") + undone.what();
      }
      throw Failure(message);
    }
  }
}

void ProxyConsoles::reload() {
  reloaded_ = 0;
  for (auto& proxy : proxies_) {
    tell(proxy, "RELOAD");
    ++reloaded_;
  }
}

void ProxyConsoles::resume(const std::string& database) {
  std::string failures;
  for (auto& proxy : proxies_) {
    try {
      tell(proxy, "RESUME " + console_name(database));
    } catch (const Failure& e) {
      if (std::string_view(e.what()).find("is not paused") != std::string_view::npos)
        continue;  // it was restarted since
      failures += (failures.empty() ? "" : "; ") + std::string(e.what());
    }
  }
  if (!failures.empty()) throw Failure(failures + "; say RESUME there yourself");
}

}  // namespace weir::migrate
