// Which functions, triggers, policies and views may change the state of the session that runs them. A function does if its text does, or if a
// word of it names something that does: another function, or a relation that runs such code when it is read or written.
#include <set>

#include "schema/catalog_builder.hpp"
#include "schema/name_key.hpp"

namespace weir::schema {
namespace {

// Volatile functions of pg_catalog that leave nothing behind, or nothing but what is known otherwise (set_config, the sequences).
bool is_harmless(std::string_view name) {
  for (const std::string_view known :
       {"random", "clock_timestamp", "gen_random_uuid", "timeofday", "nextval", "setval", "currval", "lastval", "set_config", "current_setting",
        "pg_notify", "pg_advisory_xact_lock", "pg_advisory_xact_lock_shared", "pg_try_advisory_xact_lock", "pg_try_advisory_xact_lock_shared",
        "pg_backend_pid", "pg_relation_size", "pg_total_relation_size", "pg_table_size", "pg_database_size"})
    if (name == known) return true;
  return name.starts_with("txid_") || name.starts_with("pg_sleep") || name.starts_with("pg_current_") || name.starts_with("pg_stat_get_") ||
         name.starts_with("RI_FKey");
}

}  // namespace

bool CatalogBuilder::State::traces(const std::map<Oid, HiddenCode>& code, Oid relation, bool runs_code) const {
  const auto it = code.find(relation);
  if (it == code.end() || !it->second.known) return runs_code;
  if (it->second.anything) return true;
  for (const Oid id : it->second.functions) {
    const auto function = functions.find(id);
    if (function == functions.end() || function->second.traces) return true;
  }
  return false;
}

bool CatalogBuilder::State::spread_to_functions() {
  std::set<std::string, std::less<>> tracing;
  for (const auto& [id, function] : functions)
    if (function.traces) tracing.insert(function.name);
  for (const auto& [id, loaded] : relations)
    if (loaded.relation.traces_on_read || loaded.relation.traces_on_write) tracing.insert(loaded.relation.name);
  bool changed = false;
  for (auto& [id, function] : functions)
    for (std::size_t i = 0; !function.traces && i < function.words.size(); ++i)
      if (tracing.contains(function.words[i])) changed = function.traces = true;
  return changed;
}

bool CatalogBuilder::State::spread_to_relations() {
  bool changed = false;
  const auto raise = [&changed](bool& flag, bool by) {
    if (by && !flag) changed = flag = true;
  };
  for (auto& [id, loaded] : relations) {
    Relation& relation = loaded.relation;
    const bool view = relation.kind == RelationKind::view;
    raise(relation.traces_on_read, (view || relation.runs_code_on_read) && traces(code_on_read, id, true));
    raise(relation.traces_on_write, relation.has_triggers && traces(code_on_write, id, true));
    const auto reads = views.find(id);
    if (view && reads != views.end())
      for (const Oid below : reads->second.relations)
        if (const auto it = relations.find(below); it != relations.end()) {
          raise(relation.traces_on_read, it->second.relation.traces_on_read);
          raise(relation.traces_on_write, it->second.relation.traces_on_write);
        }
    for (const Oid parent : loaded.parents)
      if (const auto it = relations.find(parent); it != relations.end()) {
        raise(it->second.relation.traces_on_read, relation.traces_on_read);
        raise(it->second.relation.traces_on_write, relation.traces_on_write);
      }
  }
  for (const auto& [referenced, referencing] : cascades) {
    const auto to = relations.find(referenced);
    const auto from = relations.find(referencing);
    if (to != relations.end() && from != relations.end()) raise(to->second.relation.traces_on_write, from->second.relation.traces_on_write);
  }
  return changed;
}

// What the words of the texts say without looking at others.
void CatalogBuilder::State::judge_functions() {
  std::set<std::string, std::less<>> names;
  for (const auto& [id, function] : functions) names.insert(function.name);
  for (const auto& [id, loaded] : relations) names.insert(loaded.relation.name);
  for (auto& [id, function] : functions) {
    if (const auto facts = catalog->find_function(function.schema, function.name); !function.has_text && facts)
      function.traces |= facts->reads_data;   // it runs SQL given as text
    for (const std::string& word : function.words) {
      const auto facts = catalog->find_function("pg_catalog", word);
      function.traces |= facts && ((facts->is_volatile && !is_harmless(word)) || facts->reads_data);
    }
    std::erase_if(function.words, [&](const std::string& word) { return !names.contains(word); });
  }
}

void CatalogBuilder::State::spread_traces() {
  while (spread_to_relations() || spread_to_functions()) {
  }
}

void CatalogBuilder::State::find_traces() {
  judge_functions();
  spread_traces();
  catalog->hidden_code_traces_ = traces(code_on_read, 0, !catalog->user_operators_.empty());
  if (catalog->hidden_code_traces_) {   // it may be behind any expression
    for (auto& [id, function] : functions) function.traces |= function.has_text;
    spread_traces();
  }
  std::set<std::string> judged;
  for (const auto& [id, function] : functions) {
    judged.insert(name_key(function.schema, function.name));
    FunctionFacts facts;
    facts.user_defined = true;
    facts.leaves_trace = function.traces;
    facts.computes_setting = function.computes;
    catalog->add_function(function.schema, function.name, facts);
  }
  for (auto& [key, facts] : catalog->functions_) {
    if (!facts.user_defined || judged.contains(key)) continue;
    facts.leaves_trace = true;
    catalog->functions_any_[key.substr(key.find('\0') + 1)].leaves_trace = true;
  }
}

}  // namespace weir::schema
