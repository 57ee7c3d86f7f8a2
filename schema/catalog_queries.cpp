#include "schema/catalog_queries.hpp"

#include <string>

#include "base/strings.hpp"
#include "schema/catalog.hpp"

// Every catalog read here is readable by PUBLIC. 16384 is FirstNormalObjectId: what initdb made lies below.
// https://www.postgresql.org/docs/15/catalogs.html

namespace weir::schema {
namespace {

// plain_unsafe: functions that may run SQL: neither internal nor C of an extension, nor Weir's own next_id().
// unsafe: these, and aggregates made of them. reading: those of them that are not promised to be IMMUTABLE.
constexpr std::string_view kUnsafeFunctions = R"(WITH plain_unsafe AS (
  SELECT p.oid, p.provolatile <> 'i' OR p.prokind = 'p' AS reads
    FROM pg_catalog.pg_proc p
    JOIN pg_catalog.pg_language l ON l.oid = p.prolang
    JOIN pg_catalog.pg_namespace n ON n.oid = p.pronamespace
   WHERE p.oid >= 16384 AND l.lanname <> 'internal' AND NOT (n.nspname = 'weir' AND p.proname = 'next_id')
     AND NOT (l.lanname = 'c' AND EXISTS (
           SELECT FROM pg_catalog.pg_depend e
            WHERE e.classid = 'pg_catalog.pg_proc'::regclass AND e.objid = p.oid AND e.deptype = 'e'))
), unsafe AS (
  SELECT oid, reads FROM plain_unsafe
  UNION ALL
  SELECT a.aggfnoid::oid, bool_or(u.reads)
    FROM pg_catalog.pg_aggregate a
    JOIN plain_unsafe u ON u.oid IN (a.aggtransfn::oid, a.aggfinalfn::oid, a.aggcombinefn::oid, a.aggserialfn::oid,
                                     a.aggdeserialfn::oid, a.aggmtransfn::oid, a.aggminvtransfn::oid, a.aggmfinalfn::oid)
   GROUP BY 1
), reading AS (
  SELECT oid FROM unsafe WHERE reads
)
)";

// uses: (classid, objid, function, by class) of objects whose expressions call an unsafe function by name or operator,
// or, by class, whose operator class is made of one.
constexpr std::string_view kUses = R"(, uses AS (
  SELECT d.classid, d.objid, d.refobjid AS function, false AS by_class
    FROM pg_catalog.pg_depend d
   WHERE d.refclassid = 'pg_catalog.pg_proc'::regclass AND d.refobjid IN (SELECT oid FROM unsafe)
  UNION
  SELECT d.classid, d.objid, o.oprcode::oid, false
    FROM pg_catalog.pg_depend d JOIN pg_catalog.pg_operator o ON o.oid = d.refobjid
   WHERE d.refclassid = 'pg_catalog.pg_operator'::regclass AND o.oprcode::oid IN (SELECT oid FROM unsafe)
  UNION
  SELECT d.classid, d.objid, ap.amproc::oid, true
    FROM pg_catalog.pg_depend d
    JOIN pg_catalog.pg_opclass oc ON oc.oid = d.refobjid
    JOIN pg_catalog.pg_amproc ap ON ap.amprocfamily = oc.opcfamily
   WHERE d.refclassid = 'pg_catalog.pg_opclass'::regclass AND ap.amproc::oid IN (SELECT oid FROM unsafe)
)
)";

constexpr std::string_view kSearchPath = "SELECT pg_catalog.unnest(pg_catalog.current_schemas(false))";

// datlocprovider and its locale came with 15 and were renamed in 17; as JSON a missing column is a missing key.
constexpr std::string_view kDatabase = R"(
SELECT pg_catalog.pg_encoding_to_char(d.encoding),
       pg_catalog.concat_ws('/', coalesce(j.d ->> 'datlocprovider', 'c'), coalesce(j.d ->> 'datlocale', j.d ->> 'daticulocale'),
                 d.datcollate, d.datctype)
  FROM pg_catalog.pg_database d, LATERAL (SELECT pg_catalog.to_jsonb(d) AS d) j
 WHERE d.datname = pg_catalog.current_database())";

