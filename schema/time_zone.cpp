#include "schema/time_zone.hpp"

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <map>
#include <mutex>
#include <system_error>

#include "base/strings.hpp"

namespace weir::schema {
namespace {

constexpr std::string_view kZoneinfo = "/usr/share/zoneinfo/";
constexpr std::size_t kHeader = 44;
constexpr Seconds kDay = 86400;

// Big-endian, two's complement; the caller has checked the bounds.
template <class T>
T load(std::string_view s) {
  std::uint64_t v = 0;
  for (std::size_t i = 0; i < sizeof(T); ++i) v = (v << 8) | static_cast<std::uint8_t>(s[i]);
  return static_cast<T>(v);
}

// The counts of one data block, and where its parts end.
struct Block {
  std::size_t utc_flags = 0, standard_flags = 0, leaps = 0, times = 0, types = 0, characters = 0;

  [[nodiscard]] std::size_t size(std::size_t time_width) const {
    return times * (time_width + 1) + types * 6 + characters + leaps * (time_width + 4) + standard_flags + utc_flags;
  }
};

std::optional<Block> read_header(std::string_view s) {
  if (s.size() < kHeader || !s.starts_with("TZif") || s[4] < '2') return std::nullopt;
  const auto count = [&](std::size_t i) { return std::size_t{load<std::uint32_t>(s.substr(20 + 4 * i))}; };
  return Block{count(0), count(1), count(2), count(3), count(4), count(5)};
}

// Names stay inside the database's folder.
bool is_zone_name(std::string_view name) {
  if (name.empty() || name.front() == '/' || name.find("..") != std::string_view::npos) return false;
  return std::all_of(name.begin(), name.end(), [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' || c == '-' ||
           c == '+' || c == '/';
  });
}

std::optional<TimeZone> read_zone(const std::string& name) {
  if (name == "UTC") return TimeZone();
  if (!is_zone_name(name)) return std::nullopt;
  const std::string path = concat(kZoneinfo, name);
  std::error_code ignored;
  if (!std::filesystem::is_regular_file(path, ignored)) return std::nullopt;  // reading a folder would throw
  std::ifstream file(path, std::ios::binary);
  const std::string text{std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
  return TimeZone::parse(text);
}

}  // namespace

Result<std::shared_ptr<const TimeZone>> TimeZone::load(const std::string& name) {
  static std::mutex mutex;
  static std::map<std::string, std::shared_ptr<const TimeZone>> known;
  const std::lock_guard lock(mutex);
  if (const auto it = known.find(name); it != known.end()) return it->second;
  auto zone = read_zone(name);
  if (!zone) {
    return Error(sqlstate::kInvalidParameter, concat("time zone \"", name, "\" is not in ", kZoneinfo),
                 "Use \"UTC\" or a name such as \"Europe/Berlin\"; the Debian package tzdata holds them.");
  }
  return known[name] = std::make_shared<const TimeZone>(std::move(*zone));
}

std::optional<TimeZone> TimeZone::parse(std::string_view tzif) {
  const auto old_block = read_header(tzif);
  if (!old_block || tzif.size() - kHeader < old_block->size(4)) return std::nullopt;
  tzif.remove_prefix(kHeader + old_block->size(4));
  const auto block = read_header(tzif);
  if (!block || tzif.size() - kHeader < block->size(8) || block->types == 0 || block->leaps != 0) return std::nullopt;
  const std::string_view times = tzif.substr(kHeader);
  const std::string_view indexes = times.substr(block->times * 8);
  const std::string_view types = indexes.substr(block->times);
  std::string_view footer = tzif.substr(kHeader + block->size(8));
  TimeZone zone;
  zone.first_offset_ = weir::schema::load<std::int32_t>(types);
  for (std::size_t i = 0; i < block->times; ++i) {
    const std::size_t type = static_cast<std::uint8_t>(indexes[i]);
    if (type >= block->types) return std::nullopt;
    zone.transitions_.push_back(weir::schema::load<Seconds>(times.substr(8 * i)));
    zone.offsets_.push_back(weir::schema::load<std::int32_t>(types.substr(6 * type)));
  }
  if (!std::is_sorted(zone.transitions_.begin(), zone.transitions_.end())) return std::nullopt;
  if (footer.size() < 2 || footer.front() != '\n' || footer.back() != '\n') return std::nullopt;
  footer = footer.substr(1, footer.size() - 2);
  if (footer.empty()) return zone;
  zone.rules_ = parse_zone_rules(footer);
  if (!zone.rules_) return std::nullopt;
  return zone;
}

int TimeZone::offset_at(Seconds utc) const {
  if (rules_ && (transitions_.empty() || utc >= transitions_.back())) return offset_by_rules(*rules_, utc);
  const auto after = std::upper_bound(transitions_.begin(), transitions_.end(), utc);
  if (after == transitions_.begin()) return first_offset_;
  return offsets_[static_cast<std::size_t>(after - transitions_.begin()) - 1];
}

// Two changes within two days do not happen at a month's beginning.
Seconds TimeZone::instant_of(Seconds local) const {
  const int before = offset_at(local - kDay);
  const int after = offset_at(local + kDay);
  return offset_at(local - after) == after ? local - after : local - before;
}

}  // namespace weir::schema
