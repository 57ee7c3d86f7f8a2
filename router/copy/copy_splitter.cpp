#include "router/copy/copy_splitter.hpp"

#include <algorithm>
#include <utility>

#include "base/strings.hpp"
#include "router/copy/key_field.hpp"

namespace weir::router::copy {

using schema::KeyType;
using Kind = RowEnd::Kind;

namespace {

constexpr std::size_t kKeptBuffer = 256 << 10;   // what a large row needed is given back

bool is_text(KeyType type) { return type == KeyType::text || type == KeyType::varchar; }

std::size_t width_of(KeyType type) {
  switch (type) {
    case KeyType::int2: return 2;
    case KeyType::int4: return 4;
    case KeyType::int8: return 8;
    case KeyType::uuid: return 16;
    case KeyType::text:
    case KeyType::varchar: break;
  }
  return 0;
}

bool is_ascii(std::string_view text) {
  return std::all_of(text.begin(), text.end(), [](char c) { return static_cast<unsigned char>(c) < 0x80; });
}

}  // namespace

CopySplitter::CopySplitter(const Settings& settings)
    : settings_(settings),
      plan_(*settings.plan),
      scanner_(plan_.options.format == Format::binary ? make_binary_scanner(plan_.columns) : make_line_scanner(plan_.options)),
      in_header_(plan_.options.header && plan_.options.format != Format::binary) {}

CopySplitter::Got CopySplitter::next(ByteView& data, Piece& piece) {
  if (std::exchange(release_held_, false)) {
    held_.clear();
    if (held_.capacity() > kKeptBuffer) held_.release();
  }
  if (over_) data = {};
  if (data.empty()) return Got::nothing;
  const RowEnd end = passes_on_ ? RowEnd{Kind::wrong, data.size(), 0} : scanner_->scan(data);
  const ByteView taken = data.first(end.used);
  data = data.subspan(end.used);
  if (end.kind == Kind::marker) data = {};
  if (held_.empty() && end.kind != Kind::incomplete) return take(end, taken, piece);
  if (held_.size() + taken.size() > settings_.max_held) {
    ++line_;
    return fail({sqlstate::kProgramLimit, concat("a row of COPY has more than ", std::to_string(settings_.max_held >> 20), " MB"),
                 "Weir holds a row until it knows its shard. Load such a row with INSERT, or into its shard's database directly."});
  }
  held_.append(taken);
  if (end.kind == Kind::incomplete) return Got::nothing;
  release_held_ = true;
  return take(end, held_.view(), piece);
}

CopySplitter::Got CopySplitter::finish(Piece& piece) {
  if (std::exchange(finished_, true) || over_ || passes_on_ || release_held_) return Got::nothing;
  const RowEnd end = scanner_->finish();
  return end.kind == Kind::incomplete ? Got::nothing : take(end, held_.view(), piece);
}

CopySplitter::Got CopySplitter::take(RowEnd end, ByteView row, Piece& piece) {
  piece = {};
  piece.bytes = row;
  if (!passes_on_) {
    piece.lines = scanner_->lines(false);
    piece.lines_as_first = scanner_->lines(true);
  }
  line_ += piece.lines;
  piece.line = line_;
  switch (end.kind) {
    case Kind::failed: return fail(scanner_->error());
    case Kind::header:
      in_header_ = false;
      piece.to_all = true;
      return Got::piece;
    case Kind::wrong:
      passes_on_ = true;
      return Got::piece;
    case Kind::marker:
      over_ = true;
      if (in_header_ || row.size() == end.ending) return Got::nothing;
      break;
    case Kind::row:
    case Kind::incomplete: break;
  }
  return place(row.first(row.size() - end.ending), piece);
}

// To the shard of its key.
CopySplitter::Got CopySplitter::place(ByteView data, Piece& piece) {
  const Field field = field_of(data, plan_.options, plan_.position, scratch_);
  if (field.kind == Field::Kind::null) return plan_.not_null ? Got::piece : place_null();
  if (field.kind == Field::Kind::wrong) return Got::piece;
  const auto key = key_of(field.value);
  if (!key) return Got::piece;
  if (key->is_text())
    if (const char* doubt = doubt_about(key->text()))
      return fail({sqlstate::kFeatureNotSupported, concat("the key of table ", plan_.table, " cannot be read from ", doubt),
                   "Give the key as the table stores it, in the server's encoding."}, true);
  piece.shard = settings_.map->shard_of(*key);
  return Got::piece;
}

CopySplitter::Got CopySplitter::place_null() {
  return fail({sqlstate::kFeatureNotSupported, concat("the key of a new row of table ", plan_.table, " is NULL"),
               concat("give every new row of ", plan_.table, " a key")}, true);
}

std::optional<schema::KeyValue> CopySplitter::key_of(ByteView value) const {
  if (plan_.options.format != Format::binary) return schema::key_from_text(plan_.type, as_text(value));
  const std::size_t width = width_of(plan_.type);
  if (width != 0 && value.size() != width) return std::nullopt;
  return schema::key_from_parameter(plan_.type, schema::oid::kUnspecified, true, value);
}

// Why the server may store another text than this one.
const char* CopySplitter::doubt_about(const std::string& text) const {
  if (!is_text(plan_.type)) return nullptr;
  if (plan_.max_length != 0 && text.size() > plan_.max_length && text.ends_with(' ')) return "a text with blanks at its end that the column may cut off";
  if (!settings_.server_encoding && !is_ascii(text)) return "a non-ASCII text in an encoding that is not the server's";
  return nullptr;
}

CopySplitter::Got CopySplitter::fail(Error error, bool of_key) {
  error_ = std::move(error);
  of_key_ = of_key;
  return Got::failed;
}

std::string CopySplitter::where() const {
  const std::string place = concat("COPY ", plan_.relation, ", line ", std::to_string(line_));
  return of_key_ ? concat(place, ", column ", plan_.key) : place;
}

}  // namespace weir::router::copy
