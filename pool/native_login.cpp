#include "pool/native_login.hpp"

#include <fstream>

#include "base/strings.hpp"
#include "wire/body_reader.hpp"
#include "wire/login_client.hpp"
#include "wire/messages.hpp"

namespace weir::pool {

namespace {

constexpr std::uint32_t kMaxMessage = 1 << 20;   // nothing in a login or in the answers to our own questions is longer

Error broken(std::string message) {
  Error e(sqlstate::kConnectionFailure, std::move(message), "Is it a PostgreSQL server?");
  e.connection_spoilt = true;
  return e;
}

// Refusals that do not pass by themselves keep their SQLSTATE; everything else counts as a failure of the connection.
Error as_login_error(Error e) {
  const std::string_view state_class = e.code.view().substr(0, 2);
  const bool passing = state_class == "08" || state_class == "57" || state_class == "53" || state_class == "58" || state_class == "XX";
  if (passing && e.code != sqlstate::kTooManyConnections) e.code = sqlstate::kConnectionFailure;
  e.connection_spoilt = passing;
  return e;
}

// Reads messages off a link, one at a time.
class MessageReader {
 public:
  MessageReader(ServerLink& link, Deadline deadline) : link_(link), deadline_(deadline) {}

  // Its views last until the next call.
  Result<wire::Message> next() {
    buffer_.consume(std::exchange(used_, 0));
    for (;;) {
      const wire::Frame f = wire::next_message(buffer_.view(), kMaxMessage);
      if (f.status == wire::FrameStatus::message) {
        used_ = f.needed;
        return f.message;
      }
      if (f.status == wire::FrameStatus::bad_length)
        return broken("the server sent a message of a bad length");
      if (auto received = link_.receive(buffer_, deadline_); !received) return received.take_error();
    }
  }
  [[nodiscard]] bool empty() const { return buffer_.size() == used_; }

