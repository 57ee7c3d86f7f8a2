#include "schema/decisions.hpp"

namespace weir::schema {
namespace {

// COLLATE "C": an index that no upgrade of a collation library can break.
constexpr const char* kTable = R"(CREATE TABLE IF NOT EXISTS weir.decision (
  id text COLLATE "C" PRIMARY KEY CHECK (id ~ '^[0-9a-f]{1,16}-[0-9a-f]{14}$'),
  outcome text NOT NULL CHECK (outcome IN ('commit', 'abort')),
  participants text[] NOT NULL,
  decided_at timestamptz NOT NULL DEFAULT clock_timestamp()
))";

// A commit that could be lost again must not decide for the others; synchronous_commit stays so to the end of the
// transaction. Any other value keeps at least the commit record on the disk, and is the client's choice.
constexpr const char* kDecide = R"(CREATE OR REPLACE FUNCTION weir.decide(decision_id text, participant_names text[])
RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $weir$
BEGIN
  IF split_part(decision_id, '-', 1) IS DISTINCT FROM to_hex(txid_current()) THEN
    RAISE EXCEPTION 'decision "%" is not of this transaction', decision_id
      USING ERRCODE = 'insufficient_privilege', HINT = 'weir.decide() is called by Weir as it commits over several shards.';
  END IF;
  IF pg_column_size(participant_names) > 65536 THEN
    RAISE EXCEPTION 'too many participants' USING ERRCODE = 'program_limit_exceeded';
  END IF;
  INSERT INTO weir.decision (id, outcome, participants) VALUES (decision_id, 'commit', participant_names);
  IF current_setting('synchronous_commit') = 'off' THEN
    PERFORM set_config('synchronous_commit', 'on', true);
  END IF;
END $weir$)";

// The INSERT waits for a deciding transaction that has written its row already. What it left is read by a statement of its
// own, with a snapshot of its own: in REPEATABLE READ the INSERT fails instead.
constexpr const char* kAbort = R"(CREATE OR REPLACE FUNCTION weir.abort(decision_id text) RETURNS text
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $weir$
DECLARE
  stands text;
BEGIN
  INSERT INTO weir.decision (id, outcome, participants) VALUES (decision_id, 'abort', '{}') ON CONFLICT DO NOTHING;
  SELECT outcome INTO STRICT stands FROM weir.decision WHERE id = decision_id;
  RETURN stands;
END $weir$)";

}  // namespace

std::vector<std::string> decision_statements() {
  return {
      kTable,
      "REVOKE ALL ON weir.decision FROM PUBLIC",
      kDecide,
      "GRANT EXECUTE ON FUNCTION weir.decide(text, text[]) TO PUBLIC",
      kAbort,
      "REVOKE ALL ON FUNCTION weir.abort(text) FROM PUBLIC",
  };
}

}  // namespace weir::schema
