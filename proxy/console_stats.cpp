// SHOW STATS and its kin: totals since the start, and averages over the last full period.
#include "base/strings.hpp"
#include "proxy/averages.hpp"
#include "proxy/console.hpp"
#include "proxy/proxy.hpp"

namespace weir::proxy {

namespace {

using Row = ConsoleTable::Row;
const auto num = console_number;

constexpr std::size_t kColumns = 12;
using Values = std::array<std::uint64_t, kColumns>;

Values values_of(const DatabaseTotals& t) {
  return {t.assignments, t.transactions, t.queries, t.received, t.sent, t.transaction_us, t.query_us, t.wait_us, t.client_parses, t.server_parses, t.binds, t.logins};
}

void append(Row& row, const Values& values) {
  for (const std::uint64_t v : values) row.push_back(num(v));
}

// One row a database, also for those nobody has used yet; one for all that the fallback serves.
std::map<std::string, DatabaseTotals> totals_of(Proxy& proxy) {
  auto totals = proxy.stats().totals();
  std::map<std::string, DatabaseTotals> out;
  const TopologyRef topology = proxy.topology();
  const auto add = [&](const std::string& name) { out[name] = totals[name]; };
  for (const DatabaseState& d : topology->databases)
    if (!d.use) add(d.config->name);
  if (topology->fallback) add(topology->fallback->config->name);
  return out;
}

}  // namespace

ConsoleTable show_stats(Proxy& proxy) {
  ConsoleTable table{{"database", "total_server_assignment_count", "total_xact_count", "total_query_count", "total_received", "total_sent", "total_xact_time",
                      "total_query_time", "total_wait_time", "total_client_parse_count", "total_server_parse_count", "total_bind_count",
                      "total_client_login_count", "avg_server_assignment_count", "avg_xact_count", "avg_query_count", "avg_recv", "avg_sent", "avg_xact_time",
                      "avg_query_time", "avg_wait_time", "avg_client_parse_count", "avg_server_parse_count", "avg_bind_count", "avg_client_login_count"},
                     {}};
  for (const auto& [name, totals] : totals_of(proxy)) {
    Row row{name};
    append(row, values_of(totals));
    append(row, values_of(proxy.averages().of(name)));
    table.rows.push_back(std::move(row));
  }
  return table;
}

ConsoleTable show_stats_totals(Proxy& proxy) {
  ConsoleTable table{{"database", "server_assignment_count", "xact_count", "query_count", "bytes_received", "bytes_sent", "xact_time", "query_time", "wait_time",
                      "client_parse_count", "server_parse_count", "bind_count", "client_login_count"},
                     {}};
  for (const auto& [name, totals] : totals_of(proxy)) {
    Row row{name};
    append(row, values_of(totals));
    table.rows.push_back(std::move(row));
  }
  return table;
}

ConsoleTable show_stats_averages(Proxy& proxy) {
  ConsoleTable table{{"database", "server_assignment_count", "xact_count", "query_count", "bytes_received", "bytes_sent", "xact_time", "query_time", "wait_time",
                      "avg_client_parse_count", "avg_server_parse_count", "avg_bind_count", "avg_client_login_count"},
                     {}};
  for (const auto& [name, totals] : totals_of(proxy)) {
    Row row{name};
    append(row, values_of(proxy.averages().of(name)));
    table.rows.push_back(std::move(row));
  }
  return table;
}

ConsoleTable show_totals(Proxy& proxy) {
  static constexpr std::string_view kNames[kColumns] = {"server_assignment_count", "xact_count", "query_count", "bytes_received", "bytes_sent", "xact_time",
                                                        "query_time", "wait_time", "client_parse_count", "server_parse_count", "bind_count",
                                                        "client_login_count"};
  Values total{}, average{};
  for (const auto& [name, totals] : totals_of(proxy)) {
    const Values t = values_of(totals), a = values_of(proxy.averages().of(name));
    for (std::size_t i = 0; i < kColumns; ++i) {
      total[i] += t[i];
      average[i] += a[i];
    }
  }
  ConsoleTable table{{"name", "value"}, {}};
  for (std::size_t i = 0; i < kColumns; ++i) table.rows.push_back({concat("total_", kNames[i]), num(total[i])});
  for (std::size_t i = 0; i < kColumns; ++i) table.rows.push_back({concat("avg_", kNames[i]), num(average[i])});
  return table;
}

}  // namespace weir::proxy
