// plan_partitions(): design §7's safe way to a month's partition.

#include <algorithm>

#include "base/strings.hpp"
#include "schema/month.hpp"
#include "schema/partition_bounds.hpp"
#include "schema/quote.hpp"

namespace weir::schema {
namespace {

constexpr std::size_t kMaxName = 63;  // NAMEDATALEN - 1: longer names are cut, and two months would have one name

struct Target {
  std::string parent;      // quoted, with its schema
  std::string child;       // the same
  std::string column;      // quoted
  std::string constraint;  // quoted; the temporary CHECK
  std::string from, to;    // typed literals
};

// A dollar quote that does not occur in what it quotes.
std::string dollar_quoted(std::string_view body) {
  std::string tag = "$weir$";
  while (body.find(tag) != std::string_view::npos) tag.insert(tag.size() - 1, "x");
  return concat(tag, body, tag);
}

// LIKE copies neither the owner nor the replica identity. With another owner the parent's could not alter the
// partition, and with another identity a published UPDATE would fail on it. An index of the parent is found again by
// its columns.
std::string adopt_sql(const Target& t) {
  return concat("DO ", dollar_quoted(concat(R"(
DECLARE
  parent pg_catalog.pg_class;
  child regclass := )",
                                            quote_literal(t.child), R"(;
  same_index text;
BEGIN
  IF (SELECT relispartition FROM pg_catalog.pg_class WHERE oid = child) THEN
    RAISE EXCEPTION '% is a partition of another table already', child
      USING ERRCODE = 'object_not_in_prerequisite_state', HINT = 'Rename it, or detach it there.';
  END IF;
  SELECT * INTO STRICT parent FROM pg_catalog.pg_class WHERE oid = )",
                                            quote_literal(t.parent), R"(::regclass;
  IF parent.relowner <> (SELECT relowner FROM pg_catalog.pg_class WHERE oid = child) THEN
    EXECUTE format('ALTER TABLE %s OWNER TO %s', child, parent.relowner::regrole);
  END IF;
  IF parent.relreplident = 'f' THEN
    EXECUTE format('ALTER TABLE %s REPLICA IDENTITY FULL', child);
  ELSIF parent.relreplident = 'n' THEN
    EXECUTE format('ALTER TABLE %s REPLICA IDENTITY NOTHING', child);
  ELSIF parent.relreplident = 'i' THEN
    SELECT quote_ident(c.relname) INTO STRICT same_index
      FROM pg_catalog.pg_index i JOIN pg_catalog.pg_class c ON c.oid = i.indexrelid
     WHERE i.indrelid = child AND i.indisunique AND i.indpred IS NULL AND i.indexprs IS NULL
       AND (SELECT array_agg(a.attname ORDER BY a.attname) FROM pg_catalog.pg_attribute a WHERE a.attrelid = i.indexrelid)
         = (SELECT array_agg(a.attname ORDER BY a.attname) FROM pg_catalog.pg_attribute a
              JOIN pg_catalog.pg_index p ON p.indexrelid = a.attrelid
             WHERE p.indrelid = parent.oid AND p.indisreplident)
     ORDER BY c.relname LIMIT 1;
    EXECUTE format('ALTER TABLE %s REPLICA IDENTITY USING INDEX %s', child, same_index);
  END IF;
END )")));
}

// A table of its own: nobody waits for locks on it. The CHECK lets ATTACH skip its scan, which matters for a table
// with rows that an interrupted run left behind. Identity columns are the parent's: 17 refuses them on a partition.
std::vector<std::string> create_transaction(const Target& t) {
  return {
      "SET LOCAL lock_timeout = '2s'",
      concat("CREATE TABLE IF NOT EXISTS ", t.child, " (LIKE ", t.parent, " INCLUDING ALL EXCLUDING IDENTITY)"),
      adopt_sql(t),
      concat("ALTER TABLE ", t.child, " DROP CONSTRAINT IF EXISTS ", t.constraint),
      concat("ALTER TABLE ", t.child, " ADD CONSTRAINT ", t.constraint, " CHECK (", t.column, " IS NOT NULL AND ",
             t.column, " >= ", t.from, " AND ", t.column, " < ", t.to, ")"),
  };
}

// The short one: a statement that queues behind a lock makes all later ones queue behind it.
std::vector<std::string> attach_transaction(const Target& t) {
  return {
      "SET LOCAL lock_timeout = '200ms'",
      concat("ALTER TABLE ", t.parent, " ATTACH PARTITION ", t.child, " FOR VALUES FROM (", t.from, ") TO (", t.to,
             ")"),
      concat("ALTER TABLE ", t.child, " DROP CONSTRAINT ", t.constraint),
  };
}

std::string literal(Seconds at, MonthColumn column) {
  return concat(quote_literal(bound_text(at, column)), "::", type_sql(column));
}

class Planner {
 public:
  Planner(const config::Table& table, std::string_view schema, MonthColumn column, const TimeZone& zone,
          const std::vector<ExistingPartition>& existing)
      : table_(table), schema_(schema), column_(column), zone_(zone), existing_(existing) {}

