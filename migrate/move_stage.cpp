#include "migrate/move_stage.hpp"

#include <unistd.h>

#include <algorithm>
#include <pqxx/except>

#include "config/load.hpp"
#include "migrate/partitions.hpp"
#include "migrate/session.hpp"
#include "router/client/catalog_loader.hpp"
#include "router/client/identity_check.hpp"
#include "schema/bucket_map.hpp"

namespace weir::migrate {

namespace {

using client::ServerConnection;

constexpr Deadline kPatient = Deadline::never();
constexpr auto kLogin = std::chrono::seconds(15);
// "weir" in ASCII; 2 is the partition job's, which must not make months while rows move.
constexpr const char* kMoveLock =
    "SELECT pg_try_advisory_lock(x'77656972'::int, 3) AND pg_try_advisory_lock(x'77656972'::int, 2)";

std::string text_of(const ServerConnection::Row& row, std::size_t i) { return row.at(i).value_or(""); }

std::shared_ptr<const schema::Catalog> catalog_of(const config::Database& database, ServerConnection& connection) {
  connection.query("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY", kPatient);
  auto catalog = client::load_catalog(
      database, [&connection](std::string_view sql) { return connection.query(std::string(sql), kPatient); });
  connection.query("COMMIT", kPatient);
  return catalog;
}

std::vector<bool> flags_of(const std::vector<config::BucketRange>& ranges, std::uint32_t buckets) {
  std::vector<bool> flags(buckets, false);
  for (const auto& range : ranges)
    for (std::uint32_t b = range.first; b <= range.last; ++b) flags[b] = true;
  return flags;
}

std::vector<config::BucketRange> ranges_of(const std::vector<bool>& flags) {
  std::vector<config::BucketRange> ranges;
  for (std::uint32_t b = 0; b < flags.size(); ++b) {
    if (!flags[b]) continue;
    if (!ranges.empty() && ranges.back().last + 1 == b)
      ranges.back().last = b;
    else
      ranges.push_back({b, b});
  }
  return ranges;
}

}  // namespace

MoveStage::MoveStage(const MoveOptions& options, const std::string& database, const std::string& from,
                     const std::string& to, const std::string& buckets, std::ostream& out)
    : out_(out), options_(options), settings_(load_settings(options.config_file)) {
  old_text_ = read_file(settings_.file);
  database_ = &one_database(settings_, database);
  if (!database_->sharding) throw Failure("database " + database_->name + " is not sharded: it has no buckets to move");
  if (from == to) throw Failure("source and target are both shard " + from);
  static_cast<void>(shard(from));
  static_cast<void>(shard(to));
  auto ranges = config::parse_bucket_ranges(buckets, database_->sharding->buckets);
  if (const auto* mistake = std::get_if<std::string>(&ranges)) throw Failure("--buckets: " + *mistake);
  buckets_ = std::get<std::vector<config::BucketRange>>(std::move(ranges));
  if (buckets_.empty()) throw Failure("--buckets names no bucket");
  const std::uint64_t version = database_->sharding->map_version;
  journal_ = {database_->name, from, to,   config::format_bucket_ranges(buckets_), version, version + 1,
              false,           {},   false};
  for (const auto& each : database_->shards) shards_.push_back(connect(each));
}

const config::Shard& MoveStage::shard(const std::string& name) const {
  for (const auto& each : database_->shards)
    if (each.name == name) return each;
  throw Failure("database " + database_->name + " has no shard \"" + name + "\" in " + settings_.file);
}

MoveStage::Connection MoveStage::connect(const config::Shard& shard) const {
  try {
    auto connection = std::make_unique<ServerConnection>(maintenance_conninfo(*database_, shard.primary),
                                                         Deadline::after(Clock::now(), kLogin));
    if (text_of(connection->query("SELECT pg_is_in_recovery()", kPatient).at(0), 0) == "t")
      throw Failure("shard " + shard.name + ": its primary is in recovery");
    return connection;
  } catch (const pqxx::failure& e) {
    throw Failure("shard " + shard.name + ": " + e.what());
  }
}

MoveStage::Connection MoveStage::open_for_rows(const config::Shard& shard) const {
  auto connection = connect(shard);
  prepare_session(*connection);
  if (scope_.needs_replica_role) quiet_triggers(*connection, shard.name);
  return connection;
}

void MoveStage::take_locks() {
  if (text_of(shards_.front()->query(kMoveLock, kPatient).at(0), 0) == "t") return;
  throw Failure(
      "another move of buckets, or a partition job, is under way on database " + database_->name + "; try again later",
      kBusy);
}

void MoveStage::require_identities() {
  for (std::size_t i = 0; i < shards_.size(); ++i) {
    const auto found = client::read_identity(*shards_[i], kPatient);
    const auto verdict = schema::check_identity(*database_, database_->shards[i].name, found);
    if (!verdict) throw Failure(verdict.error().message + " (" + verdict.error().hint + ")");
  }
}

void MoveStage::examine() {
  auto source = connect(shard(journal_.from));
  auto target = connect(shard(journal_.to));
  const auto source_catalog = catalog_of(*database_, *source);
  const auto target_catalog = catalog_of(*database_, *target);
  scope_ = scope_of(*database_, buckets_, journal_.from, *source_catalog, journal_.to, *target_catalog, *source);
  source_ = open_for_rows(shard(journal_.from));
  target_ = open_for_rows(shard(journal_.to));
}

void MoveStage::require_source_holds_buckets() {
  const auto held = flags_of(shard(journal_.from).buckets, database_->sharding->buckets);
  for (const auto& range : buckets_)
    for (std::uint32_t b = range.first; b <= range.last; ++b)
      if (!held[b])
        throw Failure("shard " + journal_.from + " does not hold bucket " + std::to_string(b) + " (it holds " +
                      config::format_bucket_ranges(shard(journal_.from).buckets) + ")");
}

void MoveStage::compare_partitions() {
  months_.clear();
  for (const auto& table : scope_.tables) {
    const auto there = partitions_of(*target_, table);
    for (const auto& partition : partitions_of(*source_, table)) {
      if (std::binary_search(there.begin(), there.end(), partition)) continue;
      const auto month = table.rule->month
                             ? schema::month_of_partition(table.rule->name, partition.substr(0, partition.find(' ')))
                             : std::nullopt;
      if (month)
        months_.emplace_back(&table, *month);
      else
        scope_.refusals.push_back("shard " + journal_.to + " lacks partition " + partition + " of " + table.name +
                                  ", which shard " + journal_.from + " has: create it there");
    }
  }
}

void MoveStage::require_empty_target() {
  for (const auto& table : scope_.tables) {
    const Checksum there = checksum_of(*target_, table);
    if (!there.empty())
      scope_.refusals.push_back("shard " + journal_.to + " has " + there.rows + " rows of these buckets in " +
                                table.name + " already, though the map says they are on " + journal_.from +
                                ": look at them, then delete them there");
  }
}

void MoveStage::print_plan() {
  require_empty_target();
  out_ << "move buckets " << journal_.buckets << " of database " << database_->name << " from shard " << journal_.from
       << " to shard " << journal_.to << ", map version " << journal_.old_version << " -> " << journal_.new_version
       << "\n";
  for (const auto& table : scope_.tables)
    out_ << "  " << table.name << ": " << checksum_of(*source_, table).rows << " rows\n";
  for (const auto& [table, month] : months_)
    out_ << "  make " << schema::partition_name(table->rule->name, month) << " on " << journal_.to << "\n";
  if (scope_.needs_replica_role)
    out_ << "  triggers and foreign keys stay quiet (session_replication_role = replica)\n";
  for (const auto& refusal : scope_.refusals) out_ << "  REFUSED: " << refusal << "\n";
}

MapEdit MoveStage::edit() const {
  const std::uint32_t count = database_->sharding->buckets;
  const auto moved = flags_of(buckets_, count);
  auto from = flags_of(shard(journal_.from).buckets, count);
  auto to = flags_of(shard(journal_.to).buckets, count);
  for (std::uint32_t b = 0; b < count; ++b) {
    from[b] = from[b] && !moved[b];
    to[b] = to[b] || moved[b];
  }
  return {database_->name, {{journal_.from, ranges_of(from)}, {journal_.to, ranges_of(to)}}, journal_.new_version};
}

void MoveStage::prepare_configuration() {
  auto text = edit_map(old_text_, edit());
  if (!text) throw Failure(text.error().message + " in " + settings_.file + " (" + text.error().hint + ")");
  new_text_ = std::move(text).value();
  const std::string path = settings_.file + ".move-check";  // beside it: relative paths mean the same
  write_beside(settings_.file, path, new_text_);
  try {
    check_edit(path);
  } catch (...) {
    ::unlink(path.c_str());
    throw;
  }
  ::unlink(path.c_str());
}

// The edit is by lines; what it means is read back by the configuration's own reader.
void MoveStage::check_edit(const std::string& path) const {
  const config::Settings after = load_settings(path);
  const config::Database& database = one_database(after, database_->name);
  bool right = database.sharding && database.sharding->map_version == journal_.new_version &&
               database.shards.size() == database_->shards.size();
  for (std::size_t i = 0; right && i < database.shards.size(); ++i) {
    auto wanted = database_->shards[i].buckets;
    for (const auto& changed : edit().shards)
      if (changed.name == database.shards[i].name) wanted = changed.buckets;
    right = database.shards[i].name == database_->shards[i].name &&
            database.shards[i].primary == database_->shards[i].primary && database.shards[i].buckets == wanted;
  }
  if (!right || !schema::BucketMap::from(database))
    throw Failure("the edited " + settings_.file +
                  " would not say what it should; write it as in docs/configuration.md");
}

void MoveStage::make_months() {
  if (months_.empty()) return;
  Session session(*database_, journal_.to, shard(journal_.to).primary);
  for (const auto& [table, month] : months_) make_month(session, *table->rule, month, std::chrono::minutes(2), out_);
  compare_partitions();
  if (!months_.empty() || !scope_.refusals.empty())
    throw Failure("shard " + journal_.to + " still lacks partitions that " + journal_.from + " has (other bounds?)");
}

void MoveStage::lock_source() {
  begin_source(*source_, scope_.tables, options_.lock_timeout);
  out_ << "locked the tables of " << journal_.from << " against writers\n";
}

// Whatever is there of these buckets from now on is ours, and may be taken away again.
void MoveStage::lock_empty_target() {
  begin_locked(*target_, "READ COMMITTED", scope_.tables, options_.lock_timeout);
  for (const auto& table : scope_.tables)
    if (!checksum_of(*target_, table).empty())
      throw Failure("shard " + journal_.to + " got rows of these buckets in " + table.name +
                    " meanwhile: somebody writes around Weir");
  journal_.copying = true;
  journal_.save(settings_.file);
}

void MoveStage::copy(const Checkpoint& checkpoint) {
  for (const auto& table : scope_.tables) {
    checkpoint();
    const std::uint64_t bytes = copy_rows(*source_, *target_, table, checkpoint);
    verify_copy(table);
    out_ << "copied " << table.name << ": " << journal_.copied[table.name].rows << " rows, " << bytes
         << " bytes, checksums agree\n";
  }
  journal_.save(settings_.file);  // before the commit: --recover then knows what the source had
  target_->query("COMMIT", kPatient);
}

void MoveStage::verify_copy(const MovedTable& table) {
  const Checksum here = checksum_of(*source_, table);
  const Checksum there = checksum_of(*target_, table);
  if (here != there)
    throw Failure(table.name + ": the copy differs: " + here.rows + " rows (checksum " + here.sum + ") on " +
                  journal_.from + ", " + there.rows + " (" + there.sum + ") on " + journal_.to);
  journal_.copied[table.name] = here;
}

void MoveStage::unlock_source() noexcept { source_.reset(); }

void MoveStage::clear_target() {
  target_.reset();
  auto connection = open_for_rows(shard(journal_.to));
  for (const auto& table : scope_.tables) {
    const std::uint64_t rows = delete_rows(*connection, table, [] {});
    if (rows != 0) out_ << "removed " << rows << " copies of " << table.name << " from " << journal_.to << "\n";
  }
}

void MoveStage::set_map_version(std::uint64_t from_version, std::uint64_t to_version) {
  for (std::size_t i = 0; i < shards_.size(); ++i) {
    const auto& shard = database_->shards[i];
    try {
      if (!shards_[i]->alive()) shards_[i] = connect(shard);
      shards_[i]->query("UPDATE weir.identity SET map_version = " + std::to_string(to_version) +
                            " WHERE map_version = " + std::to_string(from_version),
                        kPatient);
      const auto now = client::read_identity(*shards_[i], kPatient);
      if (!now || now->map_version != to_version)
        throw Failure("shard " + shard.name + ": its identity row does not say map version " +
                      std::to_string(to_version));
    } catch (const pqxx::failure& e) {
      throw Failure("shard " + shard.name + ": map version " + std::to_string(to_version) + ": " + e.what());
    }
  }
  out_ << "identity rows of all shards: map version " << to_version << "\n";
}

void MoveStage::write_new_configuration() {
  if (read_file(settings_.file) != old_text_) throw Failure(settings_.file + " was changed meanwhile");
  const std::string backup = settings_.file + ".map-" + std::to_string(journal_.old_version);
  write_beside(settings_.file, backup, old_text_);
  write_beside(settings_.file, settings_.file + ".move-new", new_text_);
  out_ << "kept the old configuration as " << backup << "\n";
}

void MoveStage::install_configuration() {
  replace_file(settings_.file + ".move-new", settings_.file);
  out_ << settings_.file << ": map version " << journal_.new_version << "\n";
}

void MoveStage::restore_configuration() {
  if (read_file(settings_.file) == old_text_) return;
  write_beside(settings_.file, settings_.file + ".move-old", old_text_);
  replace_file(settings_.file + ".move-old", settings_.file);
}

void MoveStage::require_unchanged_source(const MoveJournal& journal) {
  const auto connection = open_for_rows(shard(journal_.from));
  for (const auto& table : scope_.tables) {
    const auto then = journal.copied.find(table.name);
    const Checksum now = checksum_of(*connection, table);
    if (now.empty() || (then != journal.copied.end() && now == then->second)) continue;
    throw Failure("shard " + journal_.from + ": " + table.name + " is not what was copied any more (" + now.rows +
                  " rows now): somebody writes around Weir. Nothing was deleted there; bring the change to " +
                  journal_.to + ", then delete the rows of these buckets on " + journal_.from);
  }
}

void MoveStage::delete_moved(const MoveJournal& journal, const Checkpoint& checkpoint) {
  if (!journal.deleting) {
    require_unchanged_source(journal);
    MoveJournal next = journal;
    next.deleting = true;
    next.save(settings_.file);
  }
  const auto connection = open_for_rows(shard(journal_.from));
  for (const auto& table : scope_.tables)
    out_ << "deleted " << delete_rows(*connection, table, checkpoint) << " rows of " << table.name << " from "
         << journal_.from << "\n";
}

}  // namespace weir::migrate
