#include "proxy/scatter_checks.hpp"

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <utility>

#include "base/strings.hpp"
#include "proxy/statements.hpp"
#include "router/merge/order.hpp"

namespace weir::proxy {

namespace {

// pg_type.dat: types that are gathered, and their arrays.
constexpr std::pair<std::uint32_t, std::uint32_t> kArrayTypes[] = {
    {16, 1000},   {17, 1001},   {18, 1002},   {19, 1003},   {20, 1016},   {21, 1005},   {23, 1007},   {25, 1009},  {26, 1028},
    {114, 199},   {142, 143},   {600, 1017},  {601, 1018},  {602, 1019},  {603, 1020},  {604, 1027},  {628, 629},  {650, 651},
    {700, 1021},  {701, 1022},  {718, 719},   {774, 775},   {790, 791},   {829, 1040},  {869, 1041},  {1042, 1014}, {1043, 1015},
    {1082, 1182}, {1083, 1183}, {1114, 1115}, {1184, 1185}, {1186, 1187}, {1266, 1270}, {1560, 1561}, {1562, 1563}, {1700, 1231},
    {2950, 2951}, {3220, 3221}, {3614, 3643}, {3615, 3645}, {3802, 3807}, {3904, 3905}, {3906, 3907}, {3908, 3909}, {3910, 3911},
    {3912, 3913}, {3926, 3927}, {5069, 271}};

constexpr std::uint32_t kName = 19;

// A type whose values are compared without any collation.
bool has_no_collation(std::uint32_t type) {
  return type != kName && !router::merge::ValueOrder::is_collatable(type) && router::merge::ValueOrder::of(type, nullptr).ok();
}

std::string described(const wire::FieldDescription& f) {
  return concat("column \"", f.name, "\" of type ", std::to_string(f.type), " with modifier ", std::to_string(f.modifier));
}

}  // namespace

std::optional<std::string> differ(const Fields& a, const Fields& b, std::size_t columns) {
  if (a.size() < columns || b.size() < columns)
    return concat("one has ", std::to_string(a.size()), " columns, the other ", std::to_string(b.size()));
  for (std::size_t i = 0; i < columns; ++i)
    if (a[i].name != b[i].name || a[i].type != b[i].type || a[i].modifier != b[i].modifier)
      return concat("one has ", described(a[i]), ", the other ", described(b[i]));
  return std::nullopt;
}

bool same_origin(const Fields& told, const Fields& now) {
  if (now.size() < told.size()) return false;
  for (std::size_t i = 0; i < told.size(); ++i)
    if (told[i].table != 0 && (told[i].table != now[i].table || told[i].attribute != now[i].attribute)) return false;
  return true;
}

Error not_alike(const router::ScatterPlan& plan, std::string reason) {
  Error error = plan.refusal;
  error.detail = std::move(reason);
  return error;
}

const wire::FieldDescription* find_binary_user_type(const Fields& fields) {
  const auto found = std::find_if(fields.begin(), fields.end(), [](const auto& f) { return f.type >= kFirstUserType && f.format != 0; });
  return found == fields.end() ? nullptr : &*found;
}

std::uint32_t array_type_of(std::uint32_t type) {
  const auto* found = std::find_if(std::begin(kArrayTypes), std::end(kArrayTypes), [&](const auto& t) { return t.first == type; });
  return found == std::end(kArrayTypes) ? 0 : found->second;
}

std::optional<std::string> cannot_be_gathered(const wire::FieldDescription& field, const router::GatheredColumn& column) {
  if (array_type_of(field.type) == 0) return concat("there is no array for ", described(field));
  if (column.exact_type) return std::nullopt;
  if (field.modifier != -1) return concat("the modifier is lost of ", described(field));
  if (!column.default_collation && !has_no_collation(field.type)) return concat("the collation is lost of ", described(field));
  return std::nullopt;
}

std::vector<std::uint16_t> formats_with_hidden(std::span<const std::uint16_t> asked, std::size_t visible, std::size_t hidden) {
  std::vector<std::uint16_t> formats(asked.begin(), asked.end());
  if (hidden == 0) return formats;
  if (asked.size() < 2) formats.assign(visible, asked.empty() ? std::uint16_t{0} : asked[0]);
  formats.insert(formats.end(), hidden, std::uint16_t{1});
  return formats;
}

std::size_t characters_in(std::string_view text) {
  return static_cast<std::size_t>(std::count_if(text.begin(), text.end(), [](char c) { return (static_cast<unsigned char>(c) & 0xC0) != 0x80; }));
}

void append_with_position(ByteBuffer& out, ByteView body, std::size_t shift) {
  if (shift == 0) return out.append(body);
  for_each_error_field(body, [&](char code, std::string_view value) {
    out.append(static_cast<std::uint8_t>(code));
    out.append(code == 'P' ? std::to_string(std::strtoull(std::string(value).c_str(), nullptr, 10) + shift) : std::string(value));
    out.append(std::uint8_t{0});
  });
  out.append(std::uint8_t{0});
}

void append_without_position(ByteBuffer& out, ByteView body) {
  for_each_error_field(body, [&](char code, std::string_view value) {
    if (code == 'P') return;
    out.append(static_cast<std::uint8_t>(code));
    out.append(value);
    out.append(std::uint8_t{0});
  });
  out.append(std::uint8_t{0});
}

std::string timestamp_text(std::chrono::system_clock::time_point at) {
  const auto us = std::chrono::duration_cast<std::chrono::microseconds>(at.time_since_epoch()).count();
  const std::time_t seconds = us / 1'000'000;
  std::tm utc{};
  gmtime_r(&seconds, &utc);
  char text[48];
  const std::size_t n = std::strftime(text, sizeof text, "%Y-%m-%d %H:%M:%S", &utc);
  std::snprintf(text + n, sizeof text - n, ".%06d+00", static_cast<int>(us % 1'000'000));
  return text;
}

}  // namespace weir::proxy
