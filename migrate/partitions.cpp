#include "migrate/partitions.hpp"

#include <algorithm>
#include <map>
#include <pqxx/except>
#include <pqxx/nontransaction>
#include <pqxx/result>
#include <pqxx/transaction>
#include <random>
#include <set>
#include <thread>

#include "migrate/session.hpp"

namespace weir::migrate {

namespace {

// "weir" in ASCII, and 2 for partitions: on the home shard, for the session.
constexpr const char* kTryLock = "SELECT pg_try_advisory_lock(x'77656972'::int, 2)";

// A parent table on one shard, as far as the plan needs it.
struct Parent {
  std::string schema;
  std::string column_type;
  std::vector<schema::ExistingPartition> existing;
};

std::string name_of(const config::Table& table) {
  return table.schema.empty() ? table.name : table.schema + "." + table.name;
}

void take_lock(Session& home) {
  pqxx::nontransaction tx{*home};
  if (tx.exec1(kTryLock)[0].as<bool>()) return;
  throw Failure("another instance is making partitions (advisory lock on " + home.label() + "); try again later",
                kBusy);
}

Parent look_up(pqxx::transaction_base& tx, const Session& session, const config::Table& table) {
  const std::string quoted =
      table.schema.empty() ? tx.quote_name(table.name) : tx.quote_name(table.schema) + "." + tx.quote_name(table.name);
  const pqxx::result found = tx.exec_params(
      "SELECT c.oid, n.nspname, c.relkind = 'p', format_type(a.atttypid, NULL) FROM pg_class c"
      " JOIN pg_namespace n ON n.oid = c.relnamespace"
      " LEFT JOIN pg_attribute a ON a.attrelid = c.oid AND a.attname = $2 AND NOT a.attisdropped"
      " WHERE c.oid = to_regclass($1)",
      quoted, table.month->column);
  if (found.empty())
    throw Failure("shard " + session.shard() + " has no table " + name_of(table) + "; create it on every shard");
  const pqxx::row row = found[0];
  if (!row[2].as<bool>() || row[3].is_null())
    throw Failure("shard " + session.shard() + ": table " + name_of(table) + " is not partitioned by " +
                  table.month->column + "; month.layout = \"native\" wants PARTITION BY RANGE (" + table.month->column +
                  ")");
  Parent parent{row[1].as<std::string>(), row[3].as<std::string>(), {}};
  const pqxx::result children = tx.exec_params(
      "SELECT c.relname, pg_get_expr(c.relpartbound, c.oid) FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid"
      " WHERE i.inhparent = $1::oid ORDER BY 1",
      row[0].as<std::string>());
  for (const auto& child : children)
    parent.existing.push_back({child[0].as<std::string>(), child[1].as<std::string>("")});
  return parent;
}

// The home shard's session time zone must not shift the bounds it prints.
schema::PartitionPlan plan_for(Session& session, const config::Table& table, schema::Month now) {
  pqxx::work tx{*session};
  tx.exec("SET LOCAL TimeZone = 'UTC'");
  tx.exec("SET LOCAL DateStyle = 'ISO'");
  const Parent parent = look_up(tx, session, table);
  return schema::plan_partitions(table, parent.schema, parent.column_type, parent.existing, now);
}

bool lock_was_not_free(const pqxx::sql_error& e) { return e.sqlstate() == "55P03" || e.sqlstate() == "40P01"; }

Duration jitter() {
  static thread_local std::mt19937 random{std::random_device{}()};
  return std::chrono::milliseconds(std::uniform_int_distribution<int>(100, 900)(random));
}

void run_once(Session& session, const std::vector<std::string>& statements) {
  pqxx::work tx{*session};
  tx.exec("SET LOCAL lock_timeout = '200ms'");
  for (const auto& statement : statements) tx.exec(statement);
  tx.commit();
}

// Queued behind a long transaction, ATTACH would make every later statement queue behind itself: so it gives up soon,
// and often.
void run_with_retries(Session& session, const std::string& partition, const std::vector<std::string>& statements,
                      Deadline deadline) {
  for (;;) {
    std::string why;
    try {
      return run_once(session, statements);
    } catch (const pqxx::sql_error& e) {
      if (!lock_was_not_free(e)) throw;
      why = e.what();
    } catch (const pqxx::deadlock_detected& e) {
      why = e.what();
    }
    const Duration pause = jitter();
    if (deadline.passed(Clock::now() + pause))
      throw Failure("shard " + session.shard() + ", partition " + partition + ": gave up after many tries: " + why +
                    "; end the long transactions on its table, then run this again");
    std::this_thread::sleep_for(pause);
  }
}

schema::Month month_now(const config::Table& table) {
  const auto month = schema::Month::of(std::chrono::system_clock::now(), table.month->timezone);
  if (!month) throw Failure("table " + name_of(table) + ": " + month.error().message);
  return *month;
}

bool report_problems(const Session& session, const config::Table& table, const schema::PartitionPlan& plan,
                     std::ostream& out) {
  for (const auto& problem : plan.problems)
    out << session.shard() << " " << name_of(table) << ": PROBLEM: " << problem << "\n";
  return plan.problems.empty();
}

bool apply_on(Session& session, const config::Table& table, schema::Month now, Duration patience, std::ostream& out) {
  const schema::PartitionPlan plan = plan_for(session, table, now);
  for (const auto& step : plan.steps) {
    for (const auto& statements : step.transactions)
      run_with_retries(session, step.partition, statements, Deadline::after(Clock::now(), patience));
    out << session.shard() << " " << name_of(table) << ": made " << step.partition << "\n";
  }
  return report_problems(session, table, plan, out);
}

bool print_plan(Session& session, const config::Table& table, schema::Month now, std::ostream& out) {
  const schema::PartitionPlan plan = plan_for(session, table, now);
  for (const auto& step : plan.steps) {
    out << "-- " << session.shard() << " " << name_of(table) << ": " << step.partition << ": " << step.what << "\n";
    for (const auto& statements : step.transactions) {
      out << "BEGIN;\n";
      for (const auto& statement : statements) out << statement << ";\n";
      out << "COMMIT;\n";
    }
  }
  return report_problems(session, table, plan, out) && plan.steps.empty();
}

// The months that no shard lacks any more.
bool print_admitted(std::vector<Session>& sessions, const config::Table& table, schema::Month now, std::ostream& out) {
  std::set<std::string> missing;
  for (auto& session : sessions)
    for (const auto& step : plan_for(session, table, now).steps) missing.insert(step.partition);
  out << name_of(table) << ": admitted:";
  for (unsigned i = 0; i <= table.month->ahead; ++i) {
    const std::string name = schema::partition_name(table.name, now.plus(static_cast<int>(i)));
    if (!missing.contains(name)) out << " " << name;
  }
  out << "\n";
  return missing.empty();
}

bool treat_table(std::vector<Session>& sessions, const config::Table& table, const PartitionOptions& options,
                 std::ostream& out) {
  const schema::Month now = options.now ? *options.now : month_now(table);
  bool complete = true;
  for (auto& session : sessions) {
    const bool good =
        options.apply ? apply_on(session, table, now, options.patience, out) : print_plan(session, table, now, out);
    complete = complete && good;
  }
  return print_admitted(sessions, table, now, out) && complete;
}

}  // namespace

void make_month(Session& session, const config::Table& table, schema::Month month, Duration patience,
                std::ostream& out) {
  config::Table only = table;
  only.month->ahead = 0;
  if (!apply_on(session, only, month, patience, out))
    throw Failure("shard " + session.shard() + ": month " + schema::partition_name(table.name, month) +
                  " cannot be made");
}

bool partitions(const config::Database& database, const PartitionOptions& options, std::ostream& out) {
  std::vector<Session> sessions = connect_primaries(database);
  if (options.apply) take_lock(sessions.front());
  bool complete = true;
  bool any = false;
  for (const auto& table : database.tables) {
    if (!table.month) continue;
    any = true;
    complete = treat_table(sessions, table, options, out) && complete;
  }
  if (!any) out << database.name << ": no table has `month`\n";
  return complete;
}

}  // namespace weir::migrate
