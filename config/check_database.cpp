#include "config/check_database.hpp"

#include <algorithm>
#include <bit>
#include <map>

#include "base/strings.hpp"
#include "config/codec.hpp"
#include "config/conninfo.hpp"

namespace weir::config {
namespace {

// Which shard holds each bucket; collects what is held twice.
class Coverage {
 public:
  explicit Coverage(std::uint32_t buckets) : holder_(buckets, kNobody) {}

  // Claims `ranges` for shard `index`; buckets that another shard holds, by that shard.
  std::map<std::size_t, std::vector<BucketRange>> claim(const std::vector<BucketRange>& ranges, std::size_t index) {
    std::map<std::size_t, std::vector<BucketRange>> taken;
    for (const BucketRange& range : ranges)
      for (std::uint32_t bucket = range.first; bucket <= range.last; ++bucket) {
        if (holder_[bucket] == kNobody) {
          holder_[bucket] = index;
        } else {
          extend(taken[holder_[bucket]], bucket);
        }
      }
    return taken;
  }

  [[nodiscard]] std::vector<BucketRange> missing() const {
    std::vector<BucketRange> ranges;
    for (std::uint32_t bucket = 0; bucket < holder_.size(); ++bucket)
      if (holder_[bucket] == kNobody) extend(ranges, bucket);
    return ranges;
  }

 private:
  static constexpr std::size_t kNobody = static_cast<std::size_t>(-1);

  static void extend(std::vector<BucketRange>& ranges, std::uint32_t bucket) {
    if (!ranges.empty() && ranges.back().last + 1 == bucket) {
      ranges.back().last = bucket;
    } else {
      ranges.push_back({bucket, bucket});
    }
  }

  std::vector<std::size_t> holder_;
};

class Check {
 public:
  Check(Reader& reader, const DatabaseSource& source, const Database& database)
      : reader_(reader), source_(source), database_(database) {}

  void run() {
    check_name();
    check_shard_names();
    check_primaries_given();
    if (database_.name == kFallbackName)
      check_fallback();
    else
      check_primaries_name_databases();
    if (source_.sharding) {
      if (!reader_.reported(*source_.sharding, "buckets")) check_buckets();
      check_primaries_differ();
    } else {
      check_plain();
    }
    for (std::size_t i = 0; i < source_.tables.size(); ++i) check_table(source_.tables[i], database_.tables[i]);
    check_tables_differ();
  }

 private:
  void check_name() {
    if (database_.name == "weir" || database_.name == "pgbouncer")
      reader_.report(source_.self, "name",
                     concat("\"", database_.name, "\" is reserved for the console: choose another name"));
  }

  void check_shard_names() {
    std::vector<std::string> names;
    for (const Shard& shard : database_.shards) names.push_back(shard.name);
    check_names_differ(reader_, source_.shards, names, "shard");
    if (source_.shards.empty())
      reader_.report(source_.self, "shard", "missing: expected at least one [[database.shard]] with name and primary");
  }

  // Only who observes connects to no other shard than the home shard.
  void check_primaries_given() {
    const bool observes = database_.sharding && database_.sharding->mode == ShardingMode::observe;
    for (std::size_t i = 0; i < source_.shards.size(); ++i) {
      if (source_.shards[i].has("primary") || (observes && i > 0)) continue;
      reader_.report(source_.shards[i], "primary", concat("missing: expected ", BackendCodec::allowed({})));
    }
  }

  void check_primaries_name_databases() {
    for (std::size_t i = 0; i < source_.shards.size(); ++i)
      if (const std::string& primary = database_.shards[i].primary; !primary.empty() && !names_a_database(primary))
        reader_.report(source_.shards[i], "primary", concat("expected ", BackendCodec::allowed({}), ": it names no database: add dbname=<name>"));
  }

  // Nobody watches databases whose names nobody knows: there is no lag to go by, and there are no tables to know.
  void check_fallback() {
    constexpr std::string_view kWhy = "the database \"*\" stands for many: ";
    if (source_.sharding) reader_.report(*source_.sharding, "", concat(kWhy, "it cannot be sharded; give a sharded database an entry of its own"));
    for (const Section& table : source_.tables) reader_.report(table, "", concat(kWhy, "it has no tables of its own; give theirs an entry of its own"));
    for (const Section& shard : source_.shards)
      if (shard.has("replicas")) reader_.report(shard, "replicas", concat(kWhy, "it has no replicas; give a database with replicas an entry of its own"));
  }

  void check_plain() {
    if (source_.shards.size() > 1)
      reader_.report(
          source_.shards[1], "",
          concat("a database without [database.sharding] has one shard, got ", std::to_string(source_.shards.size()),
                 ": add [database.sharding], or list copies of the data under replicas"));
    for (const Section& shard : source_.shards)
      if (shard.has("buckets"))
        reader_.report(
            shard, "buckets",
            "a database without [database.sharding] has no buckets: remove this key, or add [database.sharding]");
  }

  void check_buckets() {
    check_power_of_two();
    check_coverage();
  }

