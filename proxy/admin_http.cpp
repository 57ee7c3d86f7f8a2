#include "proxy/admin_http.hpp"

#include "base/strings.hpp"
#include "proxy/metrics.hpp"
#include "proxy/proxy.hpp"
#include "proxy/survey.hpp"

namespace weir::proxy {

namespace {

constexpr Duration kPatience = std::chrono::seconds(1);
constexpr int kUnavailable = 503;

std::string numbers(const std::vector<unsigned>& values) {
  std::string out;
  for (const unsigned v : values) out += concat(out.empty() ? "" : ", ", std::to_string(v));
  return out;
}

HttpAnswer metrics_page(Proxy& proxy) {
  std::vector<prometheus::MetricFamily> families;
  if (proxy.phase() == Proxy::Phase::starting)
    collect_process(families);
  else
    families = collect_metrics(proxy);
  return {200, metrics_text(families), "text/plain; version=0.0.4; charset=utf-8"};
}

HttpAnswer health_page(Proxy& proxy) {
  if (proxy.phase() == Proxy::Phase::starting) return {200, "starting\n"};
  const Survey seen = survey(proxy, kPatience);
  if (seen.silent.empty()) return {200, "alive\n"};
  return {kUnavailable, concat("these workers did not answer within a second: ", numbers(seen.silent), "\n")};
}

// What of the database's shards cannot take a write now; a line each.
std::string not_ready(const DatabaseState& d) {
  std::string lines;
  if (d.sharded() && !d.catalog) lines += concat("database ", d.config->name, ": its catalog is not there yet\n");
  for (const ShardBackends& s : d.shards) {
    if (s.primary->usable()) continue;
    lines += concat("database ", d.config->name, ": shard ", s.primary->id().shard_name, ": primary ", s.primary->host(), ":",
                    s.primary->port(), " is not usable; SHOW BACKENDS in the console says why\n");
  }
  return lines;
}

HttpAnswer ready_page(Proxy& proxy) {
  switch (proxy.phase()) {
    case Proxy::Phase::starting: return {kUnavailable, "starting: catalogs and backends are being looked at\n"};
    case Proxy::Phase::draining: return {kUnavailable, "draining: new clients are refused\n"};
    case Proxy::Phase::serving: break;
  }
  std::string why;
  for (const DatabaseState& d : proxy.topology()->databases) why += not_ready(d);
  if (!why.empty()) return {kUnavailable, why};
  // Clients of a paused database wait; elsewhere they would wait for the same servers.
  std::string paused;
  for (const std::string& name : proxy.paused()) paused += concat("database ", name, ": paused\n");
  return {200, concat("ready\n", paused)};
}

std::string escape_html(std::string_view text) {
  std::string out;
  for (const char c : text) {
    switch (c) {
      case '<': out += "&lt;"; break;
      case '>': out += "&gt;"; break;
      case '&': out += "&amp;"; break;
      case '"': out += "&quot;"; break;
      default: out += c;
    }
  }
  return out;
}

std::string backend_row(const pool::Backend& b, bool first_of_shard) {
  const bool primary = b.id().role == policy::Role::primary;
  return concat("<tr><td>", escape_html(b.id().database), "<td>", first_of_shard ? escape_html(b.id().shard_name) : std::string{}, "<td>",
                primary ? "primary" : "replica", "<td>", escape_html(concat(b.host(), ":", b.port())), "<td>", b.usable() ? "usable" : "not usable",
                "<td>", std::to_string(b.budget().used()), " of ", std::to_string(b.budget().bound()), "</tr>\n");
}

HttpAnswer status_page(Proxy& proxy) {
  const HttpAnswer ready = ready_page(proxy);
  std::string body = concat("<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><title>Weir</title><h1>Weir 0.1.0</h1><pre>",
                            escape_html(ready.body), "</pre>\n");
  if (proxy.phase() != Proxy::Phase::starting) {
    const TopologyRef topology = proxy.topology();
    body += concat("<p>", std::to_string(proxy.clients()), " of ", std::to_string(topology->settings->listen.max_clients),
                   " clients, ", std::to_string(proxy.workers().size()), " workers</p>\n<table border=\"1\" cellpadding=\"4\"><tr><th>database",
                   "<th>shard<th>role<th>server<th>state<th>connections to the server</tr>\n");
    for (const DatabaseState& d : topology->databases)
      for (const ShardBackends& s : d.shards) {
        body += backend_row(*s.primary, true);
        for (const auto& r : s.replicas) body += backend_row(*r, false);
      }
    body += "</table>\n";
  }
  body += "<p><a href=\"/metrics\">/metrics</a> <a href=\"/healthz\">/healthz</a> <a href=\"/readyz\">/readyz</a></p></html>\n";
  return {200, body, "text/html; charset=utf-8"};
}

}  // namespace

Result<std::unique_ptr<HttpServer>> serve_admin_http(Proxy& proxy, const std::string& address) {
  return HttpServer::start(address, {{"/", [&proxy] { return status_page(proxy); }},
                                     {"/metrics", [&proxy] { return metrics_page(proxy); }},
                                     {"/healthz", [&proxy] { return health_page(proxy); }},
                                     {"/readyz", [&proxy] { return ready_page(proxy); }}});
}

}  // namespace weir::proxy
