#include "proxy/console.hpp"

#include <algorithm>
#include <cctype>
#include <ctime>

#include "base/strings.hpp"
#include "proxy/proxy.hpp"

namespace weir::proxy {

namespace {

struct View {
  std::string_view name;
  ConsoleView view;
};

ConsoleTable show_version(Proxy&) { return {{"version"}, {{"Weir 0.1.0"}}}; }
// Cancel requests for peers' clients go out at once: nothing is pooled.
ConsoleTable show_peer_pools(Proxy&) { return {{"peer_id", "cl_active_cancel_req", "cl_waiting_cancel_req", "sv_active_cancel", "sv_login"}, {}}; }
// Names are looked up by the system's resolver at each login: nothing is kept.
ConsoleTable show_dns_hosts(Proxy&) { return {{"hostname", "ttl", "addrs"}, {}}; }
ConsoleTable show_dns_zones(Proxy&) { return {{"zonename", "serial", "count"}, {}}; }

constexpr View kViews[]{
    {"stats", show_stats},         {"stats_totals", show_stats_totals}, {"stats_averages", show_stats_averages},
    {"totals", show_totals},       {"pools", show_pools},               {"clients", show_clients},
    {"servers", show_servers},     {"sockets", show_sockets},           {"active_sockets", show_sockets},
    {"databases", show_databases}, {"users", show_users},               {"lists", show_lists},
    {"config", show_config},       {"mem", show_mem},                   {"state", show_state},
    {"peers", show_peers},         {"dns_hosts", show_dns_hosts},       {"dns_zones", show_dns_zones},
    {"version", show_version},     {"shards", show_shards},             {"backends", show_backends},
    {"breakers", show_breakers},   {"buckets", show_buckets},           {"limits", show_limits},
    {"listeners", show_listeners}, {"routes", show_routes},             {"in_doubt", show_in_doubt},
    {"refusals", show_refusals},   {"peer_pools", show_peer_pools},
};

constexpr std::string_view kHelp =
    "SHOW HELP|CONFIG|DATABASES|POOLS|CLIENTS|SERVERS|USERS|VERSION\n"
    "SHOW PEERS|PEER_POOLS|SOCKETS|ACTIVE_SOCKETS|LISTS|MEM|STATE|DNS_HOSTS|DNS_ZONES\n"
    "SHOW STATS|STATS_TOTALS|STATS_AVERAGES|TOTALS\n"
    "SHOW SHARDS|BACKENDS|ROUTES|REFUSALS|BREAKERS|BUCKETS|LIMITS|LISTENERS|IN_DOUBT\n"
    "SET key = arg\n"
    "RELOAD\n"
    "PAUSE [<db>]\n"
    "RESUME [<db>]\n"
    "DISABLE <db>\n"
    "ENABLE <db>\n"
    "RECONNECT [<db>]\n"
    "KILL [<db>]\n"
    "KILL_CLIENT <client_id>\n"
    "SUSPEND\n"
    "SHUTDOWN\n"
    "SHUTDOWN WAIT_FOR_SERVERS|WAIT_FOR_CLIENTS\n"
    "WAIT_CLOSE [<db>]";

std::string upper(std::string_view word) {
  std::string out(word);
  for (char& c : out) c = static_cast<char>(std::toupper(static_cast<unsigned char>(c)));
  return out;
}

// What drivers say as they connect, and that changes nothing here.
bool is_courtesy(const ConsoleCommand& command) {
  for (const std::string_view verb : {"begin", "commit", "rollback", "discard", "reset"})
    if (command.verb == verb) return true;
  if (command.verb != "set" || command.arguments.empty()) return false;
  std::string name = ascii_lower(command.arguments.front());
  if (name == "session" && command.arguments.size() > 1) name = ascii_lower(command.arguments[1]);
  for (const std::string_view setting : {"application_name", "bytea_output", "characteristics", "client_encoding", "client_min_messages", "datestyle",
                                         "default_transaction_read_only", "extra_float_digits", "intervalstyle", "names", "search_path",
                                         "standard_conforming_strings", "statement_timeout", "time", "timezone"})
    if (name == setting) return true;
  return false;
}

class Parser {
 public:
  std::vector<ConsoleCommand> parse(std::string_view sql) {
    for (at_ = 0; at_ < sql.size(); ++at_) take(sql);
    end_word();
    end_command();
    return std::move(commands_);
  }

