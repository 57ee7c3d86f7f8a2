#include "config/hba.hpp"

#include <arpa/inet.h>
#include <ifaddrs.h>
#include <netinet/in.h>

#include <algorithm>
#include <charconv>
#include <cstring>

#include "base/strings.hpp"
#include "config/load.hpp"

namespace weir::config {
namespace {

constexpr unsigned kMaxIncludes = 10;   // PostgreSQL's CONF_FILE_MAX_DEPTH
constexpr std::array<std::uint8_t, 12> kMapped{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};

bool is_ipv4(const std::array<std::uint8_t, 16>& a) { return std::equal(kMapped.begin(), kMapped.end(), a.begin()); }

struct Token {
  std::string text;
  bool quoted = false;
};
using Field = std::vector<Token>;   // a list: a,b,c

// One line's fields, by the rules of PostgreSQL's tokenizer: blanks part fields, commas tokens; quotes take meaning away from keywords,
// a doubled quote is one; # begins a comment.
class LineReader {
 public:
  explicit LineReader(std::string_view text) : text_(text) {}

  std::vector<Field> fields() {
    std::vector<Field> out;
    for (;;) {
      skip_blanks();
      if (at_end()) return out;
      out.push_back(take_field());
    }
  }
  [[nodiscard]] bool unterminated() const { return unterminated_; }

 private:
  [[nodiscard]] bool at_end() const { return at_ >= text_.size() || text_[at_] == '#'; }
  static bool blank(char c) { return c == ' ' || c == '\t' || c == '\r' || c == '\f' || c == '\v'; }
  void skip_blanks() {
    while (at_ < text_.size() && blank(text_[at_])) ++at_;
  }

  Field take_field() {
    Field field;
    for (;;) {
      field.push_back(take_token());
      skip_commas();
      if (!more_) return field;
    }
  }
  // "a, b" is one field, as in PostgreSQL: after a comma the list goes on.
  void skip_commas() {
    more_ = false;
    while (at_ < text_.size() && text_[at_] == ',') {
      more_ = true;
      ++at_;
      skip_blanks();
    }
    if (at_end()) more_ = false;
  }
  Token take_token() {
    Token token;
    bool in_quotes = false;
    for (; at_ < text_.size(); ++at_) {
      const char c = text_[at_];
      if (!in_quotes && (blank(c) || c == ',' || c == '#')) break;
      if (c != '"') {
        token.text += c;
      } else if (in_quotes && at_ + 1 < text_.size() && text_[at_ + 1] == '"') {
        token.text += c;
        ++at_;
      } else {
        in_quotes = !in_quotes;
        token.quoted = true;
      }
    }
    unterminated_ |= in_quotes;
    return token;
  }

  std::string_view text_;
  std::size_t at_ = 0;
  bool more_ = false;
  bool unterminated_ = false;
};

class Parser {
 public:
  Parser(const std::string& file, const ReadIncluded& read_file, std::vector<Problem>& problems)
      : file_(file), read_file_(read_file), problems_(problems) {}

  Hba parse(std::string_view text) {
    Hba hba;
    for (unsigned next = 1; !text.empty();) {
      line_ = next;
      const std::string line = take_line(text, next);
      LineReader reader(line);
      const auto fields = reader.fields();
      if (reader.unterminated()) {
        report("a quote is not closed");
      } else if (!fields.empty()) {
        if (auto parsed = parse_line(fields)) hba.lines.push_back(std::move(*parsed));
      }
    }
    return hba;
  }

 private:
  void report(std::string message) { problems_.push_back({file_, line_, "", std::move(message)}); }

  // A backslash at its end continues a line.
  static std::string take_line(std::string_view& text, unsigned& number) {
    std::string line;
    for (bool more = true; more && !text.empty();) {
      const std::size_t end = std::min(text.find('\n'), text.size());
      line += text.substr(0, end);
      text.remove_prefix(std::min(end + 1, text.size()));
      ++number;
      if (line.ends_with('\r')) line.pop_back();
      more = line.ends_with('\\');
      if (more) line.pop_back();
    }
    return line;
  }

