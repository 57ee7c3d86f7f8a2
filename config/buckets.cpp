#include <algorithm>
#include <charconv>

#include "base/strings.hpp"
#include "config/load.hpp"

namespace weir::config {
namespace {

std::string_view trimmed(std::string_view text) {
  while (!text.empty() && text.front() == ' ') text.remove_prefix(1);
  while (!text.empty() && text.back() == ' ') text.remove_suffix(1);
  return text;
}

bool parse_number(std::string_view text, std::uint32_t& out) {
  text = trimmed(text);
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), out);
  return error == std::errc{} && end == text.data() + text.size();
}

// "3" or "3-7"; an error text otherwise.
std::variant<BucketRange, std::string> parse_range(std::string_view text, std::uint32_t buckets) {
  BucketRange range;
  const std::size_t dash = text.find('-');
  const std::string_view last = dash == text.npos ? text : text.substr(dash + 1);
  if (!parse_number(text.substr(0, dash), range.first) || !parse_number(last, range.last))
    return concat("\"", trimmed(text), "\" is neither a bucket nor a range of them");
  if (range.first > range.last) return concat("\"", trimmed(text), "\" runs backwards");
  if (range.last >= buckets)
    return concat("bucket ", std::to_string(range.last), " does not exist: there are ", std::to_string(buckets),
                  ", numbered 0 to ", std::to_string(buckets - 1));
  return range;
}

}  // namespace

std::variant<std::vector<BucketRange>, std::string> parse_bucket_ranges(std::string_view text, std::uint32_t buckets) {
  std::vector<BucketRange> parts;
  for (bool more = !trimmed(text).empty(); more;) {
    const std::size_t comma = text.find(',');
    auto range = parse_range(text.substr(0, comma), buckets);
    if (auto* mistake = std::get_if<std::string>(&range)) return std::move(*mistake);
    parts.push_back(std::get<BucketRange>(range));
    more = comma != text.npos;
    if (more) text.remove_prefix(comma + 1);
  }
  std::sort(parts.begin(), parts.end(), [](const auto& a, const auto& b) { return a.first < b.first; });
  std::vector<BucketRange> ranges;
  for (const BucketRange& part : parts) {
    if (!ranges.empty() && part.first <= ranges.back().last)
      return concat("bucket ", std::to_string(part.first), " is named twice");
    if (!ranges.empty() && part.first == ranges.back().last + 1) {
      ranges.back().last = part.last;
    } else {
      ranges.push_back(part);
    }
  }
  return ranges;
}

std::string format_bucket_ranges(const std::vector<BucketRange>& ranges) {
  std::string out;
  for (const BucketRange& range : ranges) {
    if (!out.empty()) out += ',';
    out += std::to_string(range.first);
    if (range.last != range.first) out += "-" + std::to_string(range.last);
  }
  return out;
}

}  // namespace weir::config
