// What a server keeps of its client: asking it after statements that only the server can tell of, and pinning it while something is left.
#include <algorithm>

#include "base/log.hpp"
#include "base/strings.hpp"
#include "proxy/proxy.hpp"
#include "proxy/session.hpp"
#include "schema/quote.hpp"
#include "schema/setting_names.hpp"

namespace weir::proxy {

namespace {

// Custom settings are in no list of PostgreSQL 15's: they are asked for by name.
constexpr std::string_view kAskSettings =
    "SELECT 'set', s.name, s.setting FROM pg_catalog.pg_settings s WHERE s.source = 'session'"
    " UNION ALL SELECT 'session', 'session_authorization', session_user::text"
    " UNION ALL SELECT 'session', 'role', pg_catalog.current_setting('role')"
    " UNION ALL SELECT 'custom', n, pg_catalog.current_setting(n, true) FROM pg_catalog.unnest(ARRAY[";
constexpr std::string_view kAskSettingsEnd =
    "]::pg_catalog.text[]) n WHERE NOT EXISTS (SELECT FROM pg_catalog.pg_settings s WHERE pg_catalog.lower(s.name) = n)";
constexpr std::string_view kAskHolds =
    "SELECT 'holds', 'table', (pg_catalog.pg_my_temp_schema() <> 0 AND EXISTS (SELECT FROM pg_catalog.pg_depend"
    " WHERE refclassid = 'pg_catalog.pg_namespace'::pg_catalog.regclass AND refobjid = pg_catalog.pg_my_temp_schema()))::pg_catalog.text"
    " UNION ALL SELECT 'holds', 'lock', EXISTS (SELECT FROM pg_catalog.pg_locks"
    " WHERE locktype = 'advisory' AND pid = pg_catalog.pg_backend_pid())::pg_catalog.text"
    " UNION ALL SELECT 'holds', 'cursor', EXISTS (SELECT FROM pg_catalog.pg_cursors WHERE is_holdable)::pg_catalog.text"
    " UNION ALL SELECT 'channel', c, '' FROM pg_catalog.pg_listening_channels() c";

constexpr std::pair<Kept, std::string_view> kReasons[] = {
    {Kept::table, "temporary table"},   {Kept::lock, "advisory lock"},       {Kept::cursor, "cursor WITH HOLD"},
    {Kept::for_good, "session state"},   {Kept::sequence, "sequence value"},
    {Kept::session_mode, "session mode"}};

std::optional<Kept> kept_of(std::string_view name) {
  if (name == "table") return Kept::table;
  if (name == "lock") return Kept::lock;
  if (name == "cursor") return Kept::cursor;
  return std::nullopt;
}

}  // namespace

std::string KeptSet::reasons() const {
  std::string text;
  for (const auto& [kept, name] : kReasons)
    if (has(kept)) text += concat(text.empty() ? "" : ", ", name);
  return text;
}

// ---- what the batch may leave behind ----

void Session::note_effects() {
  const router::Effects& e = work_->decision.effects;
  tainted_ |= e.taints;
  if (mode_ == config::PoolMode::session) {
    pin_after_ = true;
    return;
  }
  pins_first_ = e.pins && !pin_after_;
  pin_after_ |= e.pins;
  soft_after_ |= e.soft;
  asks_.settings |= e.sets || e.opaque;
  asks_.holds |= e.holds || e.opaque || (e.releases && server_ == pinned_);
  if (!work_->decision.read_only && server_->sequences_of != id_) server_->sequences_of = 0;
  if (e.sets || e.opaque) note_setting_names();
}

// The names of settings that stand in the texts and parameters of such statements.
void Session::note_setting_names() {
  for (const Op& op : work_->ops) {
    if (!op.plan || !(op.plan->effects.sets || op.plan->effects.opaque)) continue;
    const ByteView body = input_.subspan(op.offset + wire::kHeader, op.size - wire::kHeader);
    if (op.prepared)
      for (const PreparedText::Use& use : op.prepared->uses)
        if (use.prepared) schema::find_setting_names(use.prepared->sql, work_->asked_names);
    if (op.type == 'Q') schema::find_setting_names(*wire::read_query(body), work_->asked_names);
    if (op.type == 'P') schema::find_setting_names(wire::read_parse(body)->query, work_->asked_names);
    if (op.type != 'B') continue;
    schema::find_setting_names(op.statement ? op.statement->sql : unnamed().sql, work_->asked_names);
    wire::for_each_parameter(*wire::read_bind(body), [&](std::size_t, const wire::BindParameter& p) {
      if (!p.is_null && schema::is_custom_setting_name(as_text(p.value))) work_->asked_names.push_back(ascii_lower(as_text(p.value)));
    });
  }
}

// ---- asking ----

bool Session::must_ask() const { return asks_.settings || asks_.holds; }

// Not said to a server that is kept for good: what it keeps is the client's anyway. One that does not answer is kept, too.
net::Task<> Session::ask_server() {
  const Asks asks = std::exchange(asks_, {});
  if (pin_after_ || (server_ == pinned_ && kept_.has(Kept::for_good))) {
    work_->asked_names.clear();
    co_return;
  }
  std::string sql;
  if (asks.settings) {
    std::vector<std::string> names = std::exchange(work_->asked_names, {});
    for (const std::string& name : database_->router->catalog().custom_settings()) names.push_back(name);
    if (settings_.current())
      for (const Setting& s : settings_.current()->settings)
        if (s.name.find('.') != std::string::npos) names.push_back(s.name);
    std::sort(names.begin(), names.end());
    names.erase(std::unique(names.begin(), names.end()), names.end());
    sql = kAskSettings;
    for (std::size_t i = 0; i < names.size(); ++i) sql += concat(i == 0 ? "" : ",", schema::quote_literal(names[i]));
    sql += kAskSettingsEnd;
  }
  if (asks.holds) sql += concat(sql.empty() ? "" : " UNION ALL ", kAskHolds);
  OwnRows rows;
  own_rows_ = &rows;
  auto asked = co_await run_own(sql);
  own_rows_ = nullptr;
  if (!asked) {
    log::warning(concat("client ", std::to_string(id_), " keeps its server, which did not tell its state: ", asked.error().message));
    pin_after_ = server_ != nullptr;
    co_return;
  }
  if (asks.settings) learn_settings(rows);
  if (!asks.holds) co_return;
  found_ = holds_in(rows);
  std::vector<std::string> channels;
  for (const auto& row : rows)
    if (row.size() == 3 && row[0] == "channel" && row[1]) channels.push_back(*row[1]);
  if (!channels.empty()) co_await take_over_channels(std::move(channels));
}

// The server's word on what is set is the session's state now. (Its transaction is over: there is nothing to undo.)
void Session::learn_settings(const OwnRows& rows) {
  std::vector<Setting> found;
  std::vector<Setting> last;   // under these the others could not be set
  const auto tracked = [this](std::string_view name) {
    return settings_.current() && std::any_of(settings_.current()->settings.begin(), settings_.current()->settings.end(),
                                              [&](const Setting& s) { return s.name == name; });
  };
  for (const auto& row : rows) {
    if (row.size() != 3 || !row[0] || !row[1] || !row[2]) continue;
    const std::string& name = *row[1];
    const std::string& value = *row[2];
    if (*row[0] == "set") {
      // Text behind it may be written in it.
      found.insert(name == "client_encoding" ? found.begin() : found.end(), startup_setting(name, value));
    } else if (*row[0] == "custom") {
      if (!value.empty() || tracked(name)) found.push_back(startup_setting(name, value));
    } else if (*row[0] == "session" && (name == "role" ? value != "none" : value != server_user_)) {
      last.push_back({name, concat(name == "role" ? "SET ROLE " : "SET SESSION AUTHORIZATION ", schema::quote_ident(value))});
    }
  }
  found.insert(found.end(), last.begin(), last.end());
  settings_.learn(std::move(found));
  server_->settings = settings_.current();
}

KeptSet Session::holds_in(const OwnRows& rows) {
  KeptSet found;
  for (const auto& row : rows) {
    if (row.size() != 3 || !row[0] || *row[0] != "holds" || !row[1] || !row[2] || *row[2] != "true") continue;
    if (const auto kept = kept_of(*row[1])) found.add(*kept);
  }
  return found;
}

// A row that answers a statement of the proxy's own.
void Session::take_own_row(ByteView body) {
  std::vector<std::optional<std::string>> row;
  const std::size_t columns = body.size() < 2 ? 0 : wire::load16(body.data());
  std::size_t at = 2;
  for (std::size_t i = 0; i < columns && at + 4 <= body.size(); ++i) {
    const std::uint32_t size = wire::load32(body.data() + at);
    at += 4;
    if (size == 0xffffffff || size > body.size() - at) {
      row.emplace_back(std::nullopt);
      continue;
    }
    row.emplace_back(std::string(as_text(body.subspan(at, size))));
    at += size;
  }
  own_rows_->push_back(std::move(row));
}

// ---- pins ----

// Does the batch need the right to keep a server, before it runs?
bool Session::needs_permit() const {
  return (work_->decision.effects.pins || work_->decision.effects.holds) && mode_ != config::PoolMode::session && !permit_;
}

std::optional<Error> Session::take_permit() {
  pool::Pool& pool = *server_->pool;
  if (has_permit(pool)) return std::nullopt;
  worker_.give_up_soft_pins(pool);
  if (has_permit(pool)) return std::nullopt;
  const unsigned limit = pool.pin_limit(worker_.topology()->settings->pool.max_pinned);
  Error error(sqlstate::kConfigurationLimit,
              concat("this statement would keep a server connection for this session, and ", std::to_string(limit),
                     " are kept already (", pool.name(), ")"),
              "pool.max_pinned bounds them; SHOW CLIENTS tells who keeps one and why.");
  worker_.for_each_session([&](Session& other) {
    if (other.pinned_ && other.permit_ == &pool && error.detail.size() < 500)
      error.detail += concat(error.detail.empty() ? "Kept by client " : ", client ", std::to_string(other.id_), " (", other.kept_.reasons(), ")");
  });
  return error;
}

void Session::return_permit() {
  set_soft(false);
  if (permit_) std::exchange(permit_, nullptr)->unpin();
}

// Would this session's pin be given up for somebody who waits?
void Session::set_soft(bool soft) {
  if (soft ? worker_.soft_pinned.insert(this).second : worker_.soft_pinned.erase(this) > 0) permit_->count_soft_pin(soft ? 1 : -1);
}

// Decides at the end of a transaction whether the server stays. True: it does.
bool Session::keep_server() {
  KeptSet next = server_ == pinned_ ? kept_ : KeptSet{};
  if (const auto found = std::exchange(found_, std::nullopt)) {
    next.remove_askable();
    next.add(*found);
  }
  if (std::exchange(pin_after_, false)) next.add(mode_ == config::PoolMode::session ? Kept::session_mode : Kept::for_good);
  if (std::exchange(soft_after_, false)) next.add(Kept::sequence);
  if (pinned_ && pinned_ != server_) {   // what this one holds cannot be kept, too
    tainted_ |= !next.empty() && !next.only(Kept::sequence);
    return false;
  }
  pool::Pool& pool = *server_->pool;
  if (next.only(Kept::sequence) && (pool.wanted() || !has_permit(pool))) next = {};
  if (next.empty()) {
    unpin();
    return false;
  }
  if (!next.has(Kept::session_mode) && !has_permit(pool)) {   // it holds something already: right comes before the limit
    pool.force_pin();
    permit_ = &pool;
  }
  kept_ = next;
  pinned_tainted_ |= std::exchange(tainted_, false);
  pinned_ = server_;
  pinned_shard_ = server_shard_;
  set_soft(kept_.only(Kept::sequence));
  return true;
}

bool Session::has_permit(pool::Pool& pool) {
  if (!permit_ && pool.try_pin(pool.pin_limit(worker_.topology()->settings->pool.max_pinned))) permit_ = &pool;
  return permit_ == &pool;
}

// Nothing is kept any more. The server is the caller's to give back.
pool::Server* Session::unpin() {
  return_permit();
  kept_ = {};
  tainted_ |= std::exchange(pinned_tainted_, false);
  return std::exchange(pinned_, nullptr);
}

// Somebody waits for a server of that pool: a sequence's last value is worth less than his statement.
void Session::give_up_soft_pin(const pool::Pool& pool) {
  if (!pinned_ || server_ || pinned_->pool != &pool || !kept_.only(Kept::sequence) || state_ != State::idle || in_transaction()) return;
  release_soft_pin();
}

// Not while it is the one in use.
void Session::release_soft_pin() {
  const bool unclean = std::exchange(pinned_tainted_, false);
  pool::Server* server = unpin();
  if (unclean) {
    server->socket->set_waiter(nullptr);
    server->pool->discard(server, pool::CloseReason::unclean);
  } else {
    server->pool->release(server, worker_.loop().now());
  }
}

}  // namespace weir::proxy