  // The one token of a field; none (reported): a list, or the field is missing.
  const Token* single(const std::vector<Field>& fields, std::size_t at, std::string_view what) {
    if (at >= fields.size()) {
      report(concat("missing: ", what));
      return nullptr;
    }
    if (fields[at].size() == 1) return &fields[at].front();
    report(concat("expected one ", what, ", not a list"));
    return nullptr;
  }

  std::optional<HbaLine> parse_line(const std::vector<Field>& fields) {
    HbaLine out;
    out.line = line_;
    const Token* type = single(fields, 0, "connection type");
    if (type == nullptr || !parse_type(type->text, out)) return std::nullopt;
    if (fields.size() < 3) {
      report(fields.size() < 2 ? "missing: databases" : "missing: users");
      return std::nullopt;
    }
    if (!parse_names(fields[1], "database", out.databases, 0) || !parse_names(fields[2], "user", out.users, 0)) return std::nullopt;
    std::size_t at = 3;
    if (out.connection != HbaLine::Connection::local && !parse_client(fields, at, out)) return std::nullopt;
    const Token* method = single(fields, at++, "method");
    if (method == nullptr || !parse_method(method->text, out)) return std::nullopt;
    for (; at < fields.size(); ++at)
      for (const Token& option : fields[at])
        if (!parse_option(option.text, out)) return std::nullopt;
    return out;
  }

  bool parse_type(const std::string& text, HbaLine& out) {
    using Connection = HbaLine::Connection;
    static constexpr std::pair<std::string_view, Connection> kTypes[] = {
        {"local", Connection::local}, {"host", Connection::host}, {"hostssl", Connection::hostssl}, {"hostnossl", Connection::hostnossl}};
    for (const auto& [name, type] : kTypes)
      if (text == name) {
        out.connection = type;
        return true;
      }
    if (text.starts_with("hostgss") || text.starts_with("hostnogss"))
      report(concat("\"", text, "\" is not supported: Weir has no GSSAPI encryption; write host, hostssl or hostnossl"));
    else if (text.starts_with("include"))
      report(concat("\"", text, "\" is not supported: write the lines here, or lists of names with @file"));
    else
      report(concat("expected local, host, hostssl or hostnossl, got \"", text, "\""));
    return false;
  }

  bool parse_names(const Field& field, std::string_view what, std::vector<HbaName>& out, unsigned depth) {
    for (const Token& token : field) {
      if (token.text.starts_with('@') && token.text.size() > 1 && !token.quoted) {
        if (!include(token.text.substr(1), what, out, depth)) return false;
        continue;
      }
      const bool group = !token.quoted && (token.text.starts_with('+') || token.text == "samerole" || token.text == "samegroup");
      const bool pattern = !token.quoted && token.text.starts_with('/');
      if (group || pattern) {
        report(concat("\"", token.text, "\" is not supported: ",
                      group ? "Weir does not know who is a member of which role; list the users" : "no regular expressions; list the names"));
        return false;
      }
      if (token.text.empty()) {
        report(concat("an empty ", what, " name"));
        return false;
      }
      const bool keyword = !token.quoted && (token.text == "all" || (what == "database" && (token.text == "sameuser" || token.text == "replication")));
      out.push_back({token.text, keyword});
    }
    return true;
  }

  bool include(const std::string& path, std::string_view what, std::vector<HbaName>& out, unsigned depth) {
    if (depth >= kMaxIncludes) {
      report(concat("@", path, ": too many files within files"));
      return false;
    }
    const auto text = read_file_(path);
    if (!text) {
      report(concat("cannot read @", path));
      return false;
    }
    std::string_view rest = *text;
    for (unsigned number = 1; !rest.empty();) {
      const std::string line = take_line(rest, number);
      LineReader reader(line);
      for (const Field& field : reader.fields())
        if (!parse_names(field, what, out, depth + 1)) return false;
      if (!reader.unterminated()) continue;
      report(concat("@", path, ": a quote is not closed"));
      return false;
    }
    return true;
  }

