// Codec<T>: how a member of type T is read from TOML, written back and described. Private to config/.
//
// read() fills `out`, or reports on `value` and leaves `out` alone. show() is the inverse, as TOML text (used for
// defaults and for RELOAD's messages). allowed() completes "expected ...".
#pragma once

#include <array>
#include <cstdint>
#include <limits>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "config/reader.hpp"

namespace weir::config {

// What a value may be: integers by value, durations in milliseconds, strings by length in bytes.
struct Limits {
  std::int64_t min = 0;
  std::int64_t max = std::numeric_limits<std::uint32_t>::max();
};

// Spellings of an enum in the file; `later` lists those of the design that this version refuses by name.
template <class E>
struct Spellings;

template <>
struct Spellings<PoolMode> {
  static constexpr std::array all{std::pair{"session", PoolMode::session},
                                  std::pair{"transaction", PoolMode::transaction},
                                  std::pair{"statement", PoolMode::statement}};
  static constexpr std::array<std::string_view, 0> later{};
};
template <>
struct Spellings<AuthMethod> {
  static constexpr std::array all{std::pair{"trust", AuthMethod::trust},
                                  std::pair{"md5", AuthMethod::md5},
                                  std::pair{"scram-sha-256", AuthMethod::scram_sha_256},
                                  std::pair{"cert", AuthMethod::cert},
                                  std::pair{"hba", AuthMethod::hba}};
  static constexpr std::array<std::string_view, 0> later{};
};
template <>
struct Spellings<IoBackend> {
  static constexpr std::array all{std::pair{"auto", IoBackend::automatic}, std::pair{"epoll", IoBackend::epoll},
                                  std::pair{"io_uring", IoBackend::io_uring}};
  static constexpr std::array<std::string_view, 0> later{};
};
template <>
struct Spellings<TlsMode> {
  static constexpr std::array all{std::pair{"disable", TlsMode::disable},     std::pair{"allow", TlsMode::allow},
                                  std::pair{"prefer", TlsMode::prefer},       std::pair{"require", TlsMode::require},
                                  std::pair{"verify-ca", TlsMode::verify_ca}, std::pair{"verify-full", TlsMode::verify_full}};
  static constexpr std::array<std::string_view, 0> later{};
};
template <>
struct Spellings<TlsVersion> {
  static constexpr std::array all{std::pair{"TLSv1.2", TlsVersion::tls_1_2}, std::pair{"TLSv1.3", TlsVersion::tls_1_3}};
  static constexpr std::array<std::string_view, 0> later{};
};
template <>
struct Spellings<LogFormat> {
  static constexpr std::array all{std::pair{"text", LogFormat::text}, std::pair{"json", LogFormat::json}};
  static constexpr std::array<std::string_view, 0> later{};
};
template <>
struct Spellings<LogLevel> {
  static constexpr std::array all{std::pair{"debug", LogLevel::debug}, std::pair{"info", LogLevel::info},
                                  std::pair{"warning", LogLevel::warning}, std::pair{"error", LogLevel::error}};
  static constexpr std::array<std::string_view, 0> later{};
};
template <>
struct Spellings<HashFunction> {
  static constexpr std::array all{std::pair{"hash", HashFunction::hash}, std::pair{"modulo", HashFunction::modulo}};
  static constexpr std::array<std::string_view, 0> later{};
};
template <>
struct Spellings<UnlistedTables> {
  static constexpr std::array all{std::pair{"home", UnlistedTables::home}, std::pair{"reject", UnlistedTables::reject}};
  static constexpr std::array<std::string_view, 0> later{};
};
template <>
struct Spellings<MultiShardSnapshot> {
  static constexpr std::array all{std::pair{"refuse", MultiShardSnapshot::refuse}, std::pair{"per_shard", MultiShardSnapshot::per_shard}};
  static constexpr std::array<std::string_view, 0> later{};
};
template <>
struct Spellings<ShardingMode> {
  static constexpr std::array all{std::pair{"route", ShardingMode::route}, std::pair{"observe", ShardingMode::observe}};
  static constexpr std::array<std::string_view, 0> later{};
};
template <>
struct Spellings<Balance> {
  static constexpr std::array all{std::pair{"least_connections", Balance::least_connections},
                                  std::pair{"round_robin", Balance::round_robin}, std::pair{"random", Balance::random}};
  static constexpr std::array<std::string_view, 3> later{"weighted", "least_latency", "client_hash"};
};
template <>
struct Spellings<Consistency> {
  static constexpr std::array all{std::pair{"eventual", Consistency::eventual},
                                  std::pair{"read_your_writes", Consistency::read_your_writes},
                                  std::pair{"primary", Consistency::primary}};
  static constexpr std::array<std::string_view, 0> later{};
};
template <>
struct Spellings<MonthLayout> {
  static constexpr std::array all{std::pair{"native", MonthLayout::native}};
  static constexpr std::array<std::string_view, 1> later{"plain"};
};

[[nodiscard]] std::string not_supported(std::string_view what);

template <class T>
struct Codec;

template <class E>
requires std::is_enum_v<E>
struct Codec<E> {
  static std::string allowed(const Limits&) {
    std::string list;
    for (const auto& each : Spellings<E>::all) list += (list.empty() ? "" : " or ") + quoted(each.first);
    return list;
  }
  static std::string show(const E& value) {
    for (const auto& each : Spellings<E>::all)
      if (each.second == value) return quoted(each.first);
    return {};
  }
  static void read(Value& value, const Limits& limits, E& out) {
    const auto text = value.text();
    for (const auto& each : Spellings<E>::all)
      if (text == each.first) {
        out = each.second;
        return;
      }
    for (const std::string_view later : Spellings<E>::later)
      if (text == later) return value.reject(not_supported(quoted(later)) + ": use " + allowed(limits));
    value.expected(allowed(limits));
  }
};

// Integers of any width share one reader.
std::string allowed_integer(const Limits& limits);
std::optional<std::int64_t> read_integer(Value& value, const Limits& limits);

template <class I>
requires(std::is_integral_v<I> && !std::is_same_v<I, bool>) struct Codec<I> {
  static std::string allowed(const Limits& limits) { return allowed_integer(limits); }
  static std::string show(const I& value) { return std::to_string(value); }
  static void read(Value& value, const Limits& limits, I& out) {
    if (const auto n = read_integer(value, limits)) out = static_cast<I>(*n);
  }
};

template <>
struct Codec<bool> {
  static std::string allowed(const Limits& limits);
  static std::string show(const bool& value);
  static void read(Value& value, const Limits& limits, bool& out);
};

template <>
struct Codec<std::string> {
  static std::string allowed(const Limits& limits);
  static std::string show(const std::string& value);
  static void read(Value& value, const Limits& limits, std::string& out);
};

template <>
struct Codec<Millis> {
  static std::string allowed(const Limits& limits);
  static std::string show(const Millis& value);
  static void read(Value& value, const Limits& limits, Millis& out);
};

// A string, or an array of them.
template <>
struct Codec<std::vector<std::string>> {
  static std::string allowed(const Limits& limits);
  static std::string show(const std::vector<std::string>& value);
  static void read(Value& value, const Limits& limits, std::vector<std::string>& out);
};

template <>
struct Codec<std::vector<BucketRange>> {
  static std::string allowed(const Limits& limits);
  static std::string show(const std::vector<BucketRange>& value);
  static void read(Value& value, const Limits& limits, std::vector<BucketRange>& out);
};

// A key that may be left out: none means the general setting holds.
template <class T>
struct Codec<std::optional<T>> {
  static std::string allowed(const Limits& limits) { return Codec<T>::allowed(limits); }
  static std::string show(const std::optional<T>& value) { return value ? Codec<T>::show(*value) : std::string(); }
  static void read(Value& value, const Limits& limits, std::optional<T>& out) {
    T inner{};
    Codec<T>::read(value, limits, inner);
    if (!value.failed()) out = inner;
  }
};

// A libpq connection string, kept as written (config/conninfo.hpp says what is checked). Backend: one host, one
// database.
struct BackendCodec {
  static std::string allowed(const Limits& limits);
  static std::string show(const std::string& value);
  static void read(Value& value, const Limits& limits, std::string& out);
};
// The same, but a database is not asked for: whether one is needed depends on the name of the [[database]] (check_database.cpp).
struct PrimaryCodec : BackendCodec {
  static void read(Value& value, const Limits& limits, std::string& out);
};
// Parameters that override those of a backend's string, but not where it leads.
struct OverridesCodec {
  static std::string allowed(const Limits& limits);
  static std::string show(const std::string& value);
  static void read(Value& value, const Limits& limits, std::string& out);
};
// Strings, or { conninfo = "...", weight = 2 }.
struct ReplicasCodec {
  static std::string allowed(const Limits& limits);
  static std::string show(const std::vector<Replica>& value);
  static void read(Value& value, const Limits& limits, std::vector<Replica>& out);
};
// unique = "per_shard".
struct UniqueCodec {
  static std::string allowed(const Limits& limits);
  static std::string show(const bool& value);
  static void read(Value& value, const Limits& limits, bool& out);
};
// default_key = "weir.next_id".
struct DefaultKeyCodec {
  static std::string allowed(const Limits& limits);
  static std::string show(const bool& value);
  static void read(Value& value, const Limits& limits, bool& out);
};
// A name that may stand in a Weir comment, a metric's label and a transaction identifier.
struct NameCodec {
  static std::string allowed(const Limits& limits);
  static std::string show(const std::string& value);
  static void read(Value& value, const Limits& limits, std::string& out);
};
// Plain text, or a SCRAM-SHA-256 secret.
struct PasswordCodec {
  static std::string allowed(const Limits& limits);
  static std::string show(const std::string& value);
  static void read(Value& value, const Limits& limits, std::string& out);
};

// "500ms", "30s", "10m", "1h", "0"; none: no duration.
[[nodiscard]] std::optional<Millis> parse_duration(std::string_view text);
[[nodiscard]] std::string format_duration(Millis duration);

}  // namespace weir::config
