// resolve(): a plan's bindings with the values of one execution, to the one shard they lie on.
#include <algorithm>
#include <limits>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/strings.hpp"
#include "router/array_elements.hpp"
#include "router/key_expression.hpp"
#include "router/literal_value.hpp"
#include "router/plan.hpp"
#include "router/scatter_plan.hpp"
#include "router/write_plan.hpp"

namespace weir::router {
namespace {

using schema::KeyValue;
using schema::ShardId;

Error refusal(std::string message, std::string hint) {
  return Error(sqlstate::kFeatureNotSupported, std::move(message), std::move(hint));
}

// A value as an error message may show it.
std::string shown(std::string_view value) {
  constexpr std::size_t kShown = 64;
  return value.size() <= kShown ? std::string(value) : concat(value.substr(0, kShown), "...");
}

// 'now', 'today 10:00': an input function reads the clock of the shard that happens to run it.
bool names_a_time(std::string_view text) {
  const auto is_letter = [](char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); };
  const auto start = std::find_if_not(text.begin(), text.end(), [](char c) { return c == ' ' || c == '\t' || c == '\n'; });
  const auto end = std::find_if_not(start, text.end(), is_letter);
  const std::string word = ascii_lower(std::string_view(start, end));
  if (word != "now" && word != "today" && word != "tomorrow" && word != "yesterday") return false;
  const auto rest = std::find_if_not(end, text.end(), [](char c) { return c == ' ' || c == '\''; });
  return rest == text.end() || (*rest >= '0' && *rest <= '9');
}

std::optional<Error> against_times(const Arguments& arguments) {
  bool found = false;
  for (const Literal& literal : arguments.literals) {
    const std::string_view text = arguments.sql.substr(literal.offset, literal.length);
    const auto quote = text.find('\'');
    if (quote != std::string_view::npos) found |= names_a_time(text.substr(quote + 1));
  }
  for (const Parameter& parameter : arguments.parameters)
    found |= !parameter.is_null && !parameter.binary && names_a_time(as_text(parameter.value));
  if (!found) return std::nullopt;
  return refusal("'now', 'today' and the like cannot be read over several shards", "Write now() or current_date.");
}

// A plan that takes two literals for one is no plan of a statement in which they differ.
std::optional<Error> against_literals(const ScatterPlan& plan, const Arguments& arguments) {
  const auto text = [&](std::uint32_t i) {
    return arguments.sql.substr(arguments.literals[i].offset, arguments.literals[i].length);
  };
  if (auto times = against_times(arguments)) return times;
  bool other = false;
  for (const auto& [a, b] : plan.literals.same) other |= text(a) != text(b);
  for (const auto& [literal, fixed] : plan.literals.fixed) other |= text(literal) != fixed;
  if (other)
    return refusal("an expression of the select list that differs from GROUP BY in a literal cannot be answered over "
                   "several shards",
                   "Write the same expression in both places.");
  return std::nullopt;
}

class Resolver {
 public:
  Resolver(const Plan& plan, const Arguments& arguments, const schema::BucketMap& map)
      : plan_(plan), arguments_(arguments), map_(map) {}

  // The shard of each row of an INSERT.
  Result<std::vector<ShardId>> rows() {
    std::vector<ShardId> shards;
    rows_ = &shards;
    for (const Binding& binding : plan_.bindings) {
      binding_ = &binding;
      for (const KeySource& source : binding.values)
        if (auto landed = take(source); !landed) return landed.take_error();
    }
    return shards;
  }

  // A hint's shard. What the statement's own keys say is not asked, but for new rows that would be lost there.
  Result<Route> named() {
    const NamedPlace& place = *plan_.named;
    Route route;
    if (place.key) {
      if (const auto doubt = doubt_about_text(*place.key)) return contradiction(concat("the key of a hint is ", *doubt));
      route.shard = map_.shard_of(*place.key);
    }
    if (place.shard && place.key && *place.shard != route.shard)
      return contradiction(concat("key ", place.key->str(), " is not on the shard that the hints name"));
    if (place.shard) route.shard = *place.shard;
    if (plan_.bindings.empty()) return route;
    const auto rows = keyed();
    if (rows && rows->shard == route.shard && rows->shards.empty()) return route;
    if (!rows && several_on_ == nullptr) return route;
    return contradiction(concat("a new row of table ", plan_.bindings.front().table, " belongs to another shard than a hint names"));
  }