  bool parse_client(const std::vector<Field>& fields, std::size_t& at, HbaLine& out) {
    using Client = HbaLine::Client;
    const Token* token = single(fields, at++, "address");
    if (token == nullptr) return false;
    if (!token->quoted && (token->text == "all" || token->text == "samehost" || token->text == "samenet")) {
      out.client = token->text == "all" ? Client::any : token->text == "samehost" ? Client::samehost : Client::samenet;
      return true;
    }
    out.client = Client::network;
    const std::size_t slash = token->text.find('/');
    const auto address = parse_address(std::string_view(token->text).substr(0, slash));
    if (!address) {
      report(concat("\"", token->text, "\" is no address: write 10.0.0.0/8, ::1/128, all, samehost or samenet (host names are not supported)"));
      return false;
    }
    out.network.address = *address;
    if (slash != token->text.npos) return parse_bits(token->text, slash + 1, out.network);
    const Token* mask = single(fields, at++, "netmask (or write the address as a.b.c.d/bits)");
    if (mask == nullptr) return false;
    const auto parsed = parse_address(mask->text);
    if (!parsed || is_ipv4(*parsed) != is_ipv4(*address)) {
      report(concat("\"", mask->text, "\" is no netmask of ", token->text));
      return false;
    }
    out.network.mask = *parsed;
    if (is_ipv4(*address)) std::fill_n(out.network.mask.begin(), kMapped.size(), std::uint8_t{0xff});
    return true;
  }

  bool parse_bits(const std::string& text, std::size_t from, HbaNetwork& network) {
    unsigned bits = 0;
    const unsigned most = is_ipv4(network.address) ? 32 : 128;
    const auto [end, error] = std::from_chars(text.data() + from, text.data() + text.size(), bits);
    if (error != std::errc{} || end != text.data() + text.size() || bits > most) {
      report(concat("\"", text, "\": expected 0 to ", std::to_string(most), " bits after the slash"));
      return false;
    }
    bits += 128 - most;
    for (unsigned i = 0; i < 16; ++i)
      network.mask[i] = bits >= 8 * (i + 1) ? 0xff : bits <= 8 * i ? 0 : static_cast<std::uint8_t>(0xff << (8 * (i + 1) - bits));
    return true;
  }

  bool parse_method(const std::string& text, HbaLine& out) {
    static constexpr std::pair<std::string_view, HbaMethod> kMethods[] = {
        {"trust", HbaMethod::trust}, {"reject", HbaMethod::reject}, {"md5", HbaMethod::md5},
        {"scram-sha-256", HbaMethod::scram_sha_256}, {"password", HbaMethod::password}, {"cert", HbaMethod::cert}};
    for (const auto& [name, method] : kMethods)
      if (text == name) {
        out.method = method;
        if (method != HbaMethod::cert || out.connection == HbaLine::Connection::hostssl) return true;
        report("method \"cert\" needs a hostssl line");
        return false;
      }
    report(concat("method \"", text, "\" is not supported: expected trust, reject, md5, scram-sha-256, password or cert"));
    return false;
  }

  bool parse_option(const std::string& text, HbaLine& out) {
    using Certificate = HbaLine::Certificate;
    if (text == "clientcert=verify-ca" || text == "clientcert=verify-full") {
      if (out.connection != HbaLine::Connection::hostssl) {
        report("clientcert needs a hostssl line");
        return false;
      }
      out.certificate = text.ends_with("full") ? Certificate::verify_full : Certificate::verify_ca;
      return true;
    }
    report(concat("option \"", text, "\" is not supported: only clientcert=verify-ca and clientcert=verify-full are",
                  text.starts_with("map=") ? "; without a map the names must be equal" : ""));
    return false;
  }