  void plan_month(Month month, PartitionPlan& plan) {
    const std::string name = partition_name(table_.name, month);
    const Range wanted{begin_of(month), begin_of(month.plus(1))};
    if (name.size() > kMaxName) {
      plan.problems.push_back(
          concat(name, " is longer than 63 bytes, which PostgreSQL cuts: rename table ", table_.name));
      return;
    }
    if (covered(wanted) || is_problem(name, wanted, plan)) return;
    plan.steps.push_back(step(name, wanted));
  }

 private:
  [[nodiscard]] Seconds begin_of(Month month) const {
    const Seconds local = midnight_of(month.year(), month.month(), 1);
    return column_ == MonthColumn::timestamptz ? zone_.instant_of(local) : local;
  }

  [[nodiscard]] bool covered(const Range& wanted) const {
    return std::any_of(existing_.begin(), existing_.end(),
                       [&](const ExistingPartition& e) { return parse_bounds(e.bounds) == wanted; });
  }

  // Names what stands in the way. Unreadable bounds are told once for the table, by plan_partitions().
  [[nodiscard]] bool is_problem(const std::string& name, const Range& wanted, PartitionPlan& plan) const {
    for (const ExistingPartition& e : existing_) {
      const auto bounds = parse_bounds(e.bounds);
      if (!bounds || (e.name != name && !bounds->overlaps(wanted))) continue;
      plan.problems.push_back(concat("partition ", e.name, " has bounds ", e.bounds, ", which ",
                                     e.name == name ? "are not" : "overlap", " the month of ", name, " (from ",
                                     bound_text(wanted.from, column_), " to ", bound_text(wanted.to, column_),
                                     "): detach it, or correct month.timezone"));
      return true;
    }
    return false;
  }

  [[nodiscard]] PartitionStep step(const std::string& name, const Range& wanted) const {
    Target t;
    t.parent = quote_qualified(schema_, table_.name);
    t.child = quote_qualified(schema_, name);
    t.column = quote_ident(table_.month->column);
    t.constraint = quote_ident("weir_month_bounds");
    t.from = literal(wanted.from, column_);
    t.to = literal(wanted.to, column_);
    const std::string what = concat("create ", name, " and attach it to ", table_.name, " from ",
                                    bound_text(wanted.from, column_), " to ", bound_text(wanted.to, column_));
    return PartitionStep{name, what, {create_transaction(t), attach_transaction(t)}};
  }

  const config::Table& table_;
  std::string_view schema_;
  MonthColumn column_;
  const TimeZone& zone_;
  const std::vector<ExistingPartition>& existing_;
};

// Partitions beside which no month can be planned.
void check_existing(const config::Table& table, const std::vector<ExistingPartition>& existing, PartitionPlan& plan) {
  for (const ExistingPartition& e : existing) {
    if (e.bounds == "DEFAULT") {
      plan.problems.push_back(
          concat("table ", table.name, " has the default partition ", e.name,
                 ", which every new month would have to scan under a lock: detach it, then move its rows"));
    } else if (!parse_bounds(e.bounds)) {
      plan.problems.push_back(concat("partition ", e.name, " of table ", table.name,
                                     " has bounds that are no month's: ", e.bounds, ": detach it"));
    }
  }
}

}  // namespace

PartitionPlan plan_partitions(const config::Table& table, std::string_view schema, std::string_view column_type,
                              const std::vector<ExistingPartition>& existing, Month now) {
  PartitionPlan plan;
  if (!table.month) return plan;
  const auto column = month_column_of(column_type);
  auto zone = TimeZone::load(table.month->timezone);
  if (!column) {
    plan.problems.push_back(concat("month column ", table.month->column, " of table ", table.name, " has type ",
                                   column_type, ": it must be date, timestamp or timestamptz"));
  }
  if (!zone) plan.problems.push_back(concat("table ", table.name, ": ", zone.error().message));
  check_existing(table, existing, plan);
  if (!plan.problems.empty()) return plan;
  Planner planner(table, schema, *column, **zone, existing);
  for (unsigned i = 0; i <= table.month->ahead; ++i) planner.plan_month(now.plus(static_cast<int>(i)), plan);
  return plan;
}

}  // namespace weir::schema
