#include "config/codec.hpp"

#include <algorithm>
#include <charconv>

#include "base/strings.hpp"
#include "config/conninfo.hpp"
#include "config/scram_secret.hpp"

namespace weir::config {
namespace {

constexpr std::uint32_t kAnyBucket = std::numeric_limits<std::uint32_t>::max();

struct DurationUnit {
  std::string_view suffix;
  std::int64_t millis;
};
constexpr DurationUnit kUnits[]{{"ms", 1}, {"s", 1000}, {"m", 60'000}, {"h", 3'600'000}};

template <class T, class Show>
std::string show_list(const std::vector<T>& values, Show show) {
  std::string list;
  for (const T& each : values) list += (list.empty() ? "" : ", ") + show(each);
  return "[" + list + "]";
}

// A string of the allowed length, or nothing (reported).
std::optional<std::string> read_text(Value& value, const Limits& limits) {
  auto text = value.text();
  if (text && static_cast<std::int64_t>(text->size()) >= limits.min &&
      static_cast<std::int64_t>(text->size()) <= limits.max)
    return text;
  value.expected(Codec<std::string>::allowed(limits));
  return std::nullopt;
}

// A connection string for which `mistake_of` finds nothing wrong.
template <class Mistake>
void read_conninfo(Value& value, std::string_view allowed, Mistake mistake_of, std::string& out) {
  const auto text = value.text();
  if (!text) return value.expected(allowed);
  if (const std::string mistake = mistake_of(*text); !mistake.empty())
    return value.reject(
        concat("expected ", allowed, ": it ", mistake.starts_with("names") ? "" : "is wrong: ", mistake));
  out = *text;
}

void read_replica_table(Value& value, const toml::table& table, Replica& out) {
  for (const auto& [key, node] : table) {
    if (key != "conninfo" && key != "weight")
      value.element(node).reject(concat("unknown key \"", key.str(), "\" of a replica: it has conninfo and weight"));
  }
  if (const toml::node* weight = table.get("weight")) {
    Value element = value.element(*weight);
    Codec<unsigned>::read(element, {.min = 1, .max = 1000}, out.weight);
  }
  if (const toml::node* conninfo = table.get("conninfo")) {
    Value element = value.element(*conninfo);
    BackendCodec::read(element, {}, out.conninfo);
  } else {
    value.reject("a replica without conninfo: expected { conninfo = \"host=... dbname=...\", weight = 1 }");
  }
}

bool is_name(std::string_view text) {
  return std::all_of(text.begin(), text.end(), [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' || c == '-';
  });
}

}  // namespace

std::string not_supported(std::string_view what) { return concat(what, " is not supported by this version of Weir"); }

std::optional<Millis> parse_duration(std::string_view text) {
  if (text == "0") return Millis{0};
  std::int64_t count = 0;
  const char* end = text.data() + text.size();
  const auto [rest, error] = std::from_chars(text.data(), end, count);
  if (error != std::errc{} || text.starts_with('-')) return std::nullopt;
  for (const DurationUnit& unit : kUnits) {
    if (std::string_view(rest, static_cast<std::size_t>(end - rest)) != unit.suffix) continue;
    if (count > std::numeric_limits<std::int64_t>::max() / unit.millis) return std::nullopt;
    return Millis{count * unit.millis};
  }
  return std::nullopt;
}

std::string format_duration(Millis duration) {
  if (duration.count() == 0) return "0";
  const DurationUnit* best = &kUnits[0];
  for (const DurationUnit& unit : kUnits)
    if (duration.count() % unit.millis == 0) best = &unit;
  return concat(std::to_string(duration.count() / best->millis), best->suffix);
}

std::string allowed_integer(const Limits& limits) {
  if (limits.max == std::numeric_limits<std::int64_t>::max())
    return concat("an integer of at least ", std::to_string(limits.min));
  return concat("an integer from ", std::to_string(limits.min), " to ", std::to_string(limits.max));
}

std::optional<std::int64_t> read_integer(Value& value, const Limits& limits) {
  const auto* node = value.node().as_integer();
  if (node != nullptr && node->get() >= limits.min && node->get() <= limits.max) return node->get();
  value.expected(allowed_integer(limits));
  return std::nullopt;
}

std::string Codec<bool>::allowed(const Limits&) { return "true or false"; }
std::string Codec<bool>::show(const bool& value) { return value ? "true" : "false"; }
void Codec<bool>::read(Value& value, const Limits& limits, bool& out) {
  if (const auto* node = value.node().as_boolean()) {
    out = node->get();
  } else {
    value.expected(allowed(limits));
  }
}

std::string Codec<std::string>::allowed(const Limits& limits) {
  if (limits.min == 0) return concat("a string of at most ", std::to_string(limits.max), " bytes");
  return concat("a string of ", std::to_string(limits.min), " to ", std::to_string(limits.max), " bytes");
}
std::string Codec<std::string>::show(const std::string& value) { return quoted(value); }
void Codec<std::string>::read(Value& value, const Limits& limits, std::string& out) {
  if (auto text = read_text(value, limits)) out = std::move(*text);
}

std::string Codec<Millis>::allowed(const Limits& limits) {
  const std::string lowest = limits.min == 0 ? std::string("0") : format_duration(Millis{limits.min});
  return concat("a duration from ", quoted(lowest), " to ", quoted(format_duration(Millis{limits.max})),
                ", written like \"500ms\", \"30s\", \"10m\" or \"1h\"");
}
std::string Codec<Millis>::show(const Millis& value) { return quoted(format_duration(value)); }
void Codec<Millis>::read(Value& value, const Limits& limits, Millis& out) {
  const auto text = value.text();
  const auto duration = text ? parse_duration(*text) : std::nullopt;
  if (duration && duration->count() >= limits.min && duration->count() <= limits.max) {
    out = *duration;
  } else {
    value.expected(allowed(limits));
  }
}

std::string Codec<std::vector<std::string>>::allowed(const Limits& limits) {
  return concat(Codec<std::string>::allowed(limits), ", or an array of such strings");
}
std::string Codec<std::vector<std::string>>::show(const std::vector<std::string>& value) {
  return show_list(value, quoted);
}
void Codec<std::vector<std::string>>::read(Value& value, const Limits& limits, std::vector<std::string>& out) {
  std::vector<std::string> found;
  const auto* array = value.node().as_array();
  if (array == nullptr && !value.node().is_string()) return value.expected(allowed(limits));
  if (array == nullptr) {
    if (auto text = read_text(value, limits)) out = {std::move(*text)};
    return;
  }
  for (const toml::node& node : *array) {
    Value element = value.element(node);
    if (auto text = read_text(element, limits)) found.push_back(std::move(*text));
  }
  out = std::move(found);
}

std::string Codec<std::vector<BucketRange>>::allowed(const Limits&) {
  return "buckets such as \"0-2047\", \"0,10,20\" or \"0-9,40-49\"";
}
std::string Codec<std::vector<BucketRange>>::show(const std::vector<BucketRange>& value) {
  return quoted(format_bucket_ranges(value));
}
void Codec<std::vector<BucketRange>>::read(Value& value, const Limits& limits, std::vector<BucketRange>& out) {
  const auto text = value.text();
  if (!text) return value.expected(allowed(limits));
  // The database's own number of buckets is checked once all its tables are read.
  auto ranges = parse_bucket_ranges(*text, kAnyBucket);
  if (const auto* mistake = std::get_if<std::string>(&ranges))
    return value.reject(concat("expected ", allowed(limits), ", got ", quoted(*text), ": ", *mistake));
  out = std::get<std::vector<BucketRange>>(std::move(ranges));
}

std::string BackendCodec::allowed(const Limits&) {
  return "a libpq connection string that names one host and a dbname";
}
std::string BackendCodec::show(const std::string& value) { return quoted(value); }
void BackendCodec::read(Value& value, const Limits& limits, std::string& out) {
  read_conninfo(value, allowed(limits), backend_conninfo_mistake, out);
}

void PrimaryCodec::read(Value& value, const Limits& limits, std::string& out) {
  read_conninfo(value, allowed(limits), server_conninfo_mistake, out);
}

std::string OverridesCodec::allowed(const Limits&) {
  return "libpq connection parameters such as \"user=weir_maintenance\"";
}
std::string OverridesCodec::show(const std::string& value) { return quoted(value); }
void OverridesCodec::read(Value& value, const Limits& limits, std::string& out) {
  read_conninfo(value, allowed(limits), overrides_conninfo_mistake, out);
}

std::string ReplicasCodec::allowed(const Limits&) {
  return "an array of libpq connection strings, or of { conninfo = \"...\", weight = 1 to 1000 }";
}
std::string ReplicasCodec::show(const std::vector<Replica>& value) {
  return show_list(value, [](const Replica& replica) {
    return concat("{ conninfo = ", quoted(replica.conninfo), ", weight = ", std::to_string(replica.weight), " }");
  });
}
void ReplicasCodec::read(Value& value, const Limits& limits, std::vector<Replica>& out) {
  const auto* array = value.node().as_array();
  if (array == nullptr) return value.expected(allowed(limits));
  for (const toml::node& node : *array) {
    Value element = value.element(node);
    Replica replica;
    if (const auto* table = node.as_table()) {
      read_replica_table(element, *table, replica);
    } else {
      BackendCodec::read(element, limits, replica.conninfo);
    }
    out.push_back(std::move(replica));
  }
}

std::string UniqueCodec::allowed(const Limits&) { return "\"per_shard\" (or leave the key out)"; }
std::string UniqueCodec::show(const bool& value) { return value ? "\"per_shard\"" : ""; }
void UniqueCodec::read(Value& value, const Limits& limits, bool& out) {
  if (value.text() == "per_shard") {
    out = true;
  } else {
    value.expected(allowed(limits));
  }
}

std::string DefaultKeyCodec::allowed(const Limits&) { return "\"weir.next_id\" (or leave the key out)"; }
std::string DefaultKeyCodec::show(const bool& value) { return value ? "\"weir.next_id\"" : ""; }
void DefaultKeyCodec::read(Value& value, const Limits& limits, bool& out) {
  if (value.text() == "weir.next_id") {
    out = true;
  } else {
    value.expected(allowed(limits));
  }
}

std::string NameCodec::allowed(const Limits& limits) {
  return concat("a name of ", std::to_string(limits.min), " to ", std::to_string(limits.max),
                " letters, digits, \"_\" and \"-\"");
}
std::string NameCodec::show(const std::string& value) { return quoted(value); }
void NameCodec::read(Value& value, const Limits& limits, std::string& out) {
  const auto text = value.text();
  const auto size = text ? static_cast<std::int64_t>(text->size()) : -1;
  if (size < limits.min || size > limits.max || !is_name(*text)) return value.expected(allowed(limits));
  out = *text;
}

std::string PasswordCodec::allowed(const Limits&) { return "a password, or a SCRAM-SHA-256 secret, as a string"; }
std::string PasswordCodec::show(const std::string&) { return ""; }
void PasswordCodec::read(Value& value, const Limits& limits, std::string& out) {
  const auto text = value.text();
  if (!text || text->empty() || static_cast<std::int64_t>(text->size()) > limits.max)
    return value.expected(allowed(limits));
  if (std::string mistake = password_mistake(*text); !mistake.empty()) return value.reject(std::move(mistake));
  out = *text;
}

}  // namespace weir::config
