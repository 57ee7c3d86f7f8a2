#include "config/conninfo.hpp"

#include <algorithm>
#include <array>
#include <charconv>
#include <optional>
#include <vector>

#include "base/strings.hpp"

namespace weir::config {
namespace {

// PQconninfoOptions of libpq 15.
constexpr std::array kKeywords{"service",
                               "user",
                               "password",
                               "passfile",
                               "channel_binding",
                               "connect_timeout",
                               "dbname",
                               "host",
                               "hostaddr",
                               "port",
                               "client_encoding",
                               "options",
                               "application_name",
                               "fallback_application_name",
                               "keepalives",
                               "keepalives_idle",
                               "keepalives_interval",
                               "keepalives_count",
                               "tcp_user_timeout",
                               "sslmode",
                               "sslcompression",
                               "sslcert",
                               "sslkey",
                               "sslpassword",
                               "sslrootcert",
                               "sslcrl",
                               "sslcrldir",
                               "sslsni",
                               "requirepeer",
                               "ssl_min_protocol_version",
                               "ssl_max_protocol_version",
                               "gssencmode",
                               "krbsrvname",
                               "gsslib",
                               "replication",
                               "target_session_attrs"};

bool known(std::string_view keyword) {
  return std::find(kKeywords.begin(), kKeywords.end(), keyword) != kKeywords.end();
}
bool blank(char c) { return c == ' ' || (c >= '\t' && c <= '\r'); }

using Parsed = std::variant<ConninfoParameters, std::string>;

// The keyword = value form, by the rules of libpq's conninfo_parse().
class KeywordForm {
 public:
  explicit KeywordForm(std::string_view text) : text_(text) {}

  Parsed parse() {
    for (skip_blanks(); at_ < text_.size(); skip_blanks()) {
      const std::string keyword = take_keyword();
      skip_blanks();
      if (at_ >= text_.size() || text_[at_] != '=')
        return concat("missing \"=\" after \"", keyword, "\" (write keyword=value, or postgresql://...)");
      ++at_;
      skip_blanks();
      if (!known(keyword)) return concat("libpq has no connection parameter \"", keyword, "\"");
      auto value = take_value();
      if (!value) return concat("unterminated quoted value of \"", keyword, "\"");
      found_.emplace_back(keyword, std::move(*value));
    }
    return std::move(found_);
  }

 private:
  void skip_blanks() {
    while (at_ < text_.size() && blank(text_[at_])) ++at_;
  }
  std::string take_keyword() {
    const std::size_t start = at_;
    while (at_ < text_.size() && text_[at_] != '=' && !blank(text_[at_])) ++at_;
    return std::string(text_.substr(start, at_ - start));
  }
  std::optional<std::string> take_value() {
    const bool in_quotes = at_ < text_.size() && text_[at_] == '\'';
    if (in_quotes) ++at_;
    std::string value;
    for (; at_ < text_.size(); ++at_) {
      if (in_quotes ? text_[at_] == '\'' : blank(text_[at_])) break;
      if (text_[at_] == '\\' && ++at_ == text_.size()) break;
      value += text_[at_];
    }
    if (!in_quotes) return value;
    if (at_ == text_.size()) return std::nullopt;
    ++at_;
    return value;
  }

  std::string_view text_;
  std::size_t at_ = 0;
  ConninfoParameters found_;
};

// The URI form, by the rules of libpq's conninfo_uri_parse().
class UriForm {
 public:
  explicit UriForm(std::string_view rest) : rest_(rest) {}  // what follows "://"

  Parsed parse() {
    const std::size_t authority_end = std::min(rest_.find_first_of("/?"), rest_.size());
    std::string_view authority = rest_.substr(0, authority_end);
    if (const std::size_t at = authority.find('@'); at != authority.npos) {
      take_user(authority.substr(0, at));
      authority.remove_prefix(at + 1);
    }
    take_hosts(authority);
    std::string_view tail = rest_.substr(authority_end);
    const std::size_t question = std::min(tail.find('?'), tail.size());
    if (question > 1) add("dbname", tail.substr(1, question - 1));
    if (question < tail.size()) take_options(tail.substr(question + 1));
    if (!mistake_.empty()) return mistake_;
    return std::move(found_);
  }

 private:
  void take_user(std::string_view text) {
    const std::size_t colon = std::min(text.find(':'), text.size());
    if (colon > 0) add("user", text.substr(0, colon));
    if (colon + 1 < text.size()) add("password", text.substr(colon + 1));
  }