constexpr std::string_view kTypes = R"(
SELECT t.oid, n.nspname, t.typname, t.typtype, t.typbasetype, t.typelem, t.typnotnull, t.typdefault IS NOT NULL
  FROM pg_catalog.pg_type t JOIN pg_catalog.pg_namespace n ON n.oid = t.typnamespace
 WHERE t.oid >= 16384 OR t.typtype = 'd')";

#define WEIR_USER_SCHEMAS \
  "n.nspname NOT IN ('pg_catalog', 'information_schema', 'pg_toast') AND n.nspname !~ '^pg_(toast_)?temp_'"

constexpr std::string_view kRelations = R"(
SELECT c.oid, n.nspname, c.relname, c.relkind, c.relispartition,
       (SELECT a.attname FROM pg_catalog.pg_attribute a
         WHERE a.attrelid = c.oid AND a.attnum = pt.partattrs[0] AND pt.partstrat = 'r' AND pt.partnatts = 1)
  FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
  LEFT JOIN pg_catalog.pg_partitioned_table pt ON pt.partrelid = c.oid
 WHERE c.relkind IN ('r', 'p', 'v', 'm', 'S', 'f') AND )" WEIR_USER_SCHEMAS " ORDER BY n.nspname, c.relname";

constexpr std::string_view kColumns = R"(
SELECT a.attrelid, a.attname, a.atttypid, pg_catalog.format_type(a.atttypid, a.atttypmod),
       cn.nspname || '.' || co.collname, coalesce(co.collisdeterministic, true), a.attnotnull,
       a.atthasdef OR a.attidentity <> '' OR a.attgenerated <> '', a.atttypmod,
       a.attidentity <> '' OR EXISTS (
         SELECT FROM pg_catalog.pg_attrdef ad
           JOIN pg_catalog.pg_depend d ON d.classid = 'pg_catalog.pg_attrdef'::regclass AND d.objid = ad.oid
            AND d.refclassid = 'pg_catalog.pg_class'::regclass
           JOIN pg_catalog.pg_class s ON s.oid = d.refobjid AND s.relkind = 'S'
          WHERE ad.adrelid = a.attrelid AND ad.adnum = a.attnum)
  FROM pg_catalog.pg_attribute a
  JOIN pg_catalog.pg_class c ON c.oid = a.attrelid
  JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
  LEFT JOIN pg_catalog.pg_collation co ON co.oid = a.attcollation AND co.oid <> 100
  LEFT JOIN pg_catalog.pg_namespace cn ON cn.oid = co.collnamespace
 WHERE a.attnum > 0 AND NOT a.attisdropped AND c.relkind IN ('r', 'p', 'v', 'm', 'f') AND )" WEIR_USER_SCHEMAS
                                      " ORDER BY a.attrelid, a.attnum";

constexpr std::string_view kSystemRelations = R"(
SELECT n.nspname, c.relname
  FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
 WHERE n.nspname IN ('pg_catalog', 'information_schema') AND c.relkind IN ('r', 'v'))";

constexpr std::string_view kInherits = R"(
SELECT i.inhrelid, i.inhparent FROM pg_catalog.pg_inherits i
  JOIN pg_catalog.pg_class c ON c.oid = i.inhrelid
 WHERE c.relkind IN ('r', 'p', 'f') ORDER BY i.inhrelid, i.inhseqno)";

// (relation, runs on a read). An index or a partition key calls its operator class when rows are looked for, its
// expressions only when rows are stored: the planner computes none of theirs but constant ones of immutable functions.
// Views are among the readers when they call an unsafe function; their "_RETURN" rule alone does not count. The
// triggers that a partition has of its parent are internal before PostgreSQL 15; those of foreign keys always are.
constexpr std::string_view kHazardousRelations = R"(
SELECT tgrelid, false FROM pg_catalog.pg_trigger WHERE NOT tgisinternal OR (tgparentid <> 0 AND tgconstraint = 0)
UNION
SELECT ev_class, false FROM pg_catalog.pg_rewrite WHERE rulename <> '_RETURN'
UNION
SELECT c.oid, true FROM pg_catalog.pg_class c
 WHERE c.relrowsecurity AND EXISTS (SELECT FROM pg_catalog.pg_policy p WHERE p.polrelid = c.oid)
