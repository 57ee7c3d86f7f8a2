#include "router/builtins.hpp"

#include <unordered_map>

namespace weir::router {
namespace {

constexpr BuiltinTraits kHarmless{.read_only = true};
constexpr BuiltinTraits kPrimary{};  // leaves no trace; its answer is the primary's, or it writes
constexpr BuiltinTraits kTransactionLock{.home = true};
constexpr BuiltinTraits kSession{.effects = {.taints = true, .pins = true}};
constexpr BuiltinTraits kLocks{.effects = {.holds = true}, .home = true};
constexpr BuiltinTraits kUnlocks{.effects = {.releases = true}, .home = true};
constexpr BuiltinTraits kDraws{.effects = {.soft = true, .needs_clean = true}, .home = true};
constexpr BuiltinTraits kReadsSession{.effects = {.needs_clean = true}, .home = true};
constexpr BuiltinTraits kLargeObject{.effects = {.taints = true}, .home = true};
constexpr BuiltinTraits kReadsData{.effects = kOpaqueEffects, .reads_data = true};  // it runs text that may call anything

// Names that share a prefix and nothing else are spelt out: a prefix would let unknown ones in.
const std::unordered_map<std::string_view, BuiltinTraits>& table() {
  static const std::unordered_map<std::string_view, BuiltinTraits> traits{
      {"clock_timestamp", kHarmless},
      {"gen_random_uuid", kHarmless},
      {"pg_collation_actual_version", kHarmless},
      {"pg_jit_available", kHarmless},
      {"pg_partition_ancestors", kHarmless},
      {"pg_partition_tree", kHarmless},
      {"pg_sleep", kHarmless},
      {"pg_sleep_for", kHarmless},
      {"pg_sleep_until", kHarmless},
      {"random", kHarmless},
      {"timeofday", kHarmless},

      {"current_setting", kPrimary},
      {"inet_client_addr", kPrimary},
      {"inet_client_port", kPrimary},
      {"inet_server_addr", kPrimary},
      {"inet_server_port", kPrimary},
      {"pg_backend_pid", kPrimary},
      {"pg_blocking_pids", kPrimary},
      {"pg_cancel_backend", kPrimary},
      {"pg_conf_load_time", kPrimary},
      {"pg_control_checkpoint", kPrimary},
      {"pg_control_init", kPrimary},
      {"pg_control_recovery", kPrimary},
      {"pg_control_system", kPrimary},
      {"pg_current_snapshot", kPrimary},
      {"pg_current_wal_flush_lsn", kPrimary},
      {"pg_current_wal_insert_lsn", kPrimary},
      {"pg_current_wal_lsn", kPrimary},
      {"pg_current_xact_id", kPrimary},
      {"pg_current_xact_id_if_assigned", kPrimary},
      {"pg_cursor", kPrimary},
      {"pg_database_size", kPrimary},
      {"pg_export_snapshot", kPrimary},
      {"pg_get_replication_slots", kPrimary},
      {"pg_get_wal_replay_pause_state", kPrimary},
      {"pg_indexes_size", kPrimary},
      {"pg_is_in_recovery", kPrimary},
      {"pg_is_other_temp_schema", kPrimary},
      {"pg_is_wal_replay_paused", kPrimary},
      {"pg_last_committed_xact", kPrimary},
      {"pg_last_wal_receive_lsn", kPrimary},
      {"pg_last_wal_replay_lsn", kPrimary},
      {"pg_last_xact_replay_timestamp", kPrimary},
      {"pg_listening_channels", {.effects = {.tells_channels = true}}},
      {"pg_lock_status", kPrimary},
      {"pg_logical_emit_message", kPrimary},
      {"pg_my_temp_schema", kPrimary},
      {"pg_notification_queue_usage", kPrimary},
      {"pg_notify", {.effects = {.notifies = true}}},
      {"pg_postmaster_start_time", kPrimary},
      {"pg_prepared_statement", kPrimary},
      {"pg_prepared_xact", kPrimary},
      {"pg_relation_size", kPrimary},
      {"pg_safe_snapshot_blocking_pids", kPrimary},
      {"pg_sequence_last_value", kPrimary},
      {"pg_show_all_file_settings", kPrimary},
      {"pg_show_all_settings", kPrimary},
      {"pg_stat_clear_snapshot", kPrimary},
      {"pg_stat_get_activity", kPrimary},
      {"pg_table_size", kPrimary},
      {"pg_tablespace_size", kPrimary},
      {"pg_terminate_backend", kPrimary},
      {"pg_total_relation_size", kPrimary},
      {"pg_xact_commit_timestamp", kPrimary},
      {"pg_xact_status", kPrimary},
      {"txid_current", kPrimary},
      {"txid_current_if_assigned", kPrimary},
      {"txid_current_snapshot", kPrimary},
      {"txid_status", kPrimary},

      {"pg_advisory_xact_lock", kTransactionLock},
      {"pg_advisory_xact_lock_shared", kTransactionLock},
      {"pg_try_advisory_xact_lock", kTransactionLock},
      {"pg_try_advisory_xact_lock_shared", kTransactionLock},

      {"set_config", kPrimary},  // what it sets, its arguments tell (analysis_survey.cpp)
      {"setseed", kSession},

      {"nextval", kDraws},
      {"pg_advisory_lock", kLocks},
      {"pg_advisory_lock_shared", kLocks},
      {"pg_advisory_unlock", kUnlocks},
      {"pg_advisory_unlock_all", kUnlocks},
      {"pg_advisory_unlock_shared", kUnlocks},
      {"pg_try_advisory_lock", kLocks},
      {"pg_try_advisory_lock_shared", kLocks},
      {"setval", kDraws},

      {"currval", kReadsSession},
      {"lastval", kReadsSession},

      {"lo_close", kLargeObject},
      {"lo_creat", kLargeObject},
      {"lo_create", kLargeObject},
      {"lo_export", kLargeObject},
      {"lo_from_bytea", kLargeObject},
      {"lo_get", kLargeObject},
      {"lo_import", kLargeObject},
      {"lo_lseek", kLargeObject},
      {"lo_lseek64", kLargeObject},
      {"lo_open", kLargeObject},
      {"lo_put", kLargeObject},
      {"lo_tell", kLargeObject},
      {"lo_tell64", kLargeObject},
      {"lo_truncate", kLargeObject},
      {"lo_truncate64", kLargeObject},
      {"lo_unlink", kLargeObject},
      {"loread", kLargeObject},
      {"lowrite", kLargeObject},

      {"currtid2", kReadsData},
      {"cursor_to_xml", kReadsData},
      {"cursor_to_xmlschema", kReadsData},
      {"database_to_xml", kReadsData},
      {"database_to_xml_and_xmlschema", kReadsData},
      {"database_to_xmlschema", kReadsData},
      {"query_to_xml", kReadsData},
      {"query_to_xml_and_xmlschema", kReadsData},
      {"query_to_xmlschema", kReadsData},
      {"schema_to_xml", kReadsData},
      {"schema_to_xml_and_xmlschema", kReadsData},
      {"schema_to_xmlschema", kReadsData},
      {"table_to_xml", kReadsData},
      {"table_to_xml_and_xmlschema", kReadsData},
      {"table_to_xmlschema", kReadsData},
      {"ts_rewrite", kReadsData},
      {"ts_stat", kReadsData},
  };
  return traits;
}

}  // namespace

std::optional<BuiltinTraits> builtin_traits(std::string_view name) {
  const auto found = table().find(name);
  if (found != table().end()) return found->second;
  // The statistics of this very server; all of them only read.
  if (name.starts_with("pg_stat_get_")) return kPrimary;
  return std::nullopt;
}

}  // namespace weir::router
