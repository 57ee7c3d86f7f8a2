// The decisions of distributed transactions (design section 6), kept on the shard that decides: schema weir, made by `weirctl init`.
//
// weir.decision has a row (id, outcome, participants, decided_at) for each decided transaction. `id` is "<xid>-<random>" of a gid
// (router/two_phase.hpp): the number that the deciding shard's own transaction has there, and the coordinator's random digits.
//
//   weir.decide(id, participants)  writes 'commit' inside the deciding transaction itself, for PUBLIC: it runs as the client's role.
//                                  The row is there if and only if that transaction committed.
//   weir.abort(id)                 writes 'abort' unless there is a decision, and tells the one that stands. The owner's alone.
//
// Nobody can forge a decision: weir.decide() takes an id only from the transaction whose number is in it, and a transaction that says
// 'commit' of itself says so only by committing. Called by hand it leaves a row that nothing refers to, which is cleared away.
// A second decision of one id fails (23505), so that an 'abort' of the recovery's stops a coordinator that was only slow.
// Guessing an id is of no use to an attacker, but seeing it would be (pg_prepared_xacts is for everybody); hence the number.
//
// https://www.postgresql.org/docs/15/sql-createfunction.html#SQL-CREATEFUNCTION-SECURITY
#pragma once

#include <string>
#include <vector>

namespace weir::schema {

// Idempotent; part of init_statements(). For the owner of schema weir, which must exist.
[[nodiscard]] std::vector<std::string> decision_statements();

}  // namespace weir::schema
