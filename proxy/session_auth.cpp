// How a client proves who it is: by the configuration's method or the hba file's line, against the users file or auth_query. Whatever is wrong, the client
// is told the same; the log says what.
// https://www.postgresql.org/docs/15/auth-methods.html, https://www.postgresql.org/docs/15/sasl-authentication.html
#include <algorithm>

#include "base/log.hpp"
#include "base/strings.hpp"
#include "proxy/proxy.hpp"
#include "proxy/session.hpp"
#include "wire/md5.hpp"
#include "wire/scram.hpp"

namespace weir::proxy {

namespace {

using config::HbaLine;
using config::HbaMethod;

bool contains(const std::vector<std::string>& names, std::string_view name) {
  return std::find(names.begin(), names.end(), name) != names.end();
}

HbaMethod method_of(config::AuthMethod method) {
  switch (method) {
    case config::AuthMethod::trust: return HbaMethod::trust;
    case config::AuthMethod::md5: return HbaMethod::md5;
    case config::AuthMethod::scram_sha_256: return HbaMethod::scram_sha_256;
    case config::AuthMethod::cert: return HbaMethod::cert;
    case config::AuthMethod::hba: break;   // its line says it
  }
  return HbaMethod::reject;
}

PasswordMethod conversation_of(HbaMethod method) {
  if (method == HbaMethod::md5) return PasswordMethod::md5;
  return method == HbaMethod::password ? PasswordMethod::cleartext : PasswordMethod::scram_sha_256;
}

std::string_view name_of(HbaMethod method) { return method == HbaMethod::cert ? "Certificate" : method == HbaMethod::trust ? "trust" : "password"; }

}  // namespace

// The client is told no more than PostgreSQL tells.
bool Session::refuse_client(HbaMethod method, std::string_view reason) {
  log::warning(concat("login of user \"", user_, "\" from ", peer_.address, " failed: ", reason));
  const bool by_password = method != HbaMethod::cert && method != HbaMethod::trust;
  fatal({by_password ? sqlstate::kInvalidPassword : sqlstate::kInvalidAuthorization,
         concat(name_of(method), " authentication failed for user \"", user_, "\"")});
  return false;
}

// What the hba file asks of this client; none: it was refused.
const HbaLine* Session::find_hba_line(const config::Hba& hba, std::string_view database) {
  const HbaLine* line = hba.match({database, user_, is_local() ? std::string_view() : peer_.address, tls_ != nullptr});
  if (line && line->method != HbaMethod::reject) return line;
  const std::string who = concat("host \"", is_local() ? "[local]" : peer_.address, "\", user \"", user_, "\", database \"", database, "\", ",
                                 tls_ ? "SSL encryption" : "no encryption");
  log::warning(concat("login of user \"", user_, "\" from ", peer_.address, " failed: ",
                      line ? concat("rejected by line ", std::to_string(line->line), " of the hba file") : "no line of the hba file fits"));
  fatal({sqlstate::kInvalidAuthorization, concat(line ? "pg_hba.conf rejects connection for " : "no pg_hba.conf entry for ", who)});
  return nullptr;
}

net::Task<bool> Session::authenticate(const std::string& database) {
  const TopologyRef topology = worker_.topology();   // as it is now; a reload meanwhile is no matter
  const config::Settings& settings = *topology->settings;
  HbaMethod method = method_of(settings.auth.method);
  auto certificate = HbaLine::Certificate::not_needed;
  if (settings.auth.method == config::AuthMethod::hba) {
    const HbaLine* line = find_hba_line(settings.hba, database);
    if (!line) co_return false;
    method = line->method;
    certificate = line->certificate;
  }
  if (!check_certificate(method, certificate)) co_return false;
  if (method != HbaMethod::trust && method != HbaMethod::cert)
    if (const bool proven = co_await authenticate_by_password(method, database); !proven) co_return false;
  if (console_ && !contains(settings.admin.users, user_) && !contains(settings.admin.stats_users, user_)) {
    fatal({sqlstate::kInsufficientPrivilege, concat("user \"", user_, "\" may not use the admin console"),
           "Name the user in admin.users or admin.stats_users."});
    co_return false;
  }
  co_return true;
}

bool Session::check_certificate(HbaMethod method, HbaLine::Certificate wanted) {
  if (method == HbaMethod::cert) wanted = HbaLine::Certificate::verify_full;
  if (wanted == HbaLine::Certificate::not_needed) return true;
  if (!tls_ || !tls_->has_verified_peer()) {
    log::warning(concat("login of user \"", user_, "\" from ", peer_.address, " failed: no valid client certificate"));
    fatal({sqlstate::kInvalidAuthorization, "connection requires a valid client certificate"});
    return false;
  }
  if (wanted == HbaLine::Certificate::verify_ca || tls_->peer_cn() == user_) return true;
  return refuse_client(HbaMethod::cert, concat("the certificate's common name is \"", tls_->peer_cn(), "\""));
}

// ---- the secret ----

void Session::looked_up(LookUp answer) {
  looked_up_ = std::move(answer);
  waiter_.notify();
}

// Of the users file, else by auth_query, else one that nothing matches. Null: the client must go (it was told why).
net::Task<UserSecretRef> Session::find_secret(const std::string& database, std::string& reason) {
  Proxy& proxy = worker_.proxy();
  if (auto known = proxy.authenticator().find(user_)) {
    if (known->kind == UserSecret::Kind::unknown) reason = "the user has no password in the users file";
    co_return known;
  }
  reason = "the user does not exist";
  looked_up_.reset();
  if (!proxy.look_up_user(user_, database, worker_.index(), id_)) co_return proxy.authenticator().mock(user_);
  stash();
  while (!looked_up_) {
    if (client_eof_ || client_->hung_up()) co_return nullptr;
    if (end_with_ || timer_.fired()) {
      fatal(end_with_ ? *end_with_ : Error(sqlstate::kProtocolViolation, "the login took too long", "See pool.client_login_timeout."));
      co_return nullptr;
    }
    co_await waiter_.wait();
  }
  const LookUp answer = std::move(*looked_up_);
  looked_up_.reset();
  switch (answer.kind) {
    case LookUp::Kind::found: reason.clear(); co_return answer.secret;
    case LookUp::Kind::unknown: reason = answer.reason; co_return proxy.authenticator().mock(user_);
    case LookUp::Kind::failed: break;
  }
  log::error(concat("user \"", user_, "\" from ", peer_.address, " cannot be looked up: ", answer.reason));
  fatal({sqlstate::kCannotConnectNow, "the user cannot be looked up now", "See Weir's log."});
  co_return nullptr;
}

net::Task<bool> Session::authenticate_by_password(HbaMethod method, const std::string& database) {
  Proxy& proxy = worker_.proxy();
  std::string reason;   // why nothing can match
  const UserSecretRef secret = co_await find_secret(database, reason);
  if (!secret) co_return false;
  const PasswordMethod how = proxy.authenticator().conversation(conversation_of(method), *secret);
  if (how == PasswordMethod::scram_sha_256 && secret->kind == UserSecret::Kind::md5) reason = "the user's secret is md5, which cannot do SCRAM";
  pool::Credentials proof;
  proof.user = user_;
  Answer answer = Answer::gone;
  switch (how) {
    case PasswordMethod::scram_sha_256: answer = co_await ask_scram(*secret, proof); break;
    case PasswordMethod::md5: answer = co_await ask_md5(*secret); break;
    case PasswordMethod::cleartext: answer = co_await ask_cleartext(secret, proof); break;
  }
  if (answer == Answer::gone) co_return false;
  const bool listed = proxy.authenticator().find(user_) != nullptr;
  if (answer == Answer::wrong) {
    if (!listed) proxy.doubt_user(user_, database);
    co_return refuse_client(method, reason.empty() ? "the password is wrong" : reason);
  }
  if (secret->kind == UserSecret::Kind::plain) proof.password = secret->text;
  if (secret->kind == UserSecret::Kind::md5 && proof.password.empty()) proof.md5_secret = secret->text;
  proxy.authenticator().proved(user_, listed ? std::string() : proxy.asked_database(database), secret, std::move(proof));
  co_return true;
}

// ---- the conversations ----

net::Task<std::optional<ByteView>> Session::read_auth_message() {
  flush_client();
  for (;;) {
    const wire::Frame f = wire::next_message(input_, wire::kMaxAuthLength);
    if (f.status == wire::FrameStatus::message && f.message.type == 'p') {
      scanned_ = f.needed;
      co_return f.message.body;
    }
    if (f.status != wire::FrameStatus::incomplete || (input_.size() >= wire::kHeader && f.message.type != 'p')) {
      fatal({sqlstate::kProtocolViolation, "expected a password response"});
      co_return std::nullopt;
    }
    if (const bool ok = co_await wait_for_bytes(); !ok) co_return std::nullopt;
  }
}

// A PasswordMessage; none: the client must go.
net::Task<std::optional<std::string>> Session::read_password() {
  const auto body = co_await read_auth_message();
  if (!body) co_return std::nullopt;
  std::string password(as_text(*body));
  consume(std::exchange(scanned_, 0));
  if (password.empty() || password.find('\0') != password.size() - 1) {
    fatal({sqlstate::kProtocolViolation, "invalid password packet size"});
    co_return std::nullopt;
  }
  password.pop_back();
  co_return password;
}

net::Task<Session::Answer> Session::ask_scram(const UserSecret& secret, pool::Credentials& proof) {
  const std::string binding(tls_ ? tls_->server_end_point() : std::string_view());
  static constexpr std::string_view kMechanisms[] = {wire::kScramPlusMechanism, wire::kScramMechanism};
  wire::write_authentication_sasl(out_, std::span(kMechanisms).subspan(binding.empty() ? 1 : 0));
  const auto first = co_await read_auth_message();
  if (!first) co_return Answer::gone;
  const auto initial = wire::read_sasl_initial(*first);
  const bool plus = initial && !binding.empty() && initial->mechanism == wire::kScramPlusMechanism;
  if (!initial || (!plus && initial->mechanism != wire::kScramMechanism)) {
    fatal(initial ? Error(sqlstate::kProtocolViolation, "client selected an invalid SASL authentication mechanism") : initial.error());
    co_return Answer::gone;
  }
  wire::ScramServer scram(secret.scram, {binding, plus});
  const auto challenge = scram.first(initial->data);
  consume(std::exchange(scanned_, 0));
  if (!challenge) co_return refuse_answer(challenge.error());
  wire::write_authentication_sasl_continue(out_, *challenge);
  const auto second = co_await read_auth_message();
  if (!second) co_return Answer::gone;
  const auto verdict = scram.final(as_text(*second));
  consume(std::exchange(scanned_, 0));
  if (!verdict) co_return verdict.error().code == sqlstate::kInvalidPassword ? Answer::wrong : refuse_answer(verdict.error());
  wire::write_authentication_sasl_final(out_, *verdict);
  if (secret.kind == UserSecret::Kind::scram)
    proof.keys = std::make_shared<const wire::ScramKeys>(wire::keys_of(secret.scram, scram.client_key()));
  co_return Answer::right;
}

// Of a conversation that cannot go on, whoever the user is.
Session::Answer Session::refuse_answer(const Error& error) {
  log::warning(concat("login of user \"", user_, "\" from ", peer_.address, " failed: ", error.message, error.detail.empty() ? "" : ": ", error.detail));
  fatal(error);
  return Answer::gone;
}

net::Task<Session::Answer> Session::ask_md5(const UserSecret& secret) {
  const wire::Md5Salt salt = wire::random_md5_salt();
  const std::string_view four(reinterpret_cast<const char*>(salt.data()), salt.size());
  wire::write_authentication_md5_password(out_, four);
  const auto response = co_await read_password();
  if (!response) co_return Answer::gone;
  co_return md5_matches(secret, user_, four, *response) ? Answer::right : Answer::wrong;
}

void Session::password_judged(bool right) {
  password_right_ = right;
  waiter_.notify();
}

// To compare with a SCRAM secret costs as much as its iterations say: on a thread where nobody waits for it.
net::Task<Session::Answer> Session::ask_cleartext(UserSecretRef secret, pool::Credentials& proof) {
  wire::write_authentication_cleartext_password(out_);
  auto password = co_await read_password();
  if (!password) co_return Answer::gone;
  if (password->empty()) co_return Answer::wrong;
  password_right_.reset();
  worker_.proxy().run_handshake([secret, user = user_, given = *password, &worker = worker_, id = id_] {
    const bool right = cleartext_matches(*secret, user, given);
    worker.loop().post([&worker, id, right] {
      if (Session* s = worker.find_session(id)) s->password_judged(right);
    });
  });
  stash();
  while (!password_right_) co_await waiter_.wait();
  if (!*password_right_) co_return Answer::wrong;
  proof.password = std::move(*password);
  co_return Answer::right;
}

}  // namespace weir::proxy
