#include "router/scatter_context.hpp"

#include <algorithm>
#include <array>

#include "base/strings.hpp"

extern "C" bool equal(const void* a, const void* b);

namespace weir::router {
namespace {

// The library's deparser is recursive.
constexpr std::size_t kMaxScatterDepth = 120;
constexpr std::size_t kMaxScatterTables = 100;
constexpr std::size_t kMaxScatterText = 64 << 10;

constexpr std::string_view kOneShard = "Bind the sharding key to one value, or compute this in the application.";

// Built-in functions whose answer is one server's, database's or catalog's.
bool names_the_server(std::string_view name) {
  static constexpr std::string_view kPrefixes[] = {"pg_", "has_", "to_reg", "inet_", "txid_", "current_", "getdatabase",
                                                   "reg", "schema_", "table_", "database_", "cursor_", "query_to"};
  static constexpr std::string_view kNames[] = {"version", "obj_description", "shobj_description", "col_description",
                                                "format_type", "row_security_active", "statement_timestamp", "lastval"};
  const auto starts = [name](std::string_view prefix) { return name.starts_with(prefix); };
  return std::any_of(std::begin(kPrefixes), std::end(kPrefixes), starts) ||
         std::find(std::begin(kNames), std::end(kNames), name) != std::end(kNames);
}

bool is_system_column(std::string_view name) {
  static constexpr std::string_view kNames[] = {"ctid", "xmin", "xmax", "cmin", "cmax", "tableoid"};
  return std::find(std::begin(kNames), std::end(kNames), name) != std::end(kNames);
}

std::size_t depth_of(Node* root) {
  std::vector<std::pair<Node*, std::size_t>> pending{{root, 1}};
  std::vector<Node*> children;
  std::size_t deepest = 0;
  while (!pending.empty()) {
    const auto [node, depth] = pending.back();
    pending.pop_back();
    deepest = std::max(deepest, depth);
    if (!pg::walker_knows(node->type)) continue;
    children.clear();
    pg::children_of(node, children);
    for (Node* child : children) pending.emplace_back(child, depth + 1);
  }
  return deepest;
}

}  // namespace

Error scatter_refusal(std::string construct, std::string hint) {
  return Error(sqlstate::kFeatureNotSupported, concat(construct, " cannot be answered over several shards"),
               std::move(hint));
}

void for_each_node(void* root, const std::function<bool(Node*)>& visit) {
  std::vector<Node*> pending, children;
  if (root != nullptr) pending.push_back(static_cast<Node*>(root));
  while (!pending.empty()) {
    Node* node = pending.back();
    pending.pop_back();
    if (!visit(node) || !pg::walker_knows(node->type)) continue;
    children.clear();
    pg::children_of(node, children);
    pending.insert(pending.end(), children.rbegin(), children.rend());
  }
}

void for_each_own_node(void* root, const std::function<bool(Node*)>& visit) {
  std::vector<void*> tested{root};
  while (!tested.empty()) {
    void* part = tested.back();
    tested.pop_back();
    for_each_node(part, [&](Node* node) {
      if (!visit(node)) return false;
      const auto* link = pg::as<SubLink>(node, T_SubLink);
      if (link != nullptr) tested.push_back(link->testexpr);
      return link == nullptr;
    });
  }
}

bool is_star(const Node* node) {
  const auto* ref = pg::as<ColumnRef>(node, T_ColumnRef);
  if (ref == nullptr) return false;
  const pg::ListOf<> fields(ref->fields);
  return fields.size() > 0 && pg::is(fields[fields.size() - 1], T_A_Star);
}

ScatterContext::ScatterContext(Node* statement, const AnalysisInput& input, const Survey& survey, const Binder& binder)
    : statement_(statement), input_(input), survey_(survey), binder_(binder) {
  std::string lower = ascii_lower(input.sql);
  ties_ = lower.find("ties") != std::string::npos;
}

std::optional<Error> ScatterContext::look() {
  if (binder_.sharded_items().size() > kMaxScatterTables)
    return scatter_refusal("a statement of this size", std::string(kOneShard));
  if (depth_of(statement_) > kMaxScatterDepth) return scatter_refusal("a statement nested this deeply", std::string(kOneShard));
  if (input_.sql.find("weir_g") != std::string_view::npos || input_.sql.find("weir_u") != std::string_view::npos)
    return scatter_refusal("a name that begins with weir_", "Such names are Weir's own: rename it.");
  if (auto error = look_at_nodes()) return error;
  if (is_long()) return std::nullopt;
  if (auto unnamed = name_time_columns()) return unnamed;
  // A literal that is no constant of the tree would be fixed in a plan that other statements share.
  std::vector<bool> seen(input_.literals.size());
  for (const Constant& c : constants_) {
    if (seen[c.literal]) return scatter_refusal("this use of a literal", std::string(kOneShard));
    seen[c.literal] = true;
  }
  if (!std::all_of(seen.begin(), seen.end(), [](bool s) { return s; }))
    return scatter_refusal("a literal in a place where it cannot be exchanged", "Write the value as a plain constant.");
  return std::nullopt;
}

std::optional<Error> ScatterContext::look_at_nodes() {
  std::optional<Error> error;
  for_each_node(statement_, [&](Node* node) {
    if (!error) error = visit(node);
    return !error;
  });
  return error;
}

// now() gives its column a name, and what stands in its place would give another.
std::optional<Error> ScatterContext::name_time_columns() {
  if (times_.empty()) return std::nullopt;
  std::optional<Error> error;
  for_each_node(statement_, [&](Node* node) {
    auto* target = pg::as<ResTarget>(node, T_ResTarget);
    if (target == nullptr || target->name != nullptr || is_star(target->val)) return true;
    const auto name = output_name(*target);
    if (name)
      named_.emplace_back(target, *name);
    else
      error = scatter_refusal("an output column whose name is not certain", "Give it a name with AS.");
    return !error;
  });
  return error;
}

std::optional<Error> ScatterContext::visit(Node* node) {
  switch (node->type) {
    case T_FuncCall:
      return function(*reinterpret_cast<FuncCall*>(node));
    case T_SQLValueFunction:
      return value_function(*reinterpret_cast<SQLValueFunction*>(node));
    case T_A_Const:
      return constant(*reinterpret_cast<A_Const*>(node));
    case T_RangeTableSample:
      return scatter_refusal("TABLESAMPLE", std::string(kOneShard));
    case T_CurrentOfExpr:
      return scatter_refusal("WHERE CURRENT OF", "A cursor is on one shard: name the rows by their key.");
    case T_LockingClause:
      if (std::any_of(locking().begin(), locking().end(), [&](const LockingClause* own) { return reinterpret_cast<const Node*>(own) == node; })) return std::nullopt;
      return scatter_refusal("FOR UPDATE / SHARE in a subquery", "Lock the rows in a SELECT of its own.");
    case T_ColumnRef:
      for (Node* field : pg::ListOf<>(reinterpret_cast<ColumnRef*>(node)->fields))
        if (is_system_column(pg::text(field)))
          return scatter_refusal(concat("system column ", pg::text(field)), "It belongs to one database: leave it out.");
      return std::nullopt;
    case T_TypeName: {
      const std::string_view name = pg::name_of(reinterpret_cast<TypeName*>(node)->names).name;
      if (name.starts_with("reg"))
        return scatter_refusal(concat("type ", name), "OIDs belong to one database: compare names instead.");
      return std::nullopt;
    }
    case T_RangeFunction: {
      std::optional<Error> error;
      for_each_node(reinterpret_cast<RangeFunction*>(node)->functions, [&](Node* n) {
        if (pg::is(n, T_SQLValueFunction)) error = scatter_refusal("a time function in FROM", "Call it in the select list.");
        const auto* call = pg::as<FuncCall>(n, T_FuncCall);
        if (call != nullptr && (pg::name_of(call->funcname).name == "now"))
          error = scatter_refusal("a time function in FROM", "Call it in the select list.");
        return true;
      });
      return error;
    }
    default:
      return std::nullopt;
  }
}

std::optional<Error> ScatterContext::function(FuncCall& call) {
  const pg::Name name = pg::name_of(call.funcname);
  const auto facts = catalog().find_function(name.schema, name.name);
  if (!facts)
    return scatter_refusal(concat("function ", name.name, "(), which is not known,"), "RELOAD loads the catalog again.");
  if (rows_differ_ && !facts->user_defined && name.name == "gen_random_uuid") return std::nullopt;
  if (facts->is_volatile || facts->is_procedure)
    return scatter_refusal(concat("volatile function ", name.name, "()"),
                           "Its answer would differ by shard: give its result as a parameter.");
  if (facts->user_defined) return std::nullopt;
  const std::size_t arguments = pg::ListOf<>(call.args).size();
  if ((name.name == "now" || name.name == "transaction_timestamp") && arguments == 0) {
    times_.push_back({reinterpret_cast<Node*>(&call), {}});
    return std::nullopt;
  }
  if (names_the_server(name.name) || (name.name == "age" && arguments == 1))
    return scatter_refusal(concat("function ", name.name, "()"), "Its answer is one server's: give its result as a parameter.");
  return std::nullopt;
}

std::optional<Error> ScatterContext::value_function(SQLValueFunction& call) {
  const std::string precision = call.typmod >= 0 ? concat("(", std::to_string(call.typmod), ")") : std::string();
  auto* node = reinterpret_cast<Node*>(&call);
  switch (call.op) {
    case SVFOP_CURRENT_DATE:
      times_.push_back({node, "pg_catalog.date"});
      return std::nullopt;
    case SVFOP_CURRENT_TIME:
    case SVFOP_CURRENT_TIME_N:
      times_.push_back({node, concat("time", precision, " with time zone")});
      return std::nullopt;
    case SVFOP_CURRENT_TIMESTAMP:
      times_.push_back({node, {}});
      return std::nullopt;
    case SVFOP_CURRENT_TIMESTAMP_N:
      times_.push_back({node, concat("timestamp", precision, " with time zone")});
      return std::nullopt;
    case SVFOP_LOCALTIME:
    case SVFOP_LOCALTIME_N:
      times_.push_back({node, concat("time", precision, " without time zone")});
      return std::nullopt;
    case SVFOP_LOCALTIMESTAMP:
    case SVFOP_LOCALTIMESTAMP_N:
      times_.push_back({node, concat("timestamp", precision, " without time zone")});
      return std::nullopt;
    default:
      return scatter_refusal("CURRENT_USER and its kin", "Give the name as a parameter.");
  }
}

// Where the lexer lifted the constant, its value is another in each execution.
std::optional<Error> ScatterContext::constant(A_Const& c) {
  if (input_.literals.empty() || c.isnull || c.val.node.type == T_Boolean) return std::nullopt;
  if (c.location < 0) return scatter_refusal("a constant that the parser made", std::string(kOneShard));
  auto at = static_cast<std::size_t>(c.location);
  const bool number = c.val.node.type == T_Integer || c.val.node.type == T_Float;
  bool negative = false;
  while (number && at < input_.sql.size() && (input_.sql[at] == '-' || input_.sql[at] == '(' || input_.sql[at] == ' ' ||
                                              (input_.sql[at] >= '\t' && input_.sql[at] <= '\r')))
    negative ^= input_.sql[at++] == '-';
  const auto after = std::upper_bound(input_.literals.begin(), input_.literals.end(), at,
                                      [](std::size_t o, const Literal& l) { return o < l.offset; });
  if (after == input_.literals.begin()) return std::nullopt;
  const Literal& before = *(after - 1);
  if (before.offset == at) {
    constants_.push_back({reinterpret_cast<Node*>(&c), static_cast<std::uint32_t>(after - input_.literals.begin() - 1),
                          negative});
    return std::nullopt;
  }
  if (at < std::size_t{before.offset} + before.length)
    return scatter_refusal("a literal that is read in two ways", "Write the value as a plain constant.");
  return std::nullopt;
}

PendingText ScatterContext::draft(SelectStmt* select) const {
  PendingText out;
  Edits edits;
  out.fill.negative.resize(input_.literals.size());
  for (const Constant& c : constants_) {
    out.fill.negative[c.literal] = c.negative;
    if (c.node->type == T_A_Const) edits.mark(c.node, kLiteralMark + static_cast<int>(c.literal));
  }
  for (const auto& [target, name] : named_)
    if (target->name == nullptr) edits.set(target->name, pg::make_text(name));
  for (std::size_t i = 0; i < times_.size(); ++i) {
    out.fill.times.push_back(times_[i].cast);
    if (times_[i].node->type != T_ParamRef) edits.mark(times_[i].node, kNowMark + static_cast<int>(i));
  }
  out.draft = Draft(reinterpret_cast<Node*>(select));
  return out;
}

pg::ListOf<LockingClause> ScatterContext::locking() const {
  const auto* select = pg::as<SelectStmt>(statement_, T_SelectStmt);
  return pg::ListOf<LockingClause>(select == nullptr ? nullptr : select->lockingClause);
}

bool ScatterContext::is_long() const { return input_.sql.size() > kMaxScatterText; }

bool ScatterContext::locks_rows() const { return locking().size() > 0; }

bool ScatterContext::locks_without_waiting() const {
  const auto clauses = locking();
  return std::any_of(clauses.begin(), clauses.end(), [](const LockingClause* clause) { return clause->waitPolicy != LockWaitBlock; });
}

std::optional<std::uint32_t> ScatterContext::literal_of(const Node* constant) const {
  for (const Constant& c : constants_)
    if (c.node == constant) return c.literal;
  return std::nullopt;
}

std::optional<ColumnMeaning> ScatterContext::meaning(const Node* node) const {
  const auto* ref = pg::as<ColumnRef>(node, T_ColumnRef);
  return ref == nullptr ? std::nullopt : binder_.meaning(*ref);
}

bool ScatterContext::is_aggregate(const FuncCall& call) const {
  if (call.over != nullptr) return false;
  if (call.agg_star || call.agg_distinct || call.agg_within_group || call.agg_filter != nullptr ||
      call.agg_order != nullptr)
    return true;
  const pg::Name name = pg::name_of(call.funcname);
  const auto facts = catalog().find_function(name.schema, name.name);
  return facts && facts->is_aggregate;
}

bool ScatterContext::names_aggregate(Node* node) const {
  const auto is_one = [this](const Node* last) {
    const auto facts = pg::is(last, T_String) ? catalog().find_function({}, pg::text(last)) : std::nullopt;
    return facts && facts->is_aggregate;
  };
  if (const auto* step = pg::as<A_Indirection>(node, T_A_Indirection)) {
    const pg::ListOf<> steps(step->indirection);
    return std::any_of(steps.begin(), steps.end(), is_one);
  }
  const auto* ref = pg::as<ColumnRef>(node, T_ColumnRef);
  if (ref == nullptr || meaning(node)) return false;
  const pg::ListOf<> fields(ref->fields);
  return fields.size() > 1 && is_one(fields[fields.size() - 1]);
}

std::optional<std::string_view> ScatterContext::builtin_aggregate(const FuncCall& call) const {
  const pg::Name name = pg::name_of(call.funcname);
  const auto facts = catalog().find_function(name.schema, name.name);
  if (!is_aggregate(call) || !facts || facts->user_defined) return std::nullopt;
  if (!name.schema.empty() && name.schema != "pg_catalog") return std::nullopt;
  return name.name;
}

bool ScatterContext::same_expression(Node* a, Node* b, LiteralRules& rules) const {
  const auto left = meaning(a), right = meaning(b);
  if (left || right) return left && right && *left == *right;
  if (a == b) return true;
  if (!equal(a, b)) return false;
  // Every name must mean the same, and literals get paired in the order in which equal trees hold them.
  std::vector<Node*> nodes[2];
  int side = 0;
  for (Node* root : {a, b}) {
    for_each_node(root, [&](Node* node) {
      if (pg::is(node, T_A_Const) || pg::is(node, T_ColumnRef)) nodes[side].push_back(node);
      return true;
    });
    ++side;
  }
  if (nodes[0].size() != nodes[1].size()) return false;
  for (std::size_t i = 0; i < nodes[0].size(); ++i) {
    const auto l = literal_of(nodes[0][i]), r = literal_of(nodes[1][i]);
    if (meaning(nodes[0][i]) != meaning(nodes[1][i])) return false;
    if (l && r && *l != *r) rules.same.emplace_back(*l, *r);
    if (l.has_value() == r.has_value()) continue;
    // The lexer left the other one in the plan cache's key.
    const Literal& literal = input_.literals[l ? *l : *r];
    rules.fixed.emplace_back(l ? *l : *r, input_.sql.substr(literal.offset, literal.length));
  }
  return true;
}

std::optional<std::string> ScatterContext::collation_of(Node* expr) const {
  if (const auto* collate = pg::as<CollateClause>(expr, T_CollateClause)) {
    const pg::Name name = pg::name_of(collate->collname);
    if (!name.schema.empty() && name.schema != "pg_catalog") return std::nullopt;
    return std::string(name.name);
  }
  const auto plain = [](const ColumnMeaning& m) -> const schema::Column& {
    return m.relation->columns[static_cast<std::size_t>(m.column)];
  };
  constexpr std::uint32_t kName = 19;
  if (const auto m = meaning(expr)) {
    const std::string& collation = plain(*m).collation;
    if (m->merged) return std::nullopt;
    if (plain(*m).type == kName && collation.empty()) return "C";
    constexpr std::string_view kCatalog = "pg_catalog.";
    return collation.starts_with(kCatalog) ? collation.substr(kCatalog.size()) : collation;
  }
  bool known = true;
  for_each_node(expr, [&](Node* node) {
    if (pg::is(node, T_CollateClause)) known = false;
    if (pg::is(node, T_ColumnRef) && !is_star(node)) {
      const auto m = meaning(node);
      known &= m && !m->merged && plain(*m).collation.empty() && plain(*m).type != kName;
    }
    return known;
  });
  return known ? std::optional<std::string>("") : std::nullopt;
}

}  // namespace weir::router