UNION
SELECT ad.adrelid, false FROM uses u JOIN pg_catalog.pg_attrdef ad ON ad.oid = u.objid
 WHERE u.classid = 'pg_catalog.pg_attrdef'::regclass
UNION
SELECT c.conrelid, false FROM uses u JOIN pg_catalog.pg_constraint c ON c.oid = u.objid
 WHERE u.classid = 'pg_catalog.pg_constraint'::regclass AND c.conrelid <> 0
UNION
SELECT coalesce(i.indrelid, u.objid), u.by_class
  FROM uses u LEFT JOIN pg_catalog.pg_index i ON i.indexrelid = u.objid
 WHERE u.classid = 'pg_catalog.pg_class'::regclass
UNION
SELECT r.ev_class, r.rulename = '_RETURN' FROM uses u JOIN pg_catalog.pg_rewrite r ON r.oid = u.objid
 WHERE u.classid = 'pg_catalog.pg_rewrite'::regclass)";

// One row a column. Columns by expression are NULL. Exclusion constraints promise uniqueness, too.
constexpr std::string_view kUniqueIndexes = R"(
SELECT i.indrelid, ic.relname, i.indpred IS NOT NULL, i.indexprs IS NOT NULL, a.attname
  FROM pg_catalog.pg_index i
  JOIN pg_catalog.pg_class ic ON ic.oid = i.indexrelid
  JOIN pg_catalog.pg_class c ON c.oid = i.indrelid
  JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
 CROSS JOIN LATERAL pg_catalog.generate_series(0, i.indnkeyatts - 1) AS k(n)
  LEFT JOIN pg_catalog.pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = i.indkey[k.n] AND i.indkey[k.n] <> 0
 WHERE (i.indisunique OR i.indisexclusion) AND i.indislive AND )" WEIR_USER_SCHEMAS
                                            " ORDER BY i.indrelid, ic.relname, k.n";

// (view, relation, false) for each relation a view's text names; (view, NULL, true) if it calls a function that may
// read.
constexpr std::string_view kViewDependencies = R"(
SELECT r.ev_class, d.refobjid, false
  FROM pg_catalog.pg_rewrite r
  JOIN pg_catalog.pg_class v ON v.oid = r.ev_class AND v.relkind IN ('v', 'm')
  JOIN pg_catalog.pg_depend d ON d.classid = 'pg_catalog.pg_rewrite'::regclass AND d.objid = r.oid
   AND d.refclassid = 'pg_catalog.pg_class'::regclass AND d.refobjid <> r.ev_class
UNION
SELECT r.ev_class, NULL::oid, true
  FROM uses u
  JOIN pg_catalog.pg_rewrite r ON r.oid = u.objid
  JOIN pg_catalog.pg_class v ON v.oid = r.ev_class AND v.relkind IN ('v', 'm')
 WHERE u.classid = 'pg_catalog.pg_rewrite'::regclass AND u.function IN (SELECT oid FROM reading))";

// One row a column pair. Clones on partitions (conparentid) are left out.
constexpr std::string_view kForeignKeys = R"(
SELECT f.conrelid, f.conname, f.confrelid, a.attname, ra.attname
  FROM pg_catalog.pg_constraint f
 CROSS JOIN LATERAL pg_catalog.generate_subscripts(f.conkey, 1) AS k(n)
  JOIN pg_catalog.pg_attribute a ON a.attrelid = f.conrelid AND a.attnum = f.conkey[k.n]
  JOIN pg_catalog.pg_attribute ra ON ra.attrelid = f.confrelid AND ra.attnum = f.confkey[k.n]
 WHERE f.contype = 'f' AND f.conparentid = 0
 ORDER BY f.conrelid, f.conname, f.oid, k.n)";