 private:
  void take(std::string_view sql) {
    const char c = sql[at_];
    if (c == '\'' || c == '"') {
      const std::size_t close = std::min(sql.find(c, at_ + 1), sql.size());
      word_ += sql.substr(at_ + 1, close - at_ - 1);
      in_word_ = true;
      at_ = close;
    } else if (c == '-' && sql.substr(at_, 2) == "--") {
      at_ = std::min(sql.find('\n', at_), sql.size());
    } else if (c == ';') {
      end_word();
      end_command();
    } else if (std::isspace(static_cast<unsigned char>(c)) != 0) {
      end_word();
    } else if (c == '=') {
      end_word();
      words_.emplace_back("=");
    } else {
      word_ += c;
      in_word_ = true;
    }
  }
  void end_word() {
    if (std::exchange(in_word_, false)) words_.push_back(std::exchange(word_, {}));
  }
  void end_command() {
    if (words_.empty()) return;
    ConsoleCommand command{ascii_lower(words_.front()), {words_.begin() + 1, words_.end()}};
    commands_.push_back(std::move(command));
    words_.clear();
  }

  std::size_t at_ = 0;
  std::string word_;
  bool in_word_ = false;
  std::vector<std::string> words_;
  std::vector<ConsoleCommand> commands_;
};

}  // namespace

std::vector<ConsoleCommand> parse_console(std::string_view sql) { return Parser().parse(sql); }

ConsoleView find_console_view(std::string_view name) {
  const auto found = std::find_if(std::begin(kViews), std::end(kViews), [&](const View& v) { return v.name == name; });
  return found == std::end(kViews) ? nullptr : found->view;
}

std::vector<std::string_view> console_view_names() {
  std::vector<std::string_view> names;
  for (const View& v : kViews) names.push_back(v.name);
  return names;
}

std::string console_number(std::uint64_t value) { return std::to_string(value); }

std::uint64_t console_micros(Duration duration) {
  return static_cast<std::uint64_t>(std::max<std::int64_t>(0, std::chrono::duration_cast<std::chrono::microseconds>(duration).count()));
}

std::string console_clock(TimePoint moment) {
  const auto wall = std::chrono::system_clock::now() - std::chrono::duration_cast<std::chrono::system_clock::duration>(Clock::now() - moment);
  const std::time_t seconds = std::chrono::system_clock::to_time_t(wall);
  std::tm parts{};
  gmtime_r(&seconds, &parts);
  char text[40];
  std::strftime(text, sizeof text, "%Y-%m-%d %H:%M:%S UTC", &parts);
  return text;
}

ByteBuffer Console::execute(std::string_view sql, bool may_change) {
  const std::vector<ConsoleCommand> commands = parse_console(sql);
  if (commands.empty()) wire::write_empty_query_response(out_);
  for (const ConsoleCommand& command : commands)
    if (!run(command, may_change)) break;
  wire::write_ready_for_query(out_, 'I');
  return std::move(out_);
}

bool Console::run(const ConsoleCommand& command, bool may_change) {
  if (command.verb == "show") return show(command);
  if (is_courtesy(command)) return done({}, upper(command.verb));
  if (!may_change)
    return fail({sqlstate::kInsufficientPrivilege, concat(upper(command.verb), " needs a user of admin.users"), "stats_users may only SHOW."});
  return change(command);
}

bool Console::show(const ConsoleCommand& command) {
  const std::string name = command.arguments.empty() ? "help" : ascii_lower(command.arguments.front());
  if (name == "help") {
    show_help();
    return true;
  }
  const ConsoleView view = find_console_view(name);
  if (view == nullptr) return fail({sqlstate::kSyntaxError, concat("SHOW ", name, " is not known"), "SHOW HELP lists what is."});
  const ConsoleTable table = view(proxy_);
  std::vector<wire::ColumnDescription> described;
  for (const auto& column : table.columns) described.push_back({column});
  wire::write_row_description(out_, described);
  for (const auto& row : table.rows) wire::write_data_row(out_, row);
  wire::write_command_complete(out_, "SHOW");
  return true;
}

void Console::show_help() {
  Error help(SqlState("00000"), "Console usage");
  help.detail = concat("\n", kHelp);
  wire::write_notice(out_, wire::Severity::notice, help);
  wire::write_command_complete(out_, "SHOW");
}

bool Console::fail(const Error& error) {
  wire::write_error(out_, wire::Severity::error, error);
  return false;
}

bool Console::done(const Result<void>& result, std::string_view tag) {
  if (!result) return fail(result.error());
  wire::write_command_complete(out_, tag);
  return true;
}

}  // namespace weir::proxy
