// Login and greeting of a client (after session_startup.cpp, around session_auth.cpp); and the admin console's conversation.
// https://www.postgresql.org/docs/15/protocol-flow.html#id-1.10.6.7.3
#include <algorithm>

#include "base/log.hpp"
#include "base/strings.hpp"
#include "proxy/proxy.hpp"
#include "proxy/session.hpp"

namespace weir::proxy {

namespace {

constexpr std::size_t kMaxAcceptedSettings = 1024;
constexpr std::size_t kNameBytes = 63;     // PostgreSQL cuts application_name there (NAMEDATALEN - 1)
constexpr std::string_view kApplicationName = "application_name", kTagMark = " - ";
constexpr std::size_t kLongSecret = 32;   // of a cancel key since protocol 3.2, as in PostgreSQL 18

// What drivers look at as they connect.
constexpr std::pair<std::string_view, std::string_view> kConsoleParameters[] = {
    {"client_encoding", "UTF8"}, {"server_encoding", "UTF8"}, {"DateStyle", "ISO, MDY"}, {"TimeZone", "UTC"}, {"integer_datetimes", "on"},
    {"standard_conforming_strings", "on"}};

bool is_console(std::string_view database) { return database == "weir" || database == "pgbouncer"; }

bool contains(const std::vector<std::string>& names, std::string_view name) {
  return std::find(names.begin(), names.end(), name) != names.end();
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
      (database_ ? *database_->stats : worker_.proxy().stats().database(worker_.index(), "")).timed_out(Timeout::login);
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
  if (const bool ok = co_await authenticate(database); !ok) co_return false;
  if (!console_) {
    if (worker_.proxy().disabled().contains(database)) {
      fatal({sqlstate::kCannotConnectNow, concat("database \"", database, "\" does not allow connections"), "It was DISABLEd in Weir's console; ENABLE ends it."});
      co_return false;
    }
    if (!find_database(database)) co_return false;
    if (const bool ok = co_await enter_database(startup); !ok) co_return false;
    database_->stats->logins.add();
  }
  greet();
  logged_in_ = true;
  note_arrival();
  timer_.cancel();
  co_return true;
}

// ---- the database and the session's first settings ----

// One that the file names is found without a lock.
bool Session::find_database(const std::string& name) {
  database_ = worker_.database(name);
  if (database_ && !database_->removed && !database_->state->use) return true;
  database_ = nullptr;
  auto place = worker_.proxy().use_database(name);
  if (!place) {
    fatal(place.error());
    return false;
  }
  fallback_place_ = std::move(*place);
  database_ = worker_.newest_database(name);
  return database_ != nullptr;
}

Result<std::vector<Setting>> Session::startup_settings(const wire::Startup& startup) {
  std::vector<Setting> settings;
  Result<void> own;
  const auto add = [&](std::string_view name, std::string_view value) {
    if (ascii_lower(name).starts_with("weir.")) {
      if (auto started = start_own_setting(name, value); !started && own) own = std::move(started);
      return;
    }
    std::erase_if(settings, [&](const Setting& s) { return s.name == ascii_lower(name); });   // the last one counts
    const std::string* already = reported(*welcome_, name);
    if (already && ascii_lower(*already) == ascii_lower(value)) return;
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
  if (!own) return own.take_error();
  return settings;
}

net::Task<bool> Session::enter_database(const wire::Startup& startup) {
  if (!database_->router) {
    fatal({sqlstate::kCannotConnectNow, concat("database \"", database_->name, "\" is not ready: ", database_->state->catalog_problem),
           "Look at SHOW BACKENDS in the admin console, or run weir check --connect."});
    co_return false;
  }
  if (!choose_mode()) co_return false;
  auto place = worker_.proxy().client_places().enter(*database_->state->config, user_, database_->topology->settings->find_user(user_));
  if (!place) {
    fatal(place.error());
    co_return false;
  }
  place_ = std::move(*place);
  pools_ = &database_->pools_of(user_);
  ++pools_->sessions;
  // It may have brought what earlier ones had not: its pools are found again, and are told.
  Proxy& proxy = worker_.proxy();
  if (auto newest = proxy.authenticator().credentials_of(user_, proxy.asked_database(database_->name)); !(newest == pools_->credentials)) {
    pools_->credentials = std::move(newest);
    pools_->version = 0;
  }
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
    work_->decision = {};
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

// pool.tag_servers: with whom a server works is seen in pg_stat_activity. A client's own SET application_name comes before it.
std::string Session::tag_servers(std::string_view application_name) {
  std::string tag = concat(user_, "@", peer_.pid != 0 ? concat("unix(", std::to_string(peer_.pid), ")") : concat(peer_.address, ":", std::to_string(peer_.port)));
  const std::size_t room = kNameBytes - std::min(kNameBytes, tag.size() + kTagMark.size());   // the tag is worth more than the name's end
  if (!application_name.empty() && room > 0) tag = concat(application_name.substr(0, room), kTagMark, tag);
  std::vector<Setting> settings = settings_.current() ? settings_.current()->settings : std::vector<Setting>{};
  std::erase_if(settings, [](const Setting& s) { return s.name == kApplicationName; });
  settings.push_back(startup_setting(kApplicationName, tag));
  settings_.start(std::move(settings));
  return tag;
}

void Session::greet() {
  wire::write_authentication_ok(out_);
  if (console_) {
    wire::write_parameter_status(out_, "server_version", worker_.proxy().console_version());
    for (const auto& [name, value] : kConsoleParameters) wire::write_parameter_status(out_, name, value);
  } else {
    const auto accepted = settings_.current() ? pools_->accepted_settings.find(settings_.current()) : pools_->accepted_settings.end();
    for (const auto& [name, value] : welcome_->parameters) {
      std::string_view shown = value;
      if (accepted != pools_->accepted_settings.end())
        for (const auto& [changed, to] : accepted->second)
          if (changed == name) shown = to;
      if (name == kApplicationName && worker_.topology()->settings->pool.tag_servers)
        wire::write_parameter_status(out_, name, tag_servers(shown));
      else
        wire::write_parameter_status(out_, name, shown);
    }
  }
  key_ = worker_.proxy().make_key(worker_.index(), id_, protocol_minor_ >= 2 ? kLongSecret : wire::CancelKey::kMinSecret);
  wire::write_backend_key_data(out_, key_);
  wire::write_ready_for_query(out_, 'I');
  flush_client();
  welcome_.reset();
  if (out_.empty()) out_.release();   // statements need far less
  if (in_.empty()) in_.release();
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
    if (f.status == wire::FrameStatus::bad_length ||
        (!input_.empty() && kClientMessages.find(static_cast<char>(input_[0])) == std::string_view::npos)) {
      fatal({sqlstate::kProtocolViolation, "invalid frontend message type or length"});
      co_return;
    }
    if (f.status == wire::FrameStatus::incomplete) {
      if (const bool ok = co_await wait_for_bytes(); !ok) co_return;
      continue;
    }
    if (f.message.type == 'X') {
      said_goodbye_ = true;
      co_return;
    }
    state_ = State::active;
    last_request_ = worker_.loop().now();
    if (f.message.type == 'Q') {
      const auto sql = wire::read_query(f.message.body);
      const bool answered = co_await run_console_query(sql ? *sql : std::string_view{});
      if (!answered) co_return;
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

// False: the client has gone. The command runs to its end, but its answer must not be taken for that of what the client sent after it.
net::Task<bool> Session::run_console_query(std::string_view sql) {
  const bool may_change = contains(worker_.topology()->settings->admin.users, user_);
  worker_.proxy().run_console(std::string(sql), may_change, worker_.index(), id_);
  stash();
  while (!console_answer_) {
    if (client_eof_ || client_->hung_up()) co_return false;
    co_await waiter_.wait();
  }
  out_.append(console_answer_->view());
  console_answer_.reset();
  co_return true;
}

}  // namespace weir::proxy
