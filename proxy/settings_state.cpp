#include "proxy/settings_state.hpp"

#include <algorithm>

namespace weir::proxy {

namespace {

std::mutex interner_mutex;
std::unordered_map<std::string, std::weak_ptr<const SettingsState>>& interned() {
  static std::unordered_map<std::string, std::weak_ptr<const SettingsState>> map;
  return map;
}

bool survives_reset_all(std::string_view name) { return name == "role" || name == "session_authorization"; }

// Of the settings that clients are known to differ in, those that no Parse looks at: their statements are shared.
bool changes_no_meaning(std::string_view name) {
  for (const std::string_view harmless : {"application_name", "extra_float_digits", "statement_timeout", "lock_timeout",
                                          "idle_in_transaction_session_timeout", "work_mem", "client_min_messages"})
    if (name == harmless) return true;
  return false;
}

std::string_view skip_blanks(std::string_view s) {
  const auto at = s.find_first_not_of(" \t\r\n");
  return at == std::string_view::npos ? std::string_view{} : s.substr(at);
}

std::string as_identifier(std::string_view literal_body) {
  std::string out = "\"";
  for (std::size_t i = 0; i < literal_body.size(); ++i) {
    if (literal_body[i] == '\'') ++i;   // '' inside a literal
    if (i < literal_body.size() && literal_body[i] == '"') out += '"';
    if (i < literal_body.size()) out += literal_body[i];
  }
  return out + '"';
}

// Where a string literal that opens at `at` closes.
std::size_t end_of_literal(std::string_view s, std::size_t at) {
  for (std::size_t i = at + 1; i < s.size(); ++i) {
    if (s[i] != '\'') continue;
    if (i + 1 < s.size() && s[i + 1] == '\'') {
      ++i;
      continue;
    }
    return i;
  }
  return s.size();
}

std::string quote_literals(std::string_view value) {
  std::string out;
  for (std::size_t i = 0; i < value.size(); ++i) {
    if (value[i] != '\'') {
      out += value[i];
      continue;
    }
    const std::size_t end = end_of_literal(value, i);
    out += as_identifier(value.substr(i + 1, end - i - 1));
    i = end;
  }
  return out;
}

}  // namespace

bool changes_reading(std::string_view name) {
  return name == "client_encoding" || name == "standard_conforming_strings" || name == "backslash_quote";
}

namespace {
constexpr std::string_view kSetConfig = "SELECT pg_catalog.set_config('";

std::string quote_literal(std::string_view value) {
  std::string out = value.find('\\') == std::string_view::npos ? "'" : "E'";
  for (const char c : value) {
    if (c == '\'' || c == '\\') out += c;
    out += c;
  }
  return out + "'";
}

std::string unquote_literal(std::string_view literal) {
  std::string out;
  const bool escaped = literal.starts_with("E");
  for (std::size_t i = escaped ? 2 : 1; i + 1 < literal.size(); ++i) {
    if (literal[i] == '\'' || (escaped && literal[i] == '\\')) ++i;
    out += literal[i];
  }
  return out;
}
}  // namespace

std::string set_config_statement(std::string_view name, std::string_view value, bool local) {
  return concat("SELECT pg_catalog.set_config(", quote_literal(name), ", ", quote_literal(value), local ? ", true)" : ", false)");
}

Setting startup_setting(std::string_view name, std::string_view value) { return {ascii_lower(name), set_config_statement(name, value, false)}; }

namespace {

std::string_view without_end(std::string_view statement) {
  while (!statement.empty() && (statement.back() == ';' || std::isspace(static_cast<unsigned char>(statement.back()))))
    statement.remove_suffix(1);
  return statement;
}

// What stands behind "name =" or "name TO".
std::string_view behind_assignment(std::string_view rest) {
  rest = skip_blanks(rest);
  if (rest.starts_with("=")) return skip_blanks(rest.substr(1));
  return rest.size() >= 2 ? skip_blanks(rest.substr(2)) : std::string_view{};
}

// SET [SESSION | LOCAL] SCHEMA: where the keyword ends; npos: it is another SET.
std::size_t end_of_set_schema(std::string_view lower) {
  std::size_t at = 0;
  const auto take = [&](std::string_view word) {
    at = std::min(lower.find_first_not_of(" \t\r\n", at), lower.size());
    if (!lower.substr(at).starts_with(word)) return false;
    at += word.size();
    return true;
  };
  if (!take("set")) return std::string_view::npos;
  if (!take("session ")) take("local ");
  return take("schema") ? at : std::string_view::npos;
}

// The value argument of set_config_statement().
std::string value_of_set_config(std::string_view statement) {
  const std::size_t from = statement.find("', ") + 3;
  return unquote_literal(statement.substr(from, statement.rfind(", ") - from));
}

}  // namespace

bool is_plainly_written(std::string_view set_statement) {
  if (set_statement.starts_with(kSetConfig)) return true;
  const std::string lower = ascii_lower(set_statement);
  if (lower.find("--") != std::string::npos || lower.find("/*") != std::string::npos || lower.find("&'") != std::string::npos) return false;
  for (std::size_t at = lower.find('$'); at != std::string::npos; at = lower.find('$', at + 1))
    if (lower.compare(at, 5, "$user") != 0) return false;
  for (std::size_t at = lower.find('\''); at != std::string::npos; at = lower.find('\'', at + 1))
    if (at > 0 && (std::isalpha(static_cast<unsigned char>(lower[at - 1])) != 0)) {
      // A letter before a quote: E'', B'' and the like where the literal opens, part of its text where it closes.
      const bool opens = std::count(lower.begin(), lower.begin() + static_cast<std::ptrdiff_t>(at), '\'') % 2 == 0;
      if (opens) return false;
    }
  return true;
}

std::string value_of(std::string_view set_statement) {
  if (set_statement.starts_with(kSetConfig)) return ascii_lower(value_of_set_config(set_statement));
  const std::string lower = ascii_lower(without_end(set_statement));
  std::size_t at = lower.find('=');
  const std::size_t to = lower.find(" to ");
  if (at == std::string::npos || to < at) at = to == std::string::npos ? at : to + 3;
  if (at == std::string::npos) return {};
  std::string_view value = skip_blanks(std::string_view(lower).substr(at + 1));
  if (value.size() >= 2 && value.front() == '\'' && value.back() == '\'') value = value.substr(1, value.size() - 2);
  return std::string(value);
}

std::string search_path_of(std::string_view set_statement) {
  if (set_statement.starts_with(kSetConfig)) return value_of_set_config(set_statement);
  set_statement = without_end(set_statement);
  const std::string lower = ascii_lower(set_statement);
  if (const std::size_t end = end_of_set_schema(lower); end != std::string::npos)
    return quote_literals(skip_blanks(set_statement.substr(end)));
  std::size_t at = lower.find("search_path");
  if (at == std::string::npos) return {};
  at += std::string_view("search_path").size();
  if (at < lower.size() && lower[at] == '"') ++at;
  return quote_literals(behind_assignment(set_statement.substr(at)));
}

SettingsRef intern_settings(std::vector<Setting> settings) {
  if (settings.empty()) return nullptr;
  std::string replay;
  for (const auto& s : settings) replay += concat(s.sql, "\n;");   // the text may end in a line comment
  std::lock_guard lock(interner_mutex);
  auto& map = interned();
  if (auto it = map.find(replay); it != map.end())
    if (auto known = it->second.lock()) return known;
  if (map.size() > 1024) std::erase_if(map, [](const auto& e) { return e.second.expired(); });
  auto state = std::make_shared<SettingsState>();
  for (const auto& s : settings) {
    if (survives_reset_all(s.name)) state->needs_discard = true;
    if (s.name == "search_path") state->search_path = search_path_of(s.sql);
    if (s.name == "search_path" && state->search_path.empty()) state->search_path = "\"\"";   // set, and empty
    state->changes_reading |= changes_reading(s.name);
    state->plain &= is_ascii(s.sql) && s.sql.find('\\') == std::string::npos;
    if (!changes_no_meaning(s.name)) state->meaning += concat(s.sql, "\n;");
  }
  state->settings = std::move(settings);
  state->replay = replay;
  map[std::move(replay)] = state;
  return state;
}

bool is_ascii(std::string_view text) {
  return std::all_of(text.begin(), text.end(), [](char c) { return static_cast<unsigned char>(c) < 0x80; });
}

SettingsRef unknown_settings() {
  static const SettingsRef unknown = [] {
    auto state = std::make_shared<SettingsState>();
    state->needs_discard = state->changes_reading = true;
    return state;
  }();
  return unknown;
}

// In its parts, so that nothing is put together anew for each batch.
std::array<std::string_view, 6> settings_query(const SettingsState* has, const SettingsState* wanted, bool sequences) {
  return {"BEGIN;",
          has && has->needs_discard ? "RESET SESSION AUTHORIZATION;RESET ROLE;" : "",   // RESET ALL leaves them
          has && has != wanted ? "RESET ALL;" : "",
          wanted && has != wanted ? std::string_view(wanted->replay) : "",
          sequences ? "DISCARD SEQUENCES;" : "",
          "COMMIT"};
}

bool fit_one_query(const SettingsState* has, const SettingsState* wanted) {
  return !wanted || wanted == has || wanted->plain || !(wanted->changes_reading || (has && has->changes_reading));
}

Error settings_refused(Error error) {
  error.message = concat("this session's settings could not be applied to a server: ", error.message);
  if (error.hint.empty()) error.hint = "DISCARD ALL gives the settings up.";
  return error;
}

void SessionSettings::start(std::vector<Setting> startup) {
  startup_ = committed_ = current_ = intern_settings(std::move(startup));
  savepoints_.clear();
}

void SessionSettings::discard_all() {
  committed_ = current_ = startup_;
  savepoints_.clear();
  locals_.clear();
  if (!route_) return;
  route_->reset_all();
  route_->commit();
}

// It is made where it is first needed: the savepoints that there are already belong to it, too.
RouteSettings& SessionSettings::make_route() {
  if (route_) return *route_;
  route_ = std::make_unique<RouteSettings>();
  for (const Savepoint& s : savepoints_) route_->savepoint(s.name);
  return *route_;
}

namespace {

// What a SET or RESET of `name` makes void. A new session authorization ends the role that was set under the old one.
void forget(std::vector<Setting>& settings, std::string_view name) {
  std::erase_if(settings, [&](const Setting& s) { return s.name == name || (name == "session_authorization" && s.name == "role"); });
}

std::string_view path_of(const SettingsRef& state) { return state ? std::string_view(state->search_path) : std::string_view(); }

std::string text_rules_of(const SettingsRef& state) {
  std::string rules;
  if (state)
    for (const Setting& s : state->settings)
      if (s.name != "search_path" && router::changes_routing(s.name)) rules += concat(s.sql, ";");
  return rules;
}

bool differ(const SettingsRef& a, const SettingsRef& b, SessionSettings::Reads what) {
  if (a == b) return false;
  return path_of(a) != path_of(b) || (what == SessionSettings::Reads::text && text_rules_of(a) != text_rules_of(b));
}

}  // namespace

std::string_view SessionSettings::startup_path() const { return path_of(startup_); }

bool SessionSettings::reset_changes(Reads what) const { return route_ || differ(startup_, reading(), what); }

bool SessionSettings::end_changes(Reads what) const { return route_ || differ(committed_, reading(), what); }

bool SessionSettings::savepoints_change(Reads what) const {
  return route_ || std::any_of(savepoints_.begin(), savepoints_.end(), [&](const Savepoint& s) { return differ(s.reading, reading(), what); });
}

void SessionSettings::set(std::string name, std::string sql) {
  std::vector<Setting> next = current_ ? current_->settings : std::vector<Setting>{};
  forget(next, name);
  forget_local(name);
  next.push_back({std::move(name), std::move(sql)});
  current_ = intern_settings(std::move(next));
  merge_locals();
}

void SessionSettings::set_local(std::string_view name, std::string sql) {
  if (!router::changes_routing(name)) return;
  forget_local(name);
  locals_.push_back({std::string(name), std::move(sql)});
  merge_locals();
}

void SessionSettings::forget_local(std::string_view name) {
  std::erase_if(locals_, [&](const Setting& s) { return s.name == name; });
}

void SessionSettings::merge_locals() {
  if (locals_.empty()) return;
  std::vector<Setting> all = current_ ? current_->settings : std::vector<Setting>{};
  for (const Setting& local : locals_) {
    forget(all, local.name);
    all.push_back(local);
  }
  reading_ = intern_settings(std::move(all));
}

void SessionSettings::learn(std::vector<Setting> settings) {
  committed_ = current_ = intern_settings(std::move(settings));
  savepoints_.clear();
  locals_.clear();
}

std::string SessionSettings::reset(std::string_view name) {
  std::vector<Setting> next = current_ ? current_->settings : std::vector<Setting>{};
  forget(next, name);
  forget_local(name);
  std::string lost;
  if (startup_)
    for (const auto& s : startup_->settings)
      if (s.name == name) {
        next.push_back(s);
        lost = s.sql;
      }
  current_ = intern_settings(std::move(next));
  merge_locals();
  return lost;
}

std::string SessionSettings::reset_all() {
  std::vector<Setting> next;
  std::string lost;
  locals_.clear();
  if (current_)
    for (const auto& s : current_->settings)
      if (survives_reset_all(s.name)) next.push_back(s);
  if (startup_)
    for (const auto& s : startup_->settings)
      if (!survives_reset_all(s.name)) {
        next.push_back(s);
        lost += concat(s.sql, "\n;");
      }
  current_ = intern_settings(std::move(next));
  if (route_) route_->reset_all();
  return lost;
}

void SessionSettings::savepoint(std::string name) {
  if (route_) route_->savepoint(name);
  savepoints_.push_back({std::move(name), current_, locals_, reading()});
}

std::vector<SessionSettings::Savepoint>::iterator SessionSettings::find_savepoint(std::string_view name) {
  const auto newest = std::find_if(savepoints_.rbegin(), savepoints_.rend(), [&](const auto& s) { return s.name == name; });
  return newest == savepoints_.rend() ? savepoints_.end() : std::prev(newest.base());
}

void SessionSettings::release(std::string_view name) {
  if (route_) route_->release(name);
  savepoints_.erase(find_savepoint(name), savepoints_.end());
}

void SessionSettings::rollback_to(std::string_view name) {
  if (route_) route_->rollback_to(name);
  const auto it = find_savepoint(name);
  if (it == savepoints_.end()) return;
  current_ = it->state;
  locals_ = it->locals;
  reading_ = it->reading;
  savepoints_.erase(std::next(it), savepoints_.end());   // the savepoint itself stays
}

bool SessionSettings::has_savepoint(std::string_view name) const {
  return std::any_of(savepoints_.begin(), savepoints_.end(), [&](const Savepoint& s) { return s.name == name; });
}

void SessionSettings::commit() {
  committed_ = current_;
  savepoints_.clear();
  locals_.clear();
  if (route_) route_->commit();
}

void SessionSettings::rollback() {
  current_ = committed_;
  savepoints_.clear();
  locals_.clear();
  if (route_) route_->rollback();
}

}  // namespace weir::proxy
