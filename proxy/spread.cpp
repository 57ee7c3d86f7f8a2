// The servers of a transaction over shards: who is enlisted, and what each is told first.
#include "proxy/spread.hpp"

#include <algorithm>
#include <utility>

#include "base/strings.hpp"
#include "proxy/proxy.hpp"
#include "proxy/recovery.hpp"

namespace weir::proxy {

Spread::~Spread() {
  for (ScatterLink& link : links_) {
    if (link.kept()) continue;   // the session's own, which closes it
    link.server().socket->set_waiter(nullptr);
    link.server().pool->discard(&link.server(), pool::CloseReason::unclean);
  }
}

ScatterLink* Spread::find(schema::ShardId shard) {
  for (ScatterLink& link : links_)
    if (link.shard() == shard) return &link;
  return nullptr;
}

bool Spread::has_lost() const {
  return std::any_of(links_.begin(), links_.end(), [](const ScatterLink& link) { return link.lost(); });
}

void Spread::adopt() {
  pool::Server& server = *std::exchange(s_.server_, nullptr);
  ScatterLink& link = links_.emplace_back(server, s_.server_shard_, s_.worker_.traffic(server.pool->backend()), &server == s_.pinned_);
  link.enlisted = true;
  if (s_.transaction_wrote_ || s_.sequence_wrote_) writers_before_ = link.first_write = ++writers_;   // perhaps behind a savepoint; it counts all the same
  if (s_.transaction_notified_) notifier_ = notifier_before_ = &link;
  link.left = {std::exchange(s_.tainted_, false), std::exchange(s_.soft_after_, false), std::exchange(s_.pin_after_, false),
               std::exchange(s_.asks_.settings, false), std::exchange(s_.asks_.holds, false)};
  if (const std::string lost = std::exchange(s_.work_->lost_by_reset, {}); !lost.empty()) {
    wire::write_query(link.out(), lost);
    link.owe(ScatterLink::Step::begin);
  }
  if (s_.transaction_ != Session::Transaction::failed) bound_waiting(link);
}

void Spread::enlist(ScatterLink&& moved) {
  ScatterLink& link = links_.emplace_back(std::move(moved));
  link.enlisted = true;
  wire::write_query(link.out(), concat(begin_text(), ";", waiting_text()));
  link.owe(ScatterLink::Step::begin);
  link.server().unnamed_statement = 0;
}

// As Session::send_held_begin(): a BEGIN with options may fail before there is a transaction, so a plain one goes before it.
std::string Spread::begin_text() const {
  std::string sql = "BEGIN";
  for (const std::string& statement : s_.work_->held) {
    if (&statement == &s_.work_->held.front() && ascii_lower(statement) == "begin") continue;
    sql += concat("\n;", statement);
  }
  return sql + "\n";
}

// Not where the client, its role or its database bounds it.
std::string Spread::waiting_text() const {
  const auto timeout = s_.database_->state->config->sharding->multi_shard_lock_timeout.count();
  if (timeout == 0) return {};
  const auto speaks_of_it = [](const std::string& sql) { return ascii_lower(sql).find("lock_timeout") != std::string::npos; };
  if (std::any_of(s_.work_->held.begin(), s_.work_->held.end(), speaks_of_it)) return {};
  if (s_.settings_.current())
    for (const Setting& setting : s_.settings_.current()->settings)
      if (setting.name == "lock_timeout") return {};
  return concat("SELECT pg_catalog.set_config('lock_timeout', '", std::to_string(timeout),
                "', true) WHERE pg_catalog.current_setting('lock_timeout') OPERATOR(pg_catalog.=) '0'");
}

void Spread::bound_waiting(ScatterLink& link) {
  const std::string sql = waiting_text();
  if (sql.empty()) return;
  wire::write_query(link.out(), sql);
  link.owe(ScatterLink::Step::begin);
  link.server().unnamed_statement = 0;
}

Result<void> Spread::about_to_write(ScatterLink& link) {
  if (link.first_write != 0) return Result<void>{};
  const std::string& database = s_.database_->name;
  Recovery& recovery = s_.worker_.proxy().recovery();
  if (writers_ > 0) {
    const std::string shard(s_.shard_name(link.shard()));
    if (!recovery.can_prepare(database, shard))
      return Error(sqlstate::kFeatureNotSupported,
                   concat("a transaction cannot write to a second shard: max_prepared_transactions is 0 on shard ", shard),
                   "Set max_prepared_transactions there (at least the number of server connections) and restart PostgreSQL.");
    if (recovery.cluster(database).empty())
      return Error(sqlstate::kCannotConnectNow, "a transaction cannot write to a second shard yet: no shard has told the uuid of this installation",
                   "Try again in a few seconds; `weirctl init -c weir.toml` must have been run, and [[database]] maintenance must be able to log in.");
  }
  link.first_write = ++writers_;
  return Result<void>{};
}

Result<void> Spread::about_to_notify(ScatterLink& link) {
  if (notifier_ && notifier_ != &link)
    return Error(sqlstate::kFeatureNotSupported,
                 concat("a transaction cannot notify on shard ", s_.shard_name(link.shard()), ", too: it has on shard ", s_.shard_name(notifier_->shard()),
                        ", and PostgreSQL cannot prepare a transaction that has executed NOTIFY"),
                 "Send NOTIFY as a statement of its own, which runs on the transaction's first shard, or in a transaction for each shard.");
  notifier_ = &link;
  return Result<void>{};
}

void Spread::released(std::string_view name) {
  const auto named = [&](const auto& savepoint) { return savepoint.name == name; };
  const auto found = std::find_if(savepoints_.rbegin(), savepoints_.rend(), named);
  savepoints_.erase(found == savepoints_.rend() ? savepoints_.begin() : std::prev(found.base()), savepoints_.end());
}

void Spread::rolled_back_to(std::string_view name) {
  unsigned writers = writers_before_;   // of a savepoint from before it began
  notifier_ = notifier_before_;
  while (!savepoints_.empty() && savepoints_.back().name != name) savepoints_.pop_back();
  if (!savepoints_.empty()) {
    writers = savepoints_.back().writers;
    notifier_ = savepoints_.back().notifier;
  }
  for (ScatterLink& link : links_)
    if (link.first_write > writers) link.first_write = 0;
  writers_ = writers;
}

}  // namespace weir::proxy