// An aggregate is as volatile as the functions it is made of; its own provolatile says nothing.
constexpr std::string_view kFunctions = R"(
SELECT n.nspname, p.proname, bool_or(p.oid >= 16384),
       bool_or(p.provolatile = 'v' OR (p.prokind = 'a' AND p.oid >= 16384 AND EXISTS (
         SELECT FROM pg_catalog.pg_aggregate a
           JOIN pg_catalog.pg_proc part ON part.oid IN (a.aggtransfn::oid, a.aggfinalfn::oid, a.aggmtransfn::oid, a.aggmfinalfn::oid)
          WHERE a.aggfnoid = p.oid AND part.provolatile = 'v'))),
       bool_or(p.oid IN (SELECT oid FROM reading)),
       bool_or(p.prokind = 'p'), bool_or(p.prokind = 'a')
  FROM pg_catalog.pg_proc p JOIN pg_catalog.pg_namespace n ON n.oid = p.pronamespace
 WHERE n.nspname !~ '^pg_temp_'
 GROUP BY n.nspname, p.proname)";

constexpr std::string_view kHazardousOperators = R"(
SELECT DISTINCT o.oprname FROM pg_catalog.pg_operator o WHERE o.oprcode::oid IN (SELECT oid FROM unsafe))";

// (type, is a domain): types with a user-defined cast, domains whose checks or defaults call an unsafe function, and
// composite and range types, which may hold such.
constexpr std::string_view kHazardousTypes = R"(, hazardous AS (
  SELECT k.castsource AS oid FROM pg_catalog.pg_cast k WHERE k.castfunc IN (SELECT oid FROM unsafe)
  UNION
  SELECT k.casttarget FROM pg_catalog.pg_cast k WHERE k.castfunc IN (SELECT oid FROM unsafe)
  UNION
  SELECT c.contypid FROM uses u JOIN pg_catalog.pg_constraint c ON c.oid = u.objid
   WHERE u.classid = 'pg_catalog.pg_constraint'::regclass AND c.contypid <> 0
  UNION
  SELECT u.objid FROM uses u WHERE u.classid = 'pg_catalog.pg_type'::regclass
  UNION
  SELECT t.oid FROM pg_catalog.pg_type t WHERE t.oid >= 16384 AND t.typtype IN ('c', 'r', 'm')
)
SELECT t.oid, t.typname FROM hazardous h JOIN pg_catalog.pg_type t ON t.oid = h.oid)";

// How a function may be judged: 's' by its source (with its default arguments), 'a' an aggregate by the names of its parts, 'h' it leaves no
// trace in the session, 'o' nobody knows.
constexpr std::string_view kFunctionSources = R"(
SELECT p.oid, n.nspname, p.proname,
       CASE WHEN p.prokind = 'a' THEN 'a'
            WHEN l.lanname IN ('plpgsql', 'sql') THEN 's'
            WHEN l.lanname = 'internal' AND p.provolatile <> 'v' THEN 'h'
            WHEN l.lanname = 'c' AND (p.provolatile <> 'v' OR p.proname ~ '^(uuid_|gen_|pgp_|pg_stat_statements)') AND EXISTS (
              SELECT FROM pg_catalog.pg_depend e
               WHERE e.classid = 'pg_catalog.pg_proc'::regclass AND e.objid = p.oid AND e.deptype = 'e') THEN 'h'
            ELSE 'o' END,
       CASE WHEN p.prokind = 'a' THEN (
              SELECT pg_catalog.string_agg(part.proname, ' ') FROM pg_catalog.pg_aggregate a
                JOIN pg_catalog.pg_proc part
                  ON part.oid IN (a.aggtransfn::oid, a.aggfinalfn::oid, a.aggcombinefn::oid, a.aggserialfn::oid,
                                  a.aggdeserialfn::oid, a.aggmtransfn::oid, a.aggminvtransfn::oid, a.aggmfinalfn::oid)
               WHERE a.aggfnoid = p.oid)
            WHEN l.lanname IN ('plpgsql', 'sql') AND p.prosrc <> ''
              THEN p.prosrc || coalesce(' ; ' || pg_catalog.pg_get_expr(p.proargdefaults, 0), '') END
  FROM pg_catalog.pg_proc p
  JOIN pg_catalog.pg_language l ON l.oid = p.prolang
  JOIN pg_catalog.pg_namespace n ON n.oid = p.pronamespace
 WHERE p.oid >= 16384 AND n.nspname !~ '^pg_temp_')";

