// What comes before authentication: encryption, cancel requests, the StartupMessage.
// https://www.postgresql.org/docs/17/protocol-flow.html#PROTOCOL-FLOW-START-UP
#include "base/log.hpp"
#include "base/strings.hpp"
#include "proxy/client_tls.hpp"
#include "proxy/proxy.hpp"
#include "proxy/session.hpp"

namespace weir::proxy {

namespace {

constexpr std::uint8_t kTlsHandshake = 0x16;   // ContentType of a ClientHello's record

Error invalid_replication(std::string_view value) {
  return {sqlstate::kInvalidParameter, concat("invalid value for parameter \"replication\": \"", value, "\""),
          "Valid values are: \"false\", 0, \"true\", 1, \"database\"."};
}

// PostgreSQL's parse_bool(): unique beginnings of the words count.
std::optional<bool> parse_bool(std::string_view text) {
  const std::string lower = ascii_lower(text);
  const auto begins = [&](std::string_view word, std::size_t least) {
    return lower.size() >= least && word.starts_with(lower);
  };
  if (begins("true", 1) || begins("yes", 1) || lower == "on" || lower == "1") return true;
  if (begins("false", 1) || begins("no", 1) || begins("off", 2) || lower == "0") return false;
  return std::nullopt;
}

}  // namespace

// A client counts against max_clients when its StartupMessage is there: cancel requests do not, and before it nobody could tell our words
// from a stranger's.
net::Task<bool> Session::read_startup(wire::Startup& startup) {
  using Kind = wire::FirstPacket::Kind;
  bool tls_asked = false, gssenc_asked = false;
  if (input_.empty())
    if (const bool ok = co_await wait_for_bytes(); !ok) co_return false;
  if (const auto tls = worker_.topology()->tls; tls && !is_local() && input_[0] == kTlsHandshake) {
    tls_asked = gssenc_asked = true;
    if (const bool ok = co_await start_tls(tls, true); !ok) co_return false;
  }
  for (;;) {
    auto packet = wire::read_first_packet(input_);
    if (!packet) {
      fatal(packet.error());
      co_return false;
    }
    switch (packet->kind) {
      case Kind::incomplete:
        if (const bool ok = co_await wait_for_bytes(); !ok) co_return false;
        continue;
      case Kind::ssl_request:
      case Kind::gssenc_request: {
        const bool is_tls = packet->kind == Kind::ssl_request;
        if (std::exchange(is_tls ? tls_asked : gssenc_asked, true)) {
          fatal({sqlstate::kFeatureNotSupported,
                 concat("unsupported frontend protocol 1234.", is_tls ? "5679" : "5680", ": server supports 3.0 to 3.2"),
                 "Encryption was asked for before."});
          co_return false;
        }
        if (const bool ok = co_await answer_encryption_request(is_tls, packet->size); !ok) co_return false;
        if (tls_) gssenc_asked = true;   // nothing inside TLS
        continue;
      }
      case Kind::cancel_request:
        worker_.proxy().cancel(packet->cancel);
        co_return false;
      case Kind::startup:
        consume(packet->size);
        startup = std::move(packet->startup);
        co_return may_go_on(startup);
    }
  }
}

// 'S' and the handshake, or 'N'. Nothing may follow the request before it is answered: what a man in the middle put there in clear
// would count as encrypted (CVE-2021-23214).
net::Task<bool> Session::answer_encryption_request(bool is_tls, std::size_t size) {
  if (input_.size() > size) {
    Error error(sqlstate::kProtocolViolation, concat("received unencrypted data after ", is_tls ? "SSL" : "GSSAPI encryption", " request"));
    error.detail = "This could be either a client-software bug or evidence of an attempted man-in-the-middle attack.";
    fatal(error);
    co_return false;
  }
  consume(size);
  const auto tls = is_tls && !is_local() ? worker_.topology()->tls : nullptr;
  if (!tls) {
    out_.append(static_cast<std::uint8_t>('N'));
    co_return flush_client();
  }
  client_->expect_readable();
  out_.append(static_cast<std::uint8_t>('S'));
  if (!flush_client() || !out_.empty()) co_return false;   // a single byte that does not fit: nobody reads
  co_return co_await start_tls(tls, false);
}

// The signature in it costs up to milliseconds, so steps run on threads of their own: the other clients of this worker go on.
net::Task<bool> Session::start_tls(std::shared_ptr<const net::TlsContext> context, bool direct) {
  using Step = net::ServerTls::Step;
  tls_ = std::make_shared<net::ServerTls>(std::move(context), client_->fd(), direct ? input_ : ByteView{}, direct);
  if (direct) consume(input_.size());
  for (;;) {
    client_->expect_readable();
    tls_step_.reset();
    worker_.proxy().run_handshake([tls = tls_, &worker = worker_, id = id_] {
      const Step step = tls->handshake();
      worker.loop().post([&worker, id, step] {
        if (Session* s = worker.find_session(id)) s->handshake_stepped(step);
      });
    });
    while (!tls_step_) co_await waiter_.wait();
    if (*tls_step_ == Step::done) {
      client_->use_tls(tls_->get());
      co_return true;
    }
    if (*tls_step_ == Step::failed) {
      log::info(concat("TLS handshake with ", peer_.address, " port ", std::to_string(peer_.port), " failed: ", tls_->failure()));
      co_return false;
    }
    if (*tls_step_ == Step::wants_write) client_->expect_writable();
    while (*tls_step_ == Step::wants_write ? !client_->can_send() : !client_->may_receive()) {
      if (timer_.fired() || end_with_ || client_->hung_up()) co_return false;
      co_await waiter_.wait();
    }
    if (timer_.fired()) co_return false;
  }
}

void Session::handshake_stepped(net::ServerTls::Step step) {
  tls_step_ = step;
  waiter_.notify();
}

bool Session::is_local() const { return peer_.address == "unix"; }

// Whether a client with this StartupMessage may go on to authenticate.
bool Session::may_go_on(const wire::Startup& startup) {
  admitted_ = worker_.proxy().admit_client();
  if (!admitted_) {
    fatal({sqlstate::kTooManyConnections, "sorry, too many clients already", "See listen.max_clients."});
    return false;
  }
  if (!tls_ && !is_local() && demands_tls(worker_.topology()->settings->tls)) {
    fatal({sqlstate::kInvalidAuthorization, "SSL required", "Connect with sslmode=require; see tls.client."});
    return false;
  }
  negotiate(startup);
  return refuse_replication(startup);
}

// Minor versions and protocol options that Weir does not know are named, once.
void Session::negotiate(const wire::Startup& startup) {
  std::vector<std::string> unknown;
  for (const auto& [name, value] : startup.parameters)
    if (name.starts_with("_pq_.")) unknown.push_back(name);
  protocol_minor_ = std::min(startup.minor, wire::kNewestMinor);
  if (startup.minor > wire::kNewestMinor || !unknown.empty())
    wire::write_negotiate_protocol_version(out_, protocol_minor_, unknown);
}

// A replication connection's commands are no SQL, and its replies never end.
bool Session::refuse_replication(const wire::Startup& startup) {
  const std::string_view value = startup.get("replication");
  if (value.empty()) return true;
  const auto wanted = value == "database" ? std::optional(true) : parse_bool(value);
  if (wanted && !*wanted) return true;
  fatal(wanted ? Error(sqlstate::kFeatureNotSupported, "replication connections are not supported through Weir",
                       "Connect to the PostgreSQL server itself.")
               : invalid_replication(value));
  return false;
}

}  // namespace weir::proxy