  void check_power_of_two() {
    const Sharding& sharding = *database_.sharding;
    if (sharding.function != HashFunction::hash || std::has_single_bit(sharding.buckets)) return;
    const std::uint32_t below = std::bit_floor(sharding.buckets);
    reader_.report(*source_.sharding, "buckets",
                   concat("expected a power of two with function = \"hash\", got ", std::to_string(sharding.buckets),
                          ": ", std::to_string(below), " and ", std::to_string(below * 2), " are the nearest"));
  }

  void check_coverage() {
    Coverage coverage(database_.sharding->buckets);
    bool complete = !source_.shards.empty();
    for (std::size_t i = 0; i < source_.shards.size(); ++i) complete = claim(coverage, i) && complete;
    const auto missing = coverage.missing();
    if (!complete || missing.empty()) return;
    reader_.report(*source_.sharding, "buckets",
                   concat("no shard holds ", format_bucket_ranges(missing), ": give each of the ",
                          std::to_string(database_.sharding->buckets), " buckets (0-",
                          std::to_string(database_.sharding->buckets - 1), ") to one shard"));
  }

  // False: the shard's buckets are not known, so that no more can be said of those nobody holds.
  bool claim(Coverage& coverage, std::size_t index) {
    const Section& section = source_.shards[index];
    const std::uint32_t last = database_.sharding->buckets - 1;
    if (!section.has("buckets")) {
      reader_.report(section, "buckets",
                     concat("missing: expected buckets from 0 to ", std::to_string(last), " such as \"0-",
                            std::to_string(last), "\", or \"\" for none"));
      return false;
    }
    if (reader_.reported(section, "buckets")) return false;
    const std::vector<BucketRange> ranges = in_range(section, database_.shards[index].buckets, last);
    for (const auto& [other, taken] : coverage.claim(ranges, index))
      reader_.report(
          section, "buckets",
          concat("buckets ", format_bucket_ranges(taken), " are held by shard ", database_.shards[other].name,
                 " and by shard ", database_.shards[index].name, ": each bucket belongs to one shard"));
    return true;
  }

  // The part of `ranges` that exists; the rest is reported.
  std::vector<BucketRange> in_range(const Section& section, std::vector<BucketRange> ranges, std::uint32_t last) {
    if (ranges.empty() || ranges.back().last <= last) return ranges;
    reader_.report(
        section, "buckets",
        concat("bucket ", std::to_string(ranges.back().last), " is out of range: ", source_.sharding->key("buckets"),
               " is ", std::to_string(last + 1), ", so buckets are 0 to ", std::to_string(last)));
    while (!ranges.empty() && ranges.back().first > last) ranges.pop_back();
    if (!ranges.empty()) ranges.back().last = std::min(ranges.back().last, last);
    return ranges;
  }

  void check_primaries_differ() {
    std::map<std::string, std::string> shard_at;
    for (std::size_t i = 0; i < source_.shards.size(); ++i) {
      const Shard& shard = database_.shards[i];
      if (shard.primary.empty()) continue;
      const std::string address = backend_address(shard.primary);
      const auto [it, added] = shard_at.emplace(address, shard.name);
      if (!added)
        reader_.report(
            source_.shards[i], "primary",
            concat(address, " is the primary of shard ", it->second, " already: each shard has a database of its own"));
    }
  }

  void check_table(const Section& section, const Table& table) {
    if (section.has("key") && table.reference)
      reader_.report(section, "key",
                     "both key and reference = true: a table is split by its key, or the same on every shard");
    if (source_.sharding && !section.has("key") && !table.reference)
      reader_.report(section, "key", "missing: expected the column that decides the shard, or reference = true");
    if (table.fills_key && (!source_.sharding || !section.has("key")))
      reader_.report(section, "default_key", "only a table with a sharding key, of a sharded database, can have one");
  }

  void check_tables_differ() {
    for (std::size_t i = 0; i < source_.tables.size(); ++i)
      for (std::size_t j = 0; j < i; ++j) {
        const Table &a = database_.tables[i], &b = database_.tables[j];
        if (a.name.empty() || a.name != b.name) continue;
        if (a.schema != b.schema && !a.schema.empty() && !b.schema.empty()) continue;
        reader_.report(
            source_.tables[i], "name",
            concat("table ", a.name, " has a rule already (line ", std::to_string(source_.tables[j].line("name")),
                   "): one rule a table; a name without schema means every schema"));
        break;
      }
  }

  Reader& reader_;
  const DatabaseSource& source_;
  const Database& database_;
};

}  // namespace

void check_names_differ(Reader& reader, const std::vector<Section>& sections, const std::vector<std::string>& names,
                        std::string_view what) {
  std::map<std::string, std::size_t> first;
  for (std::size_t i = 0; i < sections.size(); ++i) {
    if (names[i].empty()) continue;
    const auto [it, added] = first.emplace(names[i], i);
    if (!added)
      reader.report(sections[i], "name",
                    concat("a ", what, " named \"", names[i], "\" stands in line ",
                           std::to_string(sections[it->second].line("name")), " already: names must differ"));
  }
}

void check_database(Reader& reader, const DatabaseSource& source, const Database& database) {
  Check(reader, source, database).run();
}

}  // namespace weir::config
