// Start-up, authentication and greeting of a client; and the admin console's conversation.
// https://www.postgresql.org/docs/15/protocol-flow.html#id-1.10.6.7.3
#include <algorithm>

#include "base/log.hpp"
#include "base/strings.hpp"
#include "proxy/proxy.hpp"
#include "proxy/session.hpp"
#include "wire/scram.hpp"

namespace weir::proxy {

namespace {

constexpr std::size_t kMaxAcceptedSettings = 1024;

bool is_console(std::string_view database) { return database == "weir" || database == "pgbouncer"; }

bool contains(const std::vector<std::string>& names, std::string_view name) {
  return std::find(names.begin(), names.end(), name) != names.end();
}

Error password_failed(const std::string& user) {
  return {sqlstate::kInvalidPassword, concat("password authentication failed for user \"", user, "\"")};
}

// A parameter's value where the server reports it; none otherwise.
const std::string* reported(const pool::Pool::Welcome& welcome, std::string_view name) {
  for (const auto& [key, value] : welcome.parameters)
    if (ascii_lower(key) == ascii_lower(name)) return &value;
  return nullptr;
}

}  // namespace

net::Task<bool> Session::wait_for_bytes() {
  while (!receive_from_client()) {
    flush_client();
    if (client_eof_ || client_gone()) co_return false;
    if (end_with_) {
      fatal(*end_with_);
      co_return false;
    }
    if (timer_.fired()) {
      fatal({sqlstate::kProtocolViolation, "the login took too long", "See pool.client_login_timeout."});
      co_return false;
    }
    stash();
    co_await waiter_.wait();
  }
  co_return true;
}

net::Task<bool> Session::login() {
  timer_.arm(Deadline::after(worker_.loop().now(), worker_.topology()->settings->pool.client_login_timeout));
  wire::Startup startup;
  if (const bool ok = co_await read_startup(startup); !ok) co_return false;
  user_ = startup.get("user");
  application_name_ = startup.get("application_name");
  std::string database(startup.get("database"));
  if (database.empty()) database = user_;
  console_ = is_console(database);
  if (!negotiate(startup)) co_return false;
  if (const bool ok = co_await authenticate(console_); !ok) co_return false;
  if (!console_) {
    database_ = worker_.database(database);
    if (!database_ || database_->removed) {
      fatal({sqlstate::kInvalidDatabase, concat("database \"", database, "\" does not exist"),
             "The databases Weir serves are listed by SHOW DATABASES in its admin console (database \"weir\")."});
      co_return false;
    }
    if (const bool ok = co_await enter_database(startup); !ok) co_return false;
    database_->stats.logins.add();
  }
  greet();
  timer_.cancel();
  co_return true;
}

// The first packets: encryption requests (declined), a cancel (delivered, then closed), or the StartupMessage.
net::Task<bool> Session::read_startup(wire::Startup& startup) {
  int requests = 0;
  for (;;) {
    auto packet = wire::read_first_packet(input_);
    if (!packet) {
      fatal(packet.error());
      co_return false;
    }
    using Kind = wire::FirstPacket::Kind;
    switch (packet->kind) {
      case Kind::incomplete:
        if (const bool ok = co_await wait_for_bytes(); !ok) co_return false;
        continue;
      case Kind::ssl_request:
      case Kind::gssenc_request:
        if (++requests > 2) {
          fatal({sqlstate::kProtocolViolation, "too many encryption requests"});
          co_return false;
        }
        consume(packet->size);
        out_.append(static_cast<std::uint8_t>('N'));
        flush_client();
        continue;
      case Kind::cancel_request:
        worker_.proxy().cancel(packet->cancel);
        co_return false;
      case Kind::startup:
        consume(packet->size);
        startup = std::move(packet->startup);
        co_return true;
    }
  }
}

// Protocol options and minor versions Weir does not know; replication connections.
bool Session::negotiate(const wire::Startup& startup) {
  std::vector<std::string> unknown;
  for (const auto& [name, value] : startup.parameters)
    if (name.starts_with("_pq_.")) unknown.push_back(name);
  if (startup.minor > 0 || !unknown.empty()) wire::write_negotiate_protocol_version(out_, 0, unknown);
  const std::string_view replication = startup.get("replication");
  if (replication.empty() || replication == "false" || replication == "off" || replication == "no" || replication == "0") return true;
  fatal({sqlstate::kFeatureNotSupported, "replication connections are not supported through Weir",
         "Connect to the PostgreSQL server itself."});
  return false;
}

// ---- authentication ----

net::Task<bool> Session::authenticate(bool console) {
  const config::Settings& settings = *worker_.topology()->settings;
  if (settings.auth.method == config::AuthMethod::scram_sha_256)
    if (const bool proven = co_await authenticate_scram(); !proven) co_return false;
  if (console && !contains(settings.admin.users, user_) && !contains(settings.admin.stats_users, user_)) {
    fatal({sqlstate::kInsufficientPrivilege, concat("user \"", user_, "\" may not use the admin console"),
           "Name the user in admin.users or admin.stats_users."});
    co_return false;
  }
  co_return true;
}

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

net::Task<bool> Session::authenticate_scram() {
  static constexpr std::string_view kMechanisms[] = {"SCRAM-SHA-256"};
  wire::write_authentication_sasl(out_, kMechanisms);
  const auto first = co_await read_auth_message();
  if (!first) co_return false;
  const auto initial = wire::read_sasl_initial(*first);
  if (!initial || initial->mechanism != kMechanisms[0]) {
    fatal(initial ? Error(sqlstate::kProtocolViolation, "client selected an invalid SASL authentication mechanism") : initial.error());
    co_return false;
  }
  wire::ScramServer scram(worker_.proxy().scram_secret(user_));
  const auto challenge = scram.first(initial->data);
  if (!challenge) {
    fatal(challenge.error());
    co_return false;
  }
  consume(std::exchange(scanned_, 0));
  wire::write_authentication_sasl_continue(out_, *challenge);
  const auto second = co_await read_auth_message();
  if (!second) co_return false;
  const auto verdict = scram.final(as_text(*second));
  consume(std::exchange(scanned_, 0));
  if (!verdict) {
    log::warning(concat("login of user \"", user_, "\" from ", peer_.address, " failed: ", verdict.error().message));
    fatal(verdict.error().code == sqlstate::kInvalidPassword ? password_failed(user_) : verdict.error());
    co_return false;
  }
  wire::write_authentication_sasl_final(out_, *verdict);
  co_return true;
}

// ---- the database and the session's first settings ----

Result<std::vector<Setting>> Session::startup_settings(const wire::Startup& startup) const {
  std::vector<Setting> settings;
  const auto add = [&](std::string_view name, std::string_view value) {
    const std::string* already = reported(*welcome_, name);
    if (already && ascii_lower(*already) == ascii_lower(value)) return;
    std::erase_if(settings, [&](const Setting& s) { return s.name == ascii_lower(name); });
    settings.push_back(startup_setting(name, value));
  };
  if (const std::string_view options = startup.get("options"); !options.empty()) {
    auto parsed = wire::parse_options(options);
    if (!parsed) return parsed.take_error();
    for (const auto& [name, value] : *parsed) add(name, value);
  }
  for (const auto& [name, value] : startup.parameters)
    if (name != "user" && name != "database" && name != "options" && name != "replication" && !name.starts_with("_pq_."))
      add(name, value);
  return settings;
}

net::Task<bool> Session::enter_database(const wire::Startup& startup) {
  if (!database_->router) {
    fatal({sqlstate::kCannotConnectNow, concat("database \"", database_->name, "\" is not ready: ", database_->state->catalog_problem),
           "Look at SHOW BACKENDS in the admin console, or run weir check --connect."});
    co_return false;
  }
  if (!choose_mode()) co_return false;
  pools_ = &database_->users[user_];
  if (pools_->version == 0) pools_->credentials = worker_.proxy().credentials_of(user_);
  auto learned = co_await learn_defaults();
  if (learned) {
    auto settings = startup_settings(startup);
    if (settings)
      learned = co_await try_settings(std::move(*settings));
    else
      learned = settings.take_error();
  }
  if (!learned) fatal(learned.error());
  co_return learned.ok();
}

// The user's own mode, else the database's, else [pool]'s.
bool Session::choose_mode() {
  const config::Settings& settings = *worker_.topology()->settings;
  const config::User* user = settings.find_user(user_);
  mode_ = user && user->pool_mode ? *user->pool_mode : database_->state->config->pool_mode.value_or(settings.pool.mode);
  if (mode_ == config::PoolMode::transaction || !database_->state->sharded()) return true;
  fatal({sqlstate::kFeatureNotSupported, concat("database \"", database_->name, "\" is sharded: only pool_mode = \"transaction\" serves it"),
         "Set pool_mode = \"transaction\" for this database or user."});
  return false;
}

// A server of the home shard, for the login's own questions. A reload meanwhile is no matter.
net::Task<Result<void>> Session::lease_home() {
  while (!server_) {
    decision_ = {};
    planned_generation_ = database_->router->generation();
    auto leased = co_await lease();
    if (!leased) co_return leased.take_error();
  }
  co_return Result<void>{};
}

// What a server reports at login is what the client is told: the first client of a login waits for one.
net::Task<Result<void>> Session::learn_defaults() {
  server_user_ = pool::effective_credentials(*database_->state->shards.front().primary, pools_->credentials).user;
  welcome_ = primary_pool(schema::kHomeShard)->welcome();
  if (!welcome_) {
    auto leased = co_await lease_home();
    if (!leased) co_return leased.take_error();
    welcome_ = server_->pool->welcome();
    co_await give_back();
  }
  default_search_path_ = welcome_->search_path;
  co_return Result<void>{};
}

// A bad start-up setting must fail the login, as PostgreSQL does: a server tries new ones, once.
net::Task<Result<void>> Session::try_settings(std::vector<Setting> settings) {
  settings_.start(std::move(settings));
  const SettingsRef wanted = settings_.current();
  if (!wanted || pools_->accepted_settings.contains(wanted)) co_return Result<void>{};
  settings_.start({});
  auto leased = co_await lease_home();
  if (!leased) co_return leased.take_error();
  std::vector<std::pair<std::string, std::string>> parameters;
  auto tried = co_await run_own(wanted->replay, &parameters);
  if (!tried) {
    Error error = tried.take_error();
    if (server_) drop_server();
    co_return error;
  }
  server_->settings = wanted;
  settings_.start(wanted->settings);
  if (pools_->accepted_settings.size() >= kMaxAcceptedSettings) pools_->accepted_settings.clear();
  pools_->accepted_settings.emplace(wanted, std::move(parameters));
  co_await give_back();
  co_return Result<void>{};
}

void Session::greet() {
  wire::write_authentication_ok(out_);
  if (console_) {
    wire::write_parameter_status(out_, "server_version", worker_.proxy().console_version());
    wire::write_parameter_status(out_, "client_encoding", "UTF8");
    wire::write_parameter_status(out_, "standard_conforming_strings", "on");
  } else {
    const auto accepted = settings_.current() ? pools_->accepted_settings.find(settings_.current()) : pools_->accepted_settings.end();
    for (const auto& [name, value] : welcome_->parameters) {
      std::string_view shown = value;
      if (accepted != pools_->accepted_settings.end())
        for (const auto& [changed, to] : accepted->second)
          if (changed == name) shown = to;
      wire::write_parameter_status(out_, name, shown);
    }
  }
  key_ = worker_.proxy().make_key(worker_.index(), id_);
  wire::write_backend_key_data(out_, key_);
  wire::write_ready_for_query(out_, 'I');
  flush_client();
  welcome_.reset();
}

// ---- the admin console ----

void Session::console_answer(ByteBuffer answer) {
  console_answer_ = std::move(answer);
  waiter_.notify();
}

net::Task<> Session::serve_console() {
  for (;;) {
    state_ = State::idle;
    const wire::Frame f = wire::next_message(input_, wire::kMaxAuthLength);
    if (f.status == wire::FrameStatus::incomplete) {
      if (const bool ok = co_await wait_for_bytes(); !ok) co_return;
      continue;
    }
    if (f.status == wire::FrameStatus::bad_length || f.message.type == 'X') co_return;
    state_ = State::active;
    last_request_ = worker_.loop().now();
    if (f.message.type == 'Q') {
      const auto sql = wire::read_query(f.message.body);
      co_await run_console_query(sql ? *sql : std::string_view{});
    } else if (f.message.type == 'S') {
      wire::write_ready_for_query(out_, 'I');
    } else if (f.message.type == 'P') {
      wire::write_error(out_, wire::Severity::error,
                        {sqlstate::kFeatureNotSupported, "the admin console takes simple queries only",
                         "Use psql, or a driver's simple query mode."});
    }
    consume(f.needed);
    flush_client();
  }
}

net::Task<> Session::run_console_query(std::string_view sql) {
  const bool may_change = contains(worker_.topology()->settings->admin.users, user_);
  worker_.proxy().run_console(std::string(sql), may_change, worker_.index(), id_);
  stash();
  while (!console_answer_) {
    if (client_eof_ || client_->hung_up()) co_return;
    co_await waiter_.wait();
  }
  out_.append(console_answer_->view());
  console_answer_.reset();
}

}  // namespace weir::proxy
