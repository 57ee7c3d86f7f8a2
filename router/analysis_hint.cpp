#include "router/analysis_hint.hpp"

#include <algorithm>
#include <array>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/strings.hpp"
#include "router/hint.hpp"

namespace weir::router {
namespace {

using schema::KeyType;
using schema::KeyValue;

constexpr std::string_view kShard = "weir.shard", kKey = "weir.key", kRole = "weir.role";

Error invalid(std::string message, std::string hint) {
  return Error(sqlstate::kInvalidParameter, std::move(message), std::move(hint));
}

// ---- shards and keys by name ----

Result<schema::ShardId> shard_named(const schema::Catalog& catalog, std::string_view name) {
  const std::vector<std::string>& names = catalog.shard_names();
  const auto found = std::find(names.begin(), names.end(), name);
  if (found != names.end()) return static_cast<schema::ShardId>(found - names.begin());
  std::string all;
  for (const std::string& known : names) all += concat(all.empty() ? "" : ", ", known);
  return invalid(concat("there is no shard \"", name, "\""), concat("The shards of this database are: ", all, "."));
}

// Types of which equal values lie in the same bucket.
KeyType widest(KeyType type) {
  switch (type) {
    case KeyType::int2:
    case KeyType::int4:
    case KeyType::int8:
      return KeyType::int8;
    case KeyType::text:
    case KeyType::varchar:
      return KeyType::text;
    case KeyType::uuid:
      return KeyType::uuid;
  }
  return type;
}

// Of the keys of the tables named in `tables`, or of all, where it names no sharded one.
std::vector<KeyType> key_types(const schema::Catalog& catalog, const std::vector<std::string>& tables) {
  std::vector<KeyType> all, named;
  const auto add = [](std::vector<KeyType>& types, KeyType type) {
    if (std::find(types.begin(), types.end(), type) == types.end()) types.push_back(type);
  };
  for (const schema::Relation& relation : catalog.relations()) {
    if (relation.placement != schema::Placement::sharded) continue;
    const KeyType type = widest(relation.key_type.value_or(KeyType::int8));
    add(all, type);
    if (std::find(tables.begin(), tables.end(), relation.qualified()) != tables.end()) add(named, type);
  }
  return named.empty() ? all : named;
}

std::string names_of(const std::vector<KeyType>& types) {
  std::string names;
  for (const KeyType type : types) names += concat(names.empty() ? "" : ", ", schema::name_of(type));
  return names;
}

Result<KeyValue> key_of(const schema::Catalog& catalog, const std::vector<std::string>& tables, const std::string& text) {
  if (!catalog.sharded()) return invalid("a key is given, and this database is not sharded", "Leave the key out.");
  const std::vector<KeyType> types = key_types(catalog, tables);
  if (types.empty()) return invalid("a key is given, and no table of this database has one", "Name the shard.");
  if (types.size() > 1)
    return invalid(concat("key ", text, " may be of several types: ", names_of(types)),
                   "The statement's tables do not say which, or have several: name the shard.");
  if (auto key = schema::key_from_text(types.front(), text)) return std::move(*key);
  return invalid(concat("key ", text, " cannot be read as ", schema::name_of(types.front())), "Give a value as the key's column has it.");
}

// ---- a statement ----

void refuse(Plan& plan, Error error) {
  plan.target = Target::refused;
  plan.bindings.clear();
  plan.scatter.reset();
  plan.named.reset();
  plan.why.push_back(error.message);
  plan.refusal = std::move(error);
}

// Its place is the session's affair, or that of the statement which it prepares or executes.
bool has_no_place(const Plan& plan) {
  return plan.target == Target::transaction || plan.verb == Verb::own_setting || plan.verb == Verb::prepare || plan.verb == Verb::execute ||
         !plan.prepared.empty();
}

Result<NamedPlace> place_of(const Hint& hint, const Plan& plan, const schema::Catalog& catalog) {
  NamedPlace place;
  if (!hint.shard.empty()) {
    auto shard = shard_named(catalog, hint.shard);
    if (!shard) return shard.take_error();
    place.shard = *shard;
  }
  if (hint.key) {
    auto key = key_of(catalog, plan.tables, *hint.key);
    if (!key) return key.take_error();
    place.key = std::move(*key);
  }
  return place;
}

// Whatever the analysis found out about other shards is the user's affair now, but for rows that certainly belong elsewhere.
void put(Plan& plan, NamedPlace place, bool sharded) {
  if (plan.refusal && (plan.effects.sets || plan.effects.sets_locally)) return;   // set_config() of what decides how statements are read
  plan.why.push_back("a hint names the shard");
  if (!sharded) return;
  plan.refusal.reset();
  plan.scatter.reset();
  std::erase_if(plan.bindings, [](const Binding& b) { return !b.inserts; });
  plan.target = Target::named;
  plan.named = std::move(place);
}

}  // namespace

void place_by_hints(Plan& plan, std::string_view statement, const AnalysisInput& input) {
  const bool sharded = input.catalog->sharded();
  auto in_front = read_hints(statement);
  plan.hinted |= !in_front || in_front->has_value();
  if (plan.verb == Verb::unparsable && sharded) return;   // it does not run
  if (!in_front) return refuse(plan, in_front.take_error());
  Hint hint;
  if (!input.hints.empty())
    if (auto session = parse_hint(input.hints)) hint = std::move(*session);
  if (const auto& own = *in_front) {
    if (has_no_place(plan) || plan.verb == Verb::empty)
      return refuse(plan, Error(sqlstate::kSyntaxError, concat("a hint in front of ", plan.verb == Verb::empty ? "nothing" : name_of(plan.verb), " names no place"),
                                "Put hints in front of the statements that they are for, or use SET or SET LOCAL weir.shard, weir.key, weir.role."));
    if (own->names_place()) {
      hint.shard = own->shard;
      hint.key = own->key;
    }
    hint.primary |= own->primary;
  }
  plan.primary = hint.primary;
  if (!hint.names_place() || has_no_place(plan) || plan.verb == Verb::empty) return;
  auto place = place_of(hint, plan, *input.catalog);
  if (!place) return refuse(plan, place.take_error());
  put(plan, std::move(*place), sharded);
}

// ---- settings of Weir's own ----

namespace {

// SET weir.key = -7 is a constant or a minus before one; of strings, what stands in quotes.
std::optional<std::string> value_of(const VariableSetStmt& stmt) {
  const pg::ListOf<> values(stmt.args);
  if (values.size() != 1) return std::nullopt;
  const auto* constant = pg::as<A_Const>(values[0], T_A_Const);
  if (constant == nullptr || constant->isnull) return std::nullopt;
  switch (constant->val.node.type) {
    case T_Integer:
      return std::to_string(constant->val.ival.ival);
    case T_Float:
      return std::string(pg::text(constant->val.fval.fval));
    case T_String:
      return std::string(pg::text(constant->val.sval.sval));
    default:
      return std::nullopt;
  }
}

std::optional<Error> against_value(std::string_view name, const std::string& value, const schema::Catalog& catalog) {
  if (value.empty()) return std::nullopt;
  if (name == kShard) {
    if (auto shard = shard_named(catalog, value); !shard) return shard.take_error();
  } else if (name == kRole) {
    if (value != "primary") return invalid(concat("weir.role cannot be \"", value, "\""), "It is primary, or empty: as the configuration says.");
  } else if (key_types(catalog, {}).size() < 2) {   // else the statement's tables say what it is
    if (auto key = key_of(catalog, {}, value); !key) return key.take_error();
  }
  return std::nullopt;
}

void own_setting(const VariableSetStmt& stmt, const schema::Catalog& catalog, Plan& plan) {
  using Kind = OwnSetting::Kind;
  plan.own.emplace();
  plan.own->kind = stmt.is_local ? Kind::set_local : Kind::set;
  switch (stmt.kind) {
    case VAR_SET_VALUE: {
      auto value = value_of(stmt);
      if (!value) return refuse(plan, invalid(concat("the value of ", plan.setting, " is no single constant"), "Write one number, word or string."));
      plan.own->value = std::move(*value);
      if (auto error = against_value(plan.setting, plan.own->value, catalog)) refuse(plan, std::move(*error));
      return;
    }
    case VAR_SET_DEFAULT:
      if (!stmt.is_local) plan.own->kind = Kind::reset;
      return;
    case VAR_RESET:
      plan.own->kind = Kind::reset;
      return;
    case VAR_RESET_ALL:
    case VAR_SET_MULTI:
    case VAR_SET_CURRENT:
      return refuse(plan, invalid(concat(plan.setting, " can be set to a value, or reset"), "Write SET name = value, or RESET name."));
  }
}

}  // namespace

bool classify_own_setting(const Node* stmt, const schema::Catalog& catalog, Plan& plan) {
  const auto* set = pg::as<VariableSetStmt>(stmt, T_VariableSetStmt);
  const auto* show = pg::as<VariableShowStmt>(stmt, T_VariableShowStmt);
  const std::string name = ascii_lower(pg::text(set != nullptr ? set->name : show != nullptr ? show->name : nullptr));
  if (!name.starts_with("weir.")) return false;
  plan.verb = Verb::own_setting;
  plan.target = Target::transaction;
  plan.setting = name;
  plan.hinted = plan.read_only = true;
  if (name != kShard && name != kKey && name != kRole)
    refuse(plan, Error(SqlState{"42704"}, concat("unrecognized configuration parameter \"", name, "\""), "Weir's own settings are weir.shard, weir.key and weir.role."));
  else if (show != nullptr)
    plan.own.emplace();
  else
    own_setting(*set, catalog, plan);
  return true;
}

}  // namespace weir::router