  void take_hosts(std::string_view authority) {
    std::string hosts, ports;
    for (bool first = true; first || !authority.empty(); first = false) {
      const std::size_t end = std::min(authority.find(',', 0), authority.size());
      std::string_view one = authority.substr(0, end);
      if (!first) {
        hosts += ',';
        ports += ',';
      }
      take_host(one, hosts, ports);
      if (end == authority.size()) break;
      authority.remove_prefix(end + 1);
    }
    if (!hosts.empty()) add("host", hosts);
    if (ports.find_first_not_of(',') != ports.npos) add("port", ports);
  }

  void take_host(std::string_view one, std::string& hosts, std::string& ports) {
    if (one.starts_with('[')) {
      const std::size_t bracket = one.find(']');
      if (bracket == one.npos) {
        mistake_ = "a \"[\" without \"]\" in the URI's host";
        return;
      }
      hosts += one.substr(1, bracket - 1);
      one.remove_prefix(bracket + 1);
      if (one.starts_with(':')) ports += one.substr(1);
      return;
    }
    const std::size_t colon = std::min(one.find(':'), one.size());
    hosts += one.substr(0, colon);
    if (colon < one.size()) ports += one.substr(colon + 1);
  }

  void take_options(std::string_view text) {
    while (!text.empty()) {
      const std::size_t end = std::min(text.find('&'), text.size());
      const std::string_view pair = text.substr(0, end);
      const std::size_t equals = pair.find('=');
      if (equals == pair.npos) {
        mistake_ = concat("missing \"=\" after \"", pair, "\" in the URI");
        return;
      }
      take_option(pair.substr(0, equals), pair.substr(equals + 1));
      text.remove_prefix(std::min(end + 1, text.size()));
    }
  }

  void take_option(std::string_view keyword, std::string_view value) {
    // JDBC's spelling, which libpq takes too.
    if (keyword == "ssl" && value == "true") return add("sslmode", "require");
    if (!known(keyword)) {
      mistake_ = concat("libpq has no connection parameter \"", keyword, "\"");
      return;
    }
    add(keyword, value);
  }

  void add(std::string_view keyword, std::string_view encoded) {
    std::string value;
    for (std::size_t i = 0; i < encoded.size(); ++i) {
      if (encoded[i] != '%') {
        value += encoded[i];
        continue;
      }
      unsigned byte = 0;
      const char* digits = encoded.data() + i + 1;
      const bool enough = i + 2 < encoded.size();
      if (!enough || std::from_chars(digits, digits + 2, byte, 16).ptr != digits + 2 || byte == 0) {
        mistake_ = concat("a bad %-code in the URI's ", keyword);
        return;
      }
      value += static_cast<char>(byte);
      i += 2;
    }
    found_.emplace_back(keyword, std::move(value));
  }

  std::string_view rest_;
  ConninfoParameters found_;
  std::string mistake_;
};

bool valid_port(std::string_view text) {
  unsigned port = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), port);
  return error == std::errc{} && end == text.data() + text.size() && port >= 1 && port <= 65535;
}

// Parameters that would let something from outside the file decide.
std::string outside_mistake(const ConninfoParameters& parameters) {
  if (!parameter(parameters, "service").empty())
    return "\"service\" is not allowed: write the service's parameters here, so that this file says everything";
  if (!parameter(parameters, "replication").empty())
    return "\"replication\" is not allowed: such a connection runs no ordinary statements";
  return {};
}

// Values that a login by Weir understands, where not all are. A misspelt sslmode must not verify less than it says.
struct Choice {
  std::string_view keyword;
  std::vector<std::string_view> values;   // none: the parameter itself is not taken
  std::string_view why;                   // behind the list of values
  bool any_case = false;                  // as libpq has it
};

const std::vector<Choice>& choices() {
  static constexpr std::string_view kNoGss = "Weir has no GSSAPI";
  static const std::vector<std::string_view> kVersions{"tlsv1", "tlsv1.1", "tlsv1.2", "tlsv1.3"};
  static const std::vector<Choice> kChoices{
      {"sslmode", {"disable", "allow", "prefer", "require", "verify-ca", "verify-full"}, ""},
      {"channel_binding", {"disable", "prefer", "require"}, ""},
      {"ssl_min_protocol_version", kVersions, "", true},
      {"ssl_max_protocol_version", kVersions, "", true},
      {"sslsni", {"0", "1"}, ""},
      {"keepalives", {"0", "1"}, ""},
      {"sslcompression", {"0"}, "TLS is never compressed"},
      {"gssencmode", {"disable", "prefer"}, kNoGss},
      {"krbsrvname", {}, kNoGss},
      {"gsslib", {}, kNoGss},
      {"target_session_attrs", {"any"}, "which server is the primary and which are replicas is said by primary and replicas"}};
  return kChoices;
}

