// What a session tells of itself: counters, the lines of its coming and going, slow queries.
#include "base/log.hpp"
#include "base/strings.hpp"
#include "proxy/proxy.hpp"
#include "router/redact.hpp"
#include "proxy/session.hpp"

namespace weir::proxy {

namespace {

constexpr std::size_t kLoggedText = 2000;   // of a slow query
constexpr std::size_t kLoggedName = 128;    // of what a client says of itself

std::string milliseconds(Duration d) {
  const auto us = std::chrono::duration_cast<std::chrono::microseconds>(d).count();
  std::string fraction = std::to_string(us % 1000);
  fraction.insert(0, 3 - fraction.size(), '0');
  return concat(std::to_string(us / 1000), ".", fraction);
}

std::string age_seconds(Duration d) { return std::to_string(std::chrono::duration_cast<std::chrono::seconds>(d).count()); }

// Is it how a timeout sends a client away? (session_timeouts.cpp counts them.)
bool is_timeout(std::string_view c) { return c == "25P03" || c == "25P04" || c == "57P05" || c == "57014"; }

// What the SQLSTATE of the last words says about why a client went.
Departure departure_of(const SqlState& code) {
  const std::string_view c = code.view();
  if (c == sqlstate::kAdminShutdown.view()) return Departure::admin;
  if (is_timeout(c)) return Departure::timeout;
  if (c == sqlstate::kProtocolViolation.view()) return Departure::protocol_violation;
  if (c == sqlstate::kConnectionFailure.view() || c == sqlstate::kTransactionResolutionUnknown.view() || c.starts_with("57P"))
    return Departure::server_lost;
  if (c.starts_with("53")) return Departure::refused;
  return Departure::other;
}

}  // namespace

ClientState Session::client_state() const {
  switch (state_) {
    case State::login: return ClientState::login;
    case State::idle: return in_transaction() ? ClientState::idle_in_transaction : ClientState::idle;
    case State::active: return ClientState::active;
    case State::waiting: return ClientState::waiting;
    case State::closing: return ClientState::closing;
  }
  return ClientState::closing;
}

const pool::Backend* Session::pinned_backend() const { return pinned_ ? &pinned_->pool->backend() : nullptr; }

// The first fatal error is why the session ends; what goes wrong after it is not.
void Session::note_last_words(const Error& error) {
  if (last_words_.empty()) {
    last_words_ = error.message;
    last_words_code_ = error.code;
  }
}

void Session::note_arrival() {
  if (!worker_.topology()->settings->log.connections || !log::enabled(log::Level::info)) return;
  log::info("client connected", {{"user", user_},
                                 {"database", database_ ? std::string_view(database_->name) : "weir (console)"},
                                 {"application", std::string_view(application_name_).substr(0, kLoggedName)},
                                 {"address", peer_.address},
                                 {"port", std::to_string(peer_.port)},
                                 {"tls", tls_ ? "on" : "off"},
                                 {"client", std::to_string(id_)}});
}

void Session::note_departure() {
  const bool spoke = !last_words_.empty();
  const Departure why = spoke           ? logged_in_ ? departure_of(last_words_code_) : Departure::login_failed
                        : said_goodbye_ ? Departure::client_closed
                                        : Departure::client_lost;
  DatabaseStats& cells = database_ ? *database_->stats : worker_.proxy().stats().database(worker_.index(), "");
  cells.departures[static_cast<std::size_t>(why)].add();
  // Who never logged in and was told nothing: a cancel request, a health check, a port scan.
  const log::Level level = logged_in_ || spoke ? log::Level::info : log::Level::debug;
  if (!worker_.topology()->settings->log.disconnections || !log::enabled(level)) return;
  // Named: a field is a view, and what an array's initializer makes is gone at its semicolon.
  const std::string port = std::to_string(peer_.port);
  const std::string age = age_seconds(worker_.loop().now() - connected_);
  const std::string client = std::to_string(id_);
  const log::Field fields[] = {{"user", std::string_view(user_).substr(0, kLoggedName)},
                               {"database", database_ ? std::string_view(database_->name) : ""},
                               {"address", peer_.address},
                               {"port", port},
                               {"reason", kDepartureNames[static_cast<std::size_t>(why)]},
                               {"detail", spoke ? std::string_view(last_words_) : ""},
                               {"age_s", age},
                               {"client", client}};
  log::write(level, logged_in_ ? "client disconnected" : "client not let in", fields);
}

// The text of the statement whose reply has come; empty where it is gone (COPY data took its place).
std::string_view Session::text_of_batch() const {
  for (const Op& op : work_->ops) {
    if (op.offset + op.size > scanned_) return {};
    if (const std::string_view text = text_sent(op); !text.empty()) return text;
  }
  return {};
}

// What a Query, Parse or Bind of the batch runs.
std::string_view Session::text_sent(const Op& op) const {
  const ByteView body = input_.subspan(op.offset + wire::kHeader, op.size - wire::kHeader);
  if (op.type == 'Q')
    if (const auto sql = wire::read_query(body)) return *sql;
  if (op.type == 'P')
    if (const auto parse = wire::read_parse(body)) return parse->query;
  if (op.type == 'B') return op.statement ? std::string_view(op.statement->sql) : std::string_view(unnamed().sql);
  return {};
}

void Session::note_query(Duration took) {
  traffic_->queries.observe(took);
  if (took >= worker_.slow_query()) [[unlikely]] note_slow_query(took);
}

void Session::note_slow_query(Duration took) {
  if (!log::enabled(log::Level::warning)) return;
  const auto kept_silent = worker_.may_log_slow_query();
  if (!kept_silent) return;
  const std::string text = router::redacted(text_of_batch(), kLoggedText);
  log::warning("slow query", {{"duration_ms", milliseconds(took)},
                              {"database", database_->name},
                              {"user", user_},
                              {"shard", server_ ? shard_name(server_shard_) : "several"},
                              {"server", server_ ? concat(server_->pool->backend().host(), ":", server_->pool->backend().port()) : ""},
                              {"server_pid", server_ ? std::to_string(server_->backend_pid) : ""},
                              {"client", std::to_string(id_)},
                              {"text", text},
                              {"others_not_logged", std::to_string(*kept_silent)}});
}

}  // namespace weir::proxy