  const std::string& file_;
  const ReadIncluded& read_file_;
  std::vector<Problem>& problems_;
  unsigned line_ = 0;
};

bool names_fit(const std::vector<HbaName>& names, std::string_view name, std::string_view user) {
  return std::any_of(names.begin(), names.end(), [&](const HbaName& n) {
    if (!n.keyword) return n.text == name;
    return n.text == "all" || (n.text == "sameuser" && name == user);   // "replication" fits no ordinary connection
  });
}

std::array<std::uint8_t, 16> bytes_of(const sockaddr* address) {
  std::array<std::uint8_t, 16> out{};
  if (address->sa_family == AF_INET) {
    std::copy(kMapped.begin(), kMapped.end(), out.begin());
    std::memcpy(out.data() + kMapped.size(), &reinterpret_cast<const sockaddr_in*>(address)->sin_addr, 4);
  } else {
    std::memcpy(out.data(), &reinterpret_cast<const sockaddr_in6*>(address)->sin6_addr, 16);
  }
  return out;
}

}  // namespace

bool HbaNetwork::contains(const std::array<std::uint8_t, 16>& other) const {
  if (is_ipv4(address) != is_ipv4(other)) return false;
  for (std::size_t i = 0; i < address.size(); ++i)
    if ((address[i] & mask[i]) != (other[i] & mask[i])) return false;
  return true;
}

std::optional<std::array<std::uint8_t, 16>> parse_address(std::string_view text) {
  const std::string plain(text.substr(0, text.find('%')));
  std::array<std::uint8_t, 16> out{};
  if (::inet_pton(AF_INET6, plain.c_str(), out.data()) == 1) return out;
  std::copy(kMapped.begin(), kMapped.end(), out.begin());
  if (::inet_pton(AF_INET, plain.c_str(), out.data() + kMapped.size()) == 1) return out;
  return std::nullopt;
}

const HbaLine* Hba::match(const HbaClient& client) const {
  using Connection = HbaLine::Connection;
  const bool local = client.address.empty();
  const auto address = local ? std::nullopt : parse_address(client.address);
  for (const HbaLine& line : lines) {
    if (local != (line.connection == Connection::local)) continue;
    if (line.connection == Connection::hostssl && !client.tls) continue;
    if (line.connection == Connection::hostnossl && client.tls) continue;
    if (!local && line.client != HbaLine::Client::any) {
      if (!address) continue;
      const auto of_own = [&](const HbaNetwork& n) {
        return line.client == HbaLine::Client::samehost ? n.address == *address : n.contains(*address);
      };
      if (line.client == HbaLine::Client::network ? !line.network.contains(*address) : std::none_of(own.begin(), own.end(), of_own)) continue;
    }
    if (names_fit(line.databases, client.database, client.user) && names_fit(line.users, client.user, client.user)) return &line;
  }
  return nullptr;
}

bool Hba::has(HbaMethod method) const {
  return std::any_of(lines.begin(), lines.end(), [&](const HbaLine& line) { return line.method == method; });
}

Hba parse_hba(const std::string& file, std::string_view text, const ReadIncluded& read_file, std::vector<Problem>& problems) {
  return Parser(file, read_file, problems).parse(text);
}

std::vector<HbaNetwork> own_networks() {
  std::vector<HbaNetwork> out;
  ifaddrs* all = nullptr;
  if (::getifaddrs(&all) != 0) return out;
  for (const ifaddrs* one = all; one != nullptr; one = one->ifa_next) {
    if (one->ifa_addr == nullptr || one->ifa_netmask == nullptr) continue;
    if (one->ifa_addr->sa_family != AF_INET && one->ifa_addr->sa_family != AF_INET6) continue;
    HbaNetwork network{bytes_of(one->ifa_addr), {}};
    // A netmask's own family may be unset in the kernel's answer.
    sockaddr_storage mask{};
    std::memcpy(&mask, one->ifa_netmask, one->ifa_addr->sa_family == AF_INET ? sizeof(sockaddr_in) : sizeof(sockaddr_in6));
    mask.ss_family = one->ifa_addr->sa_family;
    network.mask = bytes_of(reinterpret_cast<const sockaddr*>(&mask));
    if (mask.ss_family == AF_INET) std::fill_n(network.mask.begin(), kMapped.size(), std::uint8_t{0xff});
    out.push_back(network);
  }
  ::freeifaddrs(all);
  return out;
}

}  // namespace weir::config