// (relation, function, when): what a statement on the relation runs without naming it, when it writes ('w') or reads ('r') it. A function of 0
// may do anything; NULL: it was looked at, and there is none. Relation 0: behind an operator, a cast, a domain. 'c': a delete or update of the
// relation reaches the one that stands for the function.
constexpr std::string_view kHiddenCode = R"(WITH calls AS (
  SELECT d.classid, d.objid, d.refobjid AS function
    FROM pg_catalog.pg_depend d
   WHERE d.refclassid = 'pg_catalog.pg_proc'::regclass AND d.refobjid >= 16384
  UNION
  SELECT d.classid, d.objid, o.oprcode::oid
    FROM pg_catalog.pg_depend d JOIN pg_catalog.pg_operator o ON o.oid = d.refobjid
   WHERE d.refclassid = 'pg_catalog.pg_operator'::regclass AND o.oprcode::oid >= 16384
  UNION
  SELECT d.classid, d.objid, ap.amproc::oid
    FROM pg_catalog.pg_depend d
    JOIN pg_catalog.pg_opclass oc ON oc.oid = d.refobjid
    JOIN pg_catalog.pg_amproc ap ON ap.amprocfamily = oc.opcfamily
   WHERE d.refclassid = 'pg_catalog.pg_opclass'::regclass AND ap.amproc::oid >= 16384
), kept_state AS (
  SELECT ':funcid (' || pg_catalog.string_agg(p.oid::text, '|') || ') ' AS pattern
    FROM pg_catalog.pg_proc p
   WHERE p.pronamespace = 'pg_catalog'::regnamespace AND p.provolatile = 'v'
     AND p.proname !~ '^(random|clock_timestamp|gen_random_uuid|timeofday|pg_sleep.*|pg_stat_get_.*|txid_.*|pg_current_.*|pg_lock_status)$'
)
SELECT tgrelid, tgfoid, 'w' FROM pg_catalog.pg_trigger WHERE NOT tgisinternal OR (tgparentid <> 0 AND tgconstraint = 0)
UNION
SELECT r.ev_class, 0::oid, 'w' FROM pg_catalog.pg_rewrite r WHERE r.rulename <> '_RETURN' AND r.ev_class >= 16384
UNION
SELECT r.ev_class, CASE WHEN r.ev_action::text ~ k.pattern THEN 0::oid END, 'r'
  FROM pg_catalog.pg_rewrite r, kept_state k WHERE r.rulename = '_RETURN' AND r.ev_class >= 16384
UNION
SELECT r.ev_class, u.function, 'r' FROM calls u JOIN pg_catalog.pg_rewrite r ON r.oid = u.objid
 WHERE u.classid = 'pg_catalog.pg_rewrite'::regclass
UNION
SELECT p.polrelid, NULL, 'r' FROM pg_catalog.pg_policy p
UNION
SELECT p.polrelid, u.function, 'r' FROM calls u JOIN pg_catalog.pg_policy p ON p.oid = u.objid
 WHERE u.classid = 'pg_catalog.pg_policy'::regclass
UNION
SELECT ad.adrelid, u.function, 'w' FROM calls u JOIN pg_catalog.pg_attrdef ad ON ad.oid = u.objid
 WHERE u.classid = 'pg_catalog.pg_attrdef'::regclass
UNION
SELECT c.conrelid, u.function, 'w' FROM calls u JOIN pg_catalog.pg_constraint c ON c.oid = u.objid
 WHERE u.classid = 'pg_catalog.pg_constraint'::regclass
UNION
SELECT coalesce(i.indrelid, u.objid), u.function, w.at
  FROM calls u LEFT JOIN pg_catalog.pg_index i ON i.indexrelid = u.objid CROSS JOIN (VALUES ('r'), ('w')) w (at)
 WHERE u.classid = 'pg_catalog.pg_class'::regclass