std::string value_mistake(const ConninfoParameters& parameters) {
  for (const Choice& choice : choices()) {
    const std::string_view written = parameter(parameters, choice.keyword);
    const std::string value = choice.any_case ? ascii_lower(written) : std::string(written);
    if (value.empty() || std::find(choice.values.begin(), choice.values.end(), value) != choice.values.end()) continue;
    const std::string_view colon = choice.why.empty() ? "" : ": ";
    if (choice.values.empty()) return concat("\"", choice.keyword, "\" is not supported", colon, choice.why);
    std::string list;
    for (const std::string_view v : choice.values) list += concat(list.empty() ? "" : ", ", v);
    return concat("\"", choice.keyword, "\" must be ", choice.values.size() > 1 ? "one of " : "", list, colon, choice.why);
  }
  return {};
}

std::string host_mistake(const ConninfoParameters& parameters) {
  for (const std::string_view keyword : {"host", "hostaddr", "port"})
    if (parameter(parameters, keyword).find(',') != std::string_view::npos)
      return concat("names several hosts (\"", keyword,
                    "\" has a comma): one host a string; list the others under replicas");
  if (parameter(parameters, "host").empty() && parameter(parameters, "hostaddr").empty())
    return "names no host: add host=<name, address or socket folder>";
  const std::string_view port = parameter(parameters, "port");
  if (!port.empty() && !valid_port(port)) return concat("\"port\" must be from 1 to 65535, got \"", port, "\"");
  return {};
}

}  // namespace

std::variant<ConninfoParameters, std::string> parse_conninfo(std::string_view conninfo) {
  for (const std::string_view scheme : {"postgresql://", "postgres://"})
    if (conninfo.starts_with(scheme)) return UriForm(conninfo.substr(scheme.size())).parse();
  return KeywordForm(conninfo).parse();
}

std::string_view parameter(const ConninfoParameters& parameters, std::string_view keyword) {
  const auto it =
      std::find_if(parameters.rbegin(), parameters.rend(), [&](const auto& p) { return p.first == keyword; });
  return it == parameters.rend() ? std::string_view{} : std::string_view(it->second);
}

std::string server_conninfo_mistake(std::string_view conninfo) {
  const auto parsed = parse_conninfo(conninfo);
  if (const auto* mistake = std::get_if<std::string>(&parsed)) return *mistake;
  const auto& parameters = std::get<ConninfoParameters>(parsed);
  for (const auto& mistake : {outside_mistake(parameters), value_mistake(parameters)})
    if (!mistake.empty()) return mistake;
  return host_mistake(parameters);
}

bool names_a_database(std::string_view conninfo) {
  const auto parsed = parse_conninfo(conninfo);
  const auto* parameters = std::get_if<ConninfoParameters>(&parsed);
  return parameters != nullptr && !parameter(*parameters, "dbname").empty();
}

std::string backend_conninfo_mistake(std::string_view conninfo) {
  const std::string mistake = server_conninfo_mistake(conninfo);
  return mistake.empty() && !names_a_database(conninfo) ? "names no database: add dbname=<name>" : mistake;
}

std::string overrides_conninfo_mistake(std::string_view conninfo) {
  const auto parsed = parse_conninfo(conninfo);
  if (const auto* mistake = std::get_if<std::string>(&parsed)) return *mistake;
  const auto& parameters = std::get<ConninfoParameters>(parsed);
  for (const std::string_view keyword : {"host", "hostaddr", "port", "dbname"})
    if (!parameter(parameters, keyword).empty())
      return concat("\"", keyword,
                    "\" is not allowed: it overrides who logs in, not where; the backends' own strings say where");
  const std::string mistake = outside_mistake(parameters);
  return mistake.empty() ? value_mistake(parameters) : mistake;
}

std::string backend_address(std::string_view conninfo) {
  const auto parsed = parse_conninfo(conninfo);
  const auto* parameters = std::get_if<ConninfoParameters>(&parsed);
  if (parameters == nullptr) return {};
  std::string_view host = parameter(*parameters, "hostaddr");
  if (host.empty()) host = parameter(*parameters, "host");
  std::string_view port = parameter(*parameters, "port");
  if (port.empty()) port = "5432";
  return concat(host, ":", port, "/", parameter(*parameters, "dbname"));
}

}  // namespace weir::config