  Result<Route> keyed() {
    for (const Binding& binding : plan_.bindings) {
      binding_ = &binding;
      for (const KeySource& source : binding.values)
        if (auto landed = take(source); !landed) return landed.take_error();
    }
    if (several_on_ != nullptr) return several_shards();
    Route route;
    route.shard = shard_.value_or(schema::kHomeShard);
    if (one_bucket_) route.bucket = bucket_;
    return route;
  }

 private:
  Result<void> take(const KeySource& source) {
    switch (source.kind) {
      case KeySource::Kind::literal:
        return take_literal(source);
      case KeySource::Kind::parameter:
        return take_parameter(source);
      case KeySource::Kind::parameter_array:
        return take_array(source);
      case KeySource::Kind::fixed:
        return land_or(source, source.value, "a constant");
      case KeySource::Kind::null:
        return take_null();
      case KeySource::Kind::computed:
        return take_computed(source);
    }
    return Error(sqlstate::kInternal, concat("table ", binding_->table, " has a binding of an unknown kind"),
                 "report this");
  }

  Result<void> take_literal(const KeySource& source) {
    if (source.index >= arguments_.literals.size())
      return Error(sqlstate::kInternal, concat("the plan for table ", binding_->table, " was made for another text"),
                   "report this");
    const Literal& literal = arguments_.literals[source.index];
    const std::string_view text = arguments_.sql.substr(literal.offset, literal.length);
    const auto key = key_from_literal(source.type, literal.kind, text, source.negated);
    if (key) return land(source, *key);
    Error error = unreadable(source, "the literal");
    error.detail = concat("The literal is ", source.negated ? "-" : "", shown(text), ".");   // reasons are counted by message
    return error;
  }

  Result<void> take_computed(const KeySource& source) {
    const KeyResult result = evaluate(*source.computed, [this](const KeySource& leaf) { return value_of_leaf(leaf); });
    if (result.state == KeyResult::State::null) return take_null();
    if (result.state == KeyResult::State::value)
      if (const auto key = schema::key_from_number(source.type, std::to_string(result.value))) return land(source, *key);
    return unreadable(source, "an expression");
  }

  [[nodiscard]] KeyResult value_of_leaf(const KeySource& leaf) const {
    std::optional<KeyValue> key = leaf.value;
    if (leaf.kind == KeySource::Kind::literal && leaf.index < arguments_.literals.size()) {
      const Literal& literal = arguments_.literals[leaf.index];
      key = key_from_literal(leaf.type, literal.kind, arguments_.sql.substr(literal.offset, literal.length), leaf.negated);
    } else if (leaf.kind == KeySource::Kind::parameter) {
      const auto given = parameter(leaf);
      if (!given) return {};
      if ((*given)->is_null) return {KeyResult::State::null, 0};
      key = schema::key_from_parameter(leaf.type, declared(leaf), (*given)->binary, (*given)->value);
    }
    if (!key || !key->is_integer()) return {};
    // -2147483648 is an int4, and 2147483648, of which it is made, none.
    const bool doubtful = leaf.kind != KeySource::Kind::parameter && leaf.type == schema::KeyType::int8 && key->integer() == std::numeric_limits<std::int32_t>::min();
    return doubtful ? KeyResult{} : KeyResult{KeyResult::State::value, key->integer()};
  }

  // Fails where Bind gave fewer parameters.
  Result<const Parameter*> parameter(const KeySource& source) const {
    if (source.index < arguments_.parameters.size()) return &arguments_.parameters[source.index];
    return Error(
        sqlstate::kProtocolViolation,
        concat("bind message supplies ", std::to_string(arguments_.parameters.size()),
               " parameters, but the key of table ", binding_->table, " is $", std::to_string(source.index + 1)),
        "bind every parameter of the statement");
  }