UNION
SELECT 0, o.oprcode::oid, 'r' FROM pg_catalog.pg_operator o WHERE o.oprcode::oid >= 16384
UNION
SELECT 0, k.castfunc, 'r' FROM pg_catalog.pg_cast k WHERE k.castfunc >= 16384
UNION
SELECT 0, u.function, 'r' FROM calls u WHERE u.classid = 'pg_catalog.pg_type'::regclass
UNION
SELECT f.confrelid, f.conrelid, 'c' FROM pg_catalog.pg_constraint f
 WHERE f.contype = 'f' AND (f.confdeltype IN ('c', 'n', 'd') OR f.confupdtype IN ('c', 'n', 'd')))";

// What belongs to a table, by kind: 'd', the default of a column; 'i', an index by its schema and name; 's', a sequence that one of its
// columns owns. A generated column has no default that an INSERT could use.
constexpr std::string_view kDependents = R"(
SELECT 'd', ad.adrelid, a.attname, pg_catalog.pg_get_expr(ad.adbin, ad.adrelid)
  FROM pg_catalog.pg_attrdef ad
  JOIN pg_catalog.pg_attribute a ON a.attrelid = ad.adrelid AND a.attnum = ad.adnum
  JOIN pg_catalog.pg_class c ON c.oid = a.attrelid
  JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
 WHERE a.attgenerated = '' AND )" WEIR_USER_SCHEMAS R"(
UNION ALL
SELECT 'd', a.attrelid, a.attname, 'NULL' FROM pg_catalog.pg_attribute a
  JOIN pg_catalog.pg_class c ON c.oid = a.attrelid
  JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
 WHERE a.attgenerated <> '' AND NOT a.attisdropped AND )" WEIR_USER_SCHEMAS R"(
UNION ALL
SELECT 'i', i.indrelid, n.nspname, c.relname
  FROM pg_catalog.pg_index i
  JOIN pg_catalog.pg_class c ON c.oid = i.indexrelid
  JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
 WHERE )" WEIR_USER_SCHEMAS R"(
UNION ALL
SELECT 's', d.refobjid, n.nspname, c.relname
  FROM pg_catalog.pg_depend d
  JOIN pg_catalog.pg_class c ON c.oid = d.objid AND c.relkind = 'S'
  JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
 WHERE d.classid = 'pg_catalog.pg_class'::regclass AND d.refclassid = 'pg_catalog.pg_class'::regclass
   AND d.deptype IN ('a', 'i') AND d.refobjsubid > 0 AND )" WEIR_USER_SCHEMAS;

std::string with_unsafe(std::string_view query) { return concat(kUnsafeFunctions, query); }
std::string with_uses(std::string_view query) { return concat(kUnsafeFunctions, kUses, query); }

}  // namespace

const std::vector<CatalogQuery>& catalog_queries() {
  static const std::string hazardous_relations = with_uses(kHazardousRelations);
  static const std::string view_dependencies = with_uses(kViewDependencies);
  static const std::string functions = with_unsafe(kFunctions);
  static const std::string hazardous_operators = with_unsafe(kHazardousOperators);
  static const std::string hazardous_types = with_uses(kHazardousTypes);
  static const std::vector<CatalogQuery> queries{
      {"search_path", kSearchPath},
      {"database", kDatabase},
      {"types", kTypes},
      {"relations", kRelations},
      {"columns", kColumns},
      {"system_relations", kSystemRelations},
      {"inherits", kInherits},
      {"hazardous_relations", hazardous_relations},
      {"unique_indexes", kUniqueIndexes},
      {"view_dependencies", view_dependencies},
      {"foreign_keys", kForeignKeys},
      {"functions", functions},
      {"hazardous_operators", hazardous_operators},
      {"hazardous_types", hazardous_types},
      {"function_sources", kFunctionSources},
      {"hidden_code", kHiddenCode},
      {"dependents", kDependents},
  };
  return queries;
}

}  // namespace weir::schema
