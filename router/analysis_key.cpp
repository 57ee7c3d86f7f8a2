#include "router/analysis_key.hpp"

#include <algorithm>
#include <string>

namespace weir::router {
namespace {

using schema::KeyType;
namespace oid = schema::oid;

constexpr int kMaxCasts = 8;

struct NamedType {
  std::string_view name;
  std::uint32_t type;
  std::uint32_t array;
};
// pg_type.dat
constexpr NamedType kTypes[] = {
    {"int2", oid::kInt2, 1005},       {"int4", oid::kInt4, 1007},       {"int8", oid::kInt8, 1016},
    {"text", oid::kText, 1009},       {"varchar", oid::kVarchar, 1015}, {"uuid", oid::kUuid, 2951},
    {"numeric", oid::kNumeric, 1231},
};

std::uint32_t array_of(std::uint32_t element) {
  for (const NamedType& t : kTypes)
    if (t.type == element) return t.array;
  return 0;
}

std::uint32_t element_of(std::uint32_t array) {
  for (const NamedType& t : kTypes)
    if (t.array == array) return t.type;
  return 0;
}

std::optional<KeyFamily> family_of_oid(std::uint32_t type) {
  const auto key = schema::key_type_of(type);
  return key ? std::optional(family_of(*key)) : std::nullopt;
}

bool is_blank(char c) { return c == ' ' || c == '\t' || c == '\n' || c == '\r' || c == '\f' || c == '\v'; }

std::string unquote(std::string_view quoted) {
  std::string out;
  for (std::size_t i = 1; i + 1 < quoted.size(); ++i) {
    out.push_back(quoted[i]);
    if (quoted[i] == '\'') ++i;
  }
  return out;
}

// True if the lifted literal is the string the parser read. Escapes are left to resolve(), which must read them anyway.
bool same_string(std::string_view lifted, LiteralClass kind, std::string_view value) {
  switch (kind) {
    case LiteralClass::string:
      return unquote(lifted) == value;
    case LiteralClass::escape_string:
      return true;
    case LiteralClass::dollar_string:
      return lifted.size() >= value.size() && lifted.find(value) != std::string_view::npos;
    case LiteralClass::int4:
    case LiteralClass::int8:
    case LiteralClass::numeric:
    case LiteralClass::bit_string:
      return false;
  }
  return false;
}

std::string_view without_zeros(std::string_view digits) {
  const auto is_digit = [](char c) { return c >= '0' && c <= '9'; };
  while (digits.size() > 1 && digits[0] == '0' && is_digit(digits[1])) digits.remove_prefix(1);
  return digits;
}

}  // namespace

KeyFamily family_of(KeyType type) noexcept {
  switch (type) {
    case KeyType::int2:
    case KeyType::int4:
    case KeyType::int8:
      return KeyFamily::integer;
    case KeyType::text:
    case KeyType::varchar:
      return KeyFamily::text;
    case KeyType::uuid:
      return KeyFamily::uuid;
  }
  return KeyFamily::integer;
}

KeyReader::KeyReader(const AnalysisInput& input, const Survey& survey) : input_(input), survey_(survey) {
  const auto& path = input.search_path;
  const auto listed = std::find(path.begin(), path.end(), "pg_catalog");
  builtins_first_ = listed == path.end() || listed == path.begin();
}

bool KeyReader::is_builtin_operator(const List* parts, std::string_view op) const {
  const pg::Name name = pg::name_of(parts);
  if (name.name != op) return false;
  if (name.schema == "pg_catalog") return true;
  return name.schema.empty() && builtins_first_ && !input_.catalog->has_user_operator(op);
}

std::optional<KeyReader::Cast> KeyReader::cast_of(const TypeName& type) const {
  const pg::Name name = pg::name_of(type.names);
  if (type.setof || type.pct_type || type.typmods != nullptr) return std::nullopt;
  const bool builtin = name.schema == "pg_catalog" ||
                       (name.schema.empty() && builtins_first_ && !input_.catalog->has_user_type(name.name));
  if (!builtin || pg::ListOf<>(type.arrayBounds).size() > 1) return std::nullopt;
  for (const NamedType& t : kTypes)
    if (t.name == name.name) return Cast{t.type, type.arrayBounds != nullptr};
  return std::nullopt;
}

std::optional<KeySource> KeyReader::read(const Node* expr, KeyType type) {
  if (auto plain = read_plain(expr, type)) return plain;
  return family_of(type) == KeyFamily::integer ? computed(expr, type) : std::nullopt;
}

std::optional<KeySource> KeyReader::read_plain(const Node* expr, KeyType type) {
  const KeyFamily family = family_of(type);
  bool negated = false;
  std::uint32_t cast = 0;  // the innermost
  for (int i = 0; i < kMaxCasts; ++i) {
    if (const auto* op = pg::as<A_Expr>(expr, T_A_Expr)) {
      const bool sign = op->kind == AEXPR_OP && op->lexpr == nullptr && family == KeyFamily::integer;
      const bool minus = sign && is_builtin_operator(op->name, "-");
      if (!minus && !(sign && is_builtin_operator(op->name, "+"))) return std::nullopt;
      negated ^= minus;
      expr = op->rexpr;
    } else if (const auto* to = pg::as<TypeCast>(expr, T_TypeCast)) {
      const auto target = cast_of(*to->typeName);
      if (!target || target->array) return std::nullopt;
      const bool numeric = target->type == oid::kNumeric && family == KeyFamily::integer;
      if (!numeric && family_of_oid(target->type) != family) return std::nullopt;
      cast = target->type;
      expr = to->arg;
    } else if (const auto* c = pg::as<A_Const>(expr, T_A_Const)) {
      if (cast == oid::kNumeric && !c->isnull && c->val.node.type == T_String) return std::nullopt;
      return constant(*c, type, negated);
    } else if (const auto* p = pg::as<ParamRef>(expr, T_ParamRef)) {
      return negated || cast == oid::kNumeric ? std::nullopt : parameter(*p, type, cast, false);
    } else {
      return std::nullopt;
    }
  }
  return std::nullopt;
}

std::optional<std::vector<KeySource>> KeyReader::read_in_list(const List* list, KeyType type) {
  std::vector<KeySource> out;
  bool inferred = false, numbers = false;
  for (Node* item : pg::ListOf<>(list)) {
    auto source = read(item, type);
    if (!source) return std::nullopt;
    inferred |= source->kind == KeySource::Kind::parameter && source->declared == 0 &&
                declared(static_cast<int>(source->index) + 1) == 0;
    numbers |= !pg::is(item, T_ParamRef) &&
               !(pg::is(item, T_A_Const) && reinterpret_cast<A_Const*>(item)->val.node.type == T_String);
    out.push_back(std::move(*source));
  }
  // The items of a list get one common type: beside a numeric a parameter would become numeric, and whether this number
  // is one changes with the literal's value, not with the plan.
  if (inferred && numbers && out.size() > 1) return std::nullopt;
  return out;
}

std::optional<std::vector<KeySource>> KeyReader::read_any(const Node* expr, KeyType type) {
  std::uint32_t cast = 0;
  if (const auto* to = pg::as<TypeCast>(expr, T_TypeCast)) {
    const auto target = cast_of(*to->typeName);
    if (!target || !target->array || family_of_oid(target->type) != family_of(type)) return std::nullopt;
    cast = target->type;
    expr = to->arg;
  }
  if (const auto* p = pg::as<ParamRef>(expr, T_ParamRef)) {
    auto source = parameter(*p, type, cast, true);
    if (!source) return std::nullopt;
    return std::vector<KeySource>{std::move(*source)};
  }
  const auto* array = pg::as<A_ArrayExpr>(expr, T_A_ArrayExpr);
  if (array == nullptr || pg::ListOf<>(array->elements).size() == 0) return std::nullopt;
  std::vector<KeySource> out;
  for (Node* item : pg::ListOf<>(array->elements)) {
    // Without a cast of the array, strings and parameters alone would make it text[].
    const auto* c = pg::as<A_Const>(item, T_A_Const);
    const bool untyped = pg::is(item, T_ParamRef) || (c != nullptr && (c->isnull || c->val.node.type == T_String));
    if (cast == 0 && untyped && family_of(type) != KeyFamily::text) return std::nullopt;
    auto source = read(item, type);
    if (!source) return std::nullopt;
    out.push_back(std::move(*source));
  }
  return out;
}

std::uint32_t KeyReader::declared(int number) const {
  const auto i = static_cast<std::size_t>(number - 1);
  const std::uint32_t type = number >= 1 && i < input_.declared.size() ? input_.declared[i] : 0;
  return type == oid::kUnknown ? 0 : type;
}

// The type to read the parameter as: 0 if it has the column's by inference, or is what Parse said. None: does not bind.
std::optional<std::uint32_t> KeyReader::parameter_type(const ParamRef& ref, KeyFamily family, std::uint32_t cast,
                                                       bool array) {
  const std::uint32_t from_parse = declared(ref.number);
  if (from_parse == 0) {
    Uses& uses = uses_[ref.number];
    uses.nodes.insert(reinterpret_cast<const Node*>(&ref));
    uses.mixed |= uses.family && *uses.family != family;
    uses.array |= array;
    uses.family = family;
    return array && cast != 0 ? array_of(cast) : cast;
  }
  const std::uint32_t element = array ? element_of(from_parse) : from_parse;
  const auto declared_family = family_of_oid(element);
  if (declared_family == family) return 0;
  // $1::uuid of a parameter declared as text (as JDBC does): the text is read by uuid_in.
  if (!array && cast == oid::kUuid && declared_family == KeyFamily::text) return oid::kUuid;
  return std::nullopt;
}

std::optional<KeySource> KeyReader::parameter(const ParamRef& ref, KeyType type, std::uint32_t cast, bool array) {
  if (ref.number < 1) return std::nullopt;
  const auto as_type = parameter_type(ref, family_of(type), cast, array);
  if (!as_type) return std::nullopt;
  KeySource source;
  source.kind = array ? KeySource::Kind::parameter_array : KeySource::Kind::parameter;
  source.index = static_cast<std::uint32_t>(ref.number - 1);
  source.type = type;
  source.declared = *as_type;
  return source;
}

bool KeyReader::usable(const KeySource& source) const {
  if (source.computed) {
    bool all = true;
    for_each_leaf(source, [&](const KeySource& leaf) { all = all && usable(leaf); });
    return all;
  }
  const bool from_parameter =
      source.kind == KeySource::Kind::parameter || source.kind == KeySource::Kind::parameter_array;
  const int number = static_cast<int>(source.index) + 1;
  if (!from_parameter || declared(number) != 0) return true;
  const auto uses = uses_.find(number);
  const auto all = survey_.parameter_uses.find(number);
  if (uses == uses_.end() || all == survey_.parameter_uses.end()) return false;
  // An array that is used twice is not looked into.
  if (uses->second.mixed || (uses->second.array && all->second > 1)) return false;
  return static_cast<int>(uses->second.nodes.size()) == all->second;
}

std::optional<KeySource> KeyReader::constant(const A_Const& c, KeyType type, bool negated) const {
  if (c.isnull) {
    KeySource source;
    source.kind = KeySource::Kind::null;
    source.type = type;
    return source;
  }
  const bool integer = family_of(type) == KeyFamily::integer;
  switch (c.val.node.type) {
    case T_Integer:
      if (!integer) return std::nullopt;
      return number(std::to_string(c.val.ival.ival), c.location, type, negated);
    case T_Float:
      if (!integer) return std::nullopt;
      return number(pg::text(c.val.fval.fval), c.location, type, negated);
    case T_String:
      // A minus before a string without a cast is ambiguous to the server, and with one it is not worth a rule.
      if (negated) return std::nullopt;
      return string(pg::text(c.val.sval.sval), c.location, type);
    default:
      return std::nullopt;
  }
}

// `digits` as the parser has it, a folded minus included; the parser puts the location of a folded constant at its
// minus.
std::optional<KeySource> KeyReader::number(std::string_view digits, int location, KeyType type, bool negated) const {
  const bool folded = digits.starts_with('-');
  if (folded) digits.remove_prefix(1);
  KeySource source;
  source.type = type;
  source.negated = negated != folded;
  if (!input_.literals.empty()) {
    if (location < 0) return std::nullopt;
    std::size_t at = static_cast<std::size_t>(location);
    bool minus = false;
    for (; at < input_.sql.size() && (is_blank(input_.sql[at]) || input_.sql[at] == '-' || input_.sql[at] == '('); ++at)
      minus ^= input_.sql[at] == '-';
    const std::string_view rest = without_zeros(input_.sql.substr(std::min(at, input_.sql.size())));
    if (minus != folded || inside_literal(at) || !rest.starts_with(without_zeros(digits))) return std::nullopt;
    if (const auto literal = literal_at(at)) {
      const LiteralClass kind = input_.literals[*literal].kind;
      if (kind != LiteralClass::int4 && kind != LiteralClass::int8 && kind != LiteralClass::numeric)
        return std::nullopt;
      source.index = static_cast<std::uint32_t>(*literal);
      return source;
    }
  }
  const std::string text = (source.negated ? "-" : "") + std::string(digits);
  source.value = schema::key_from_number(type, text);
  source.kind = KeySource::Kind::fixed;
  source.negated = false;
  return source.value ? std::optional(std::move(source)) : std::nullopt;
}

std::optional<KeySource> KeyReader::string(std::string_view value, int location, KeyType type) const {
  KeySource source;
  source.type = type;
  if (!input_.literals.empty()) {
    if (location < 0) return std::nullopt;
    const auto at = static_cast<std::size_t>(location);
    if (inside_literal(at)) return std::nullopt;
    if (const auto literal = literal_at(at)) {
      const Literal& lifted = input_.literals[*literal];
      if (!same_string(input_.sql.substr(lifted.offset, lifted.length), lifted.kind, value)) return std::nullopt;
      source.index = static_cast<std::uint32_t>(*literal);
      return source;
    }
  }
  source.kind = KeySource::Kind::fixed;
  source.value = schema::key_from_text(type, value);
  return source.value ? std::optional(std::move(source)) : std::nullopt;
}

std::optional<std::size_t> KeyReader::literal_at(std::size_t offset) const {
  const auto at = std::lower_bound(input_.literals.begin(), input_.literals.end(), offset,
                                   [](const Literal& l, std::size_t o) { return l.offset < o; });
  if (at == input_.literals.end() || at->offset != offset) return std::nullopt;
  return static_cast<std::size_t>(at - input_.literals.begin());
}

// Strictly inside: then lexer and parser disagree about where tokens begin.
bool KeyReader::inside_literal(std::size_t offset) const {
  const auto after = std::lower_bound(input_.literals.begin(), input_.literals.end(), offset,
                                      [](const Literal& l, std::size_t o) { return l.offset < o; });
  if (after == input_.literals.begin()) return false;
  const Literal& before = *(after - 1);
  return offset < std::size_t{before.offset} + before.length;
}

}  // namespace weir::router