  // The type to read the parameter as: what the plan says, else Parse's, else (0) the column's.
  [[nodiscard]] std::uint32_t declared(const KeySource& source) const {
    if (source.declared != schema::oid::kUnspecified) return source.declared;
    const std::uint32_t given =
        source.index < arguments_.declared.size() ? arguments_.declared[source.index] : schema::oid::kUnspecified;
    return given == schema::oid::kUnknown ? schema::oid::kUnspecified : given;
  }

  Result<void> take_parameter(const KeySource& source) {
    auto given = parameter(source);
    if (!given) return given.take_error();
    const Parameter& value = **given;
    if (value.is_null) return take_null();
    if (source.negated) return unreadable(source, "the negated parameter");
    return land_or(source, schema::key_from_parameter(source.type, declared(source), value.binary, value.value),
                   "the parameter");
  }

  Result<void> take_array(const KeySource& source) {
    auto given = parameter(source);
    if (!given) return given.take_error();
    const Parameter& value = **given;
    if (value.is_null) return take_null();
    const auto type = element_type_of(declared(source));
    if (!type) return unreadable(source, "the array");
    return value.binary ? take_binary(source, *type, value.value) : take_text(source, *type, as_text(value.value));
  }

  Result<void> take_text(const KeySource& source, std::uint32_t type, std::string_view text) {
    TextArray array(text);
    const bool text_key = source.type == schema::KeyType::text || source.type == schema::KeyType::varchar;
    for (std::string_view element;;) {
      const ElementState state = array.next(element);
      if (state == ElementState::end) return {};
      // With array_nulls off, an unquoted NULL is a text like any other.
      if (state == ElementState::malformed || (state == ElementState::null && text_key))
        return unreadable(source, "the array");
      if (state == ElementState::null) continue;
      auto landed = land_or(source, schema::key_from_parameter(source.type, type, false, as_bytes(element)),
                            "an element of the array");
      if (!landed) return landed;
    }
  }

  Result<void> take_binary(const KeySource& source, std::uint32_t type, ByteView bytes) {
    BinaryArray array(bytes);
    const std::uint32_t sent = array.element_type();
    if (type != schema::oid::kUnspecified && sent != 0 && sent != type) return unreadable(source, "the array");
    for (ByteView element;;) {
      const ElementState state = array.next(element);
      if (state == ElementState::end) return {};
      if (state == ElementState::malformed) return unreadable(source, "the array");
      if (state == ElementState::null) continue;
      auto landed =
          land_or(source, schema::key_from_parameter(source.type, sent, true, element), "an element of the array");
      if (!landed) return landed;
    }
  }

  // A comparison with NULL matches no row, whichever shard is asked; a new row with a NULL key lies nowhere.
  Result<void> take_null() {
    if (!binding_->inserts) return {};
    return refusal(concat("the key of a new row of table ", binding_->table, " is NULL"),
                   concat("give every new row of ", binding_->table, " a key"));
  }

  // `what` names where the value stood; with the parameter's number where the source is one.
  Result<void> land_or(const KeySource& source, const std::optional<KeyValue>& key, std::string_view what) {
    if (!key) return unreadable(source, what);
    return land(source, *key);
  }

  Result<void> land(const KeySource& source, const KeyValue& key) {
    if (key.is_text())
      if (const auto doubt = doubt_about(source, key)) return unreadable(source, *doubt);
    const std::uint32_t bucket = map_.bucket(key);
    const ShardId shard = map_.shard_of_bucket(bucket);
    if (rows_ != nullptr) rows_->push_back(shard);
    if (!shard_) {
      shard_ = shard;
      bucket_ = bucket;
      one_bucket_ = true;
    }
    one_bucket_ = one_bucket_ && bucket == bucket_;
    if (*shard_ != shard || several_on_ != nullptr) land_elsewhere(shard);
    return {};
  }

  // Why the server may store or compare another text than this one.
  [[nodiscard]] std::optional<std::string_view> doubt_about(const KeySource& source, const KeyValue& key) const {
    if (source.max_length != 0 && key.text().size() > source.max_length && key.text().ends_with(' '))
      return "a text with blanks at its end that the column may cut off";
    return doubt_about_text(key);
  }