 private:
  ServerLink& link_;
  Deadline deadline_;
  ByteBuffer buffer_;
  std::size_t used_ = 0;
};

// https://www.postgresql.org/docs/15/libpq-pgpass.html: host:port:database:user:password, "*" is any, backslash escapes.
std::string password_of_file(const ConnParams& params, const std::string& user, const std::string& dbname) {
  std::ifstream in{std::string(get(params, "passfile"))};
  const std::string_view host = get(params, "host").empty() ? get(params, "hostaddr") : get(params, "host");
  const std::string wanted[] = {host.starts_with('/') ? "localhost" : std::string(host),
                                get(params, "port").empty() ? "5432" : std::string(get(params, "port")), dbname, user};
  for (std::string line; std::getline(in, line);) {
    if (line.starts_with('#')) continue;
    std::vector<std::string> fields(1);
    for (std::size_t i = 0; i < line.size(); ++i) {
      if (line[i] == ':' && fields.size() < 5) {
        fields.emplace_back();
        continue;
      }
      if (line[i] == '\\' && i + 1 < line.size()) ++i;
      fields.back() += line[i];
    }
    bool matches = fields.size() == 5;
    for (std::size_t i = 0; matches && i < 4; ++i) matches = fields[i] == "*" || fields[i] == wanted[i];
    if (matches) return fields[4];
  }
  return {};
}

struct Target {
  ConnParams params;
  Credentials who;
  std::string dbname;
};

wire::LoginOptions options_of(const Target& target, const ServerLink& link) {
  wire::LoginOptions options;
  const auto add = [&](std::string_view name, std::string_view value) {
    if (!value.empty()) options.parameters.emplace_back(name, value);
  };
  const std::string_view named = get(target.params, "application_name"), fallback = get(target.params, "fallback_application_name");
  add("user", target.who.user);
  add("database", target.dbname);
  add("application_name", !named.empty() ? named : !fallback.empty() ? fallback : "weir");
  add("client_encoding", get(target.params, "client_encoding"));
  add("options", get(target.params, "options"));
  options.secrets = {target.who.password, target.who.md5_secret, target.who.keys};
  const std::string_view binding = get(target.params, "channel_binding");
  using Binding = wire::LoginOptions::Binding;
  options.binding = binding == "disable" ? Binding::disable : binding == "require" ? Binding::require : Binding::prefer;
  options.binding_data = link.binding_data();
  return options;
}

struct Attempt {
  Result<LoggedIn> outcome;
  bool other_may_help = false;   // with TLS instead of without, or the other way round
};

Attempt attempt(const Target& target, TlsUse tls, Deadline deadline) {
  auto link = open_link(target.params, deadline);
  if (!link) return {link.take_error(), false};
  if (auto encrypted = negotiate_tls(*link, target.params, tls, deadline); !encrypted) return {encrypted.take_error(), true};
  LoggedIn in;
  in.link = std::move(*link);
  wire::LoginClient login(options_of(target, in.link));
  const auto failed = [&](Error e) -> Attempt {
    e.message = concat("connection to ", host_and_port(target.params), " failed: ", e.message);
    return {as_login_error(std::move(e)), login.refused_by_server() && !login.authenticated()};
  };
  ByteBuffer out;
  login.start(out);
  MessageReader reader(in.link, deadline);
  for (bool ready = false; !ready;) {
    if (auto sent = in.link.send(out.view(), deadline); !sent) return failed(sent.take_error());
    out.clear();
    const auto message = reader.next();
    if (!message) return failed(message.error());
    auto step = login.on_message(*message, out);
    if (!step) return failed(step.take_error());
    ready = *step;
  }
  in.key = login.key();
  in.parameters = std::move(login.parameters());
  return {std::move(in), false};
}

// sslmode, as libpq reads it: "allow" tries TLS second, "prefer" (the default) first.
// https://www.postgresql.org/docs/15/libpq-ssl.html#LIBPQ-SSL-PROTECTION
Result<LoggedIn> connect_as_asked(const Target& target, Deadline deadline) {
  const std::string_view mode = get(target.params, "sslmode");
  if (mode == "disable") return std::move(attempt(target, TlsUse::never, deadline).outcome);
  if (!mode.empty() && mode != "allow" && mode != "prefer") return std::move(attempt(target, TlsUse::must, deadline).outcome);
  const bool first_plain = mode == "allow";
  Attempt first = attempt(target, first_plain ? TlsUse::never : TlsUse::if_offered, deadline);
  if (first.outcome || !first.other_may_help) return std::move(first.outcome);
  Attempt second = attempt(target, first_plain ? TlsUse::must : TlsUse::never, deadline);
  return std::move(second.outcome ? second.outcome : first.outcome);
}

// One statement of ours and its rows.
Result<std::vector<QueryRow>> run_query(LoggedIn& in, const std::string& sql, Deadline deadline) {
  ByteBuffer out;
  wire::write_query(out, sql);
  if (auto sent = in.link.send(out.view(), deadline); !sent) return sent.take_error();
  MessageReader reader(in.link, deadline);
  std::vector<QueryRow> rows;
  std::optional<Error> error;
  for (;;) {
    const auto message = reader.next();
    if (!message) return message.error();
    switch (message->type) {
      case 'D': {
        wire::BodyReader body(message->body);
        QueryRow& row = rows.emplace_back(body.int16());
        for (auto& cell : row)
          if (const std::uint32_t size = body.int32(); size != 0xffffffff) cell.emplace(as_text(body.bytes(size)));
        if (!body.finish()) return body.error("DataRow");
        break;
      }
      case 'E': {
        const auto view = wire::read_error(message->body);
        error = view ? Error(SqlState::parse(view->code), std::string(view->message)) : view.error();
        break;
      }
      case 'S':
        if (const auto status = wire::read_parameter_status(message->body))
          for (auto& [name, value] : in.parameters)
            if (name == status->name) value = status->value;
        break;
      case 'Z':
        if (!reader.empty()) return broken("the server sent more than was asked for");
        if (error) return *error;
        return rows;
      default: break;
    }
  }
}

}  // namespace

Result<LoggedIn> log_in(const Backend& backend, const Credentials& credentials, const LoginCheck& check, Deadline deadline) {
  Target target{backend.id().params, effective_credentials(backend, credentials), backend.dbname()};
  if (!target.who.has_secret() && !get(target.params, "passfile").empty())
    target.who.password = password_of_file(target.params, target.who.user, target.dbname);
  auto in = connect_as_asked(target, deadline);
  if (!in) return in;
  if (check)
    if (auto checked = check([&](const std::string& sql) { return run_query(*in, sql, deadline); }); !checked) return checked.take_error();
  auto rows = run_query(*in, "SHOW search_path", deadline);
  if (!rows) return as_login_error(rows.take_error());
  if (rows->size() != 1 || rows->front().size() != 1) return broken("the server's answer to SHOW search_path is no single value");
  in->search_path = rows->front().front().value_or("");
  return in;
}

Result<void> send_cancel(const CancelTarget& target, Deadline deadline) {
  auto link = open_link_to(target.address, target.params, deadline);
  if (!link) return link.take_error();
  if (auto encrypted = negotiate_tls(*link, target.params, target.tls ? TlsUse::must : TlsUse::never, deadline); !encrypted) return encrypted;
  ByteBuffer out;
  wire::write_cancel_request(out, target.key);
  if (auto sent = link->send(out.view(), deadline); !sent) return sent;
  while (link->receive(out, deadline)) out.clear();   // until it closes
  if (deadline.passed(Clock::now())) return Error(sqlstate::kConnectionFailure, "the server did not close the cancel connection in time");
  return {};
}

}  // namespace weir::pool