  [[nodiscard]] std::optional<std::string_view> doubt_about_text(const KeyValue& key) const {
    const auto is_ascii = [](char c) { return static_cast<unsigned char>(c) < 0x80; };
    if (arguments_.server_encoding || !key.is_text() || std::all_of(key.text().begin(), key.text().end(), is_ascii)) return std::nullopt;
    return "a non-ASCII text while client_encoding is not the server's";
  }

  static Error contradiction(std::string message) {
    return Error(sqlstate::kInvalidParameter, std::move(message), "Hints and keys must name one shard; weirctl route shows where a key lies.");
  }

  void land_elsewhere(ShardId shard) {
    if (several_on_ == nullptr) {
      several_on_ = binding_;
      seen_.resize(map_.shards());
      seen_[*shard_] = true;
    }
    seen_[shard] = true;
  }

  Result<Route> several_shards() const {
    if (plan_.scatter == nullptr) return too_many_shards();
    if (auto other = against_literals(*plan_.scatter, arguments_)) return *other;
    Route route;
    for (ShardId shard = 0; shard < seen_.size(); ++shard)
      if (seen_[shard]) route.shards.push_back(shard);
    route.shard = route.shards.front();
    return route;
  }

  Error too_many_shards() const {
    if (plan_.apart) return *plan_.apart;
    std::size_t count = 0;
    for (const bool seen : seen_) count += seen ? 1 : 0;
    const std::string& table = several_on_->table;
    return refusal(
        concat("the statement needs ", std::to_string(count), " shards: keys of table ", table, " lie on them"),
        concat("bind the key of ", table, " to one value, or run one statement a shard"));
  }

  Error unreadable(const KeySource& source, std::string_view what) const {
    const bool numbered = source.kind == KeySource::Kind::parameter || source.kind == KeySource::Kind::parameter_array;
    const std::string number = numbered ? concat(" $", std::to_string(source.index + 1)) : std::string();
    return refusal(concat("the key of table ", binding_->table, " cannot be read from ", what, number, " as ",
                          schema::name_of(source.type)),
                   concat("compare the key with a value of type ", schema::name_of(source.type)));
  }

  const Plan& plan_;
  const Arguments& arguments_;
  const schema::BucketMap& map_;
  const Binding* binding_ = nullptr;     // the present one
  const Binding* several_on_ = nullptr;  // the first whose key lies elsewhere than those before
  std::optional<ShardId> shard_;         // of the first key
  std::uint32_t bucket_ = 0;             // likewise
  bool one_bucket_ = false;              // every key's so far
  std::vector<bool> seen_;               // shards, once there are several
  std::vector<ShardId>* rows_ = nullptr;
};

Result<Route> every_shard(const ScatterPlan& plan, const Arguments& arguments, const schema::BucketMap& map) {
  Route route;
  if (map.shards() < 2) return route;
  if (auto other = against_literals(plan, arguments)) return *other;
  for (ShardId shard = 0; shard < map.shards(); ++shard) route.shards.push_back(shard);
  return route;
}

}  // namespace

Result<std::vector<ShardId>> shards_of_rows(const Plan& plan, const Arguments& arguments, const schema::BucketMap& map) {
  return Resolver(plan, arguments, map).rows();
}

Result<Route> resolve(const Plan& plan, const Arguments& arguments, const schema::BucketMap& map) {
  switch (plan.target) {
    case Target::transaction:
    case Target::home:
    case Target::no_table:
      return Route{};
    case Target::any:
      return Route{schema::kHomeShard, true, std::nullopt, {}};
    case Target::named:
      return Resolver(plan, arguments, map).named();
    case Target::keyed:
      return Resolver(plan, arguments, map).keyed();
    case Target::scatter:
      return every_shard(*plan.scatter, arguments, map);
    case Target::refused:
      break;
  }
  if (plan.refusal) return *plan.refusal;
  return refusal("the statement cannot be routed", "name a shard, or bind the key of every sharded table");
}

}  // namespace weir::router
