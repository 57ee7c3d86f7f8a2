// Node numbers of weir.next_id()'s ids (policy/id_generator.hpp), and who has them: schema weir, made by `weirctl init`.
//
// Numbers below kFirstProxyNode are the shards' own, for the function weir.next_id() on each of them: a shard's is its ShardId. The others are
// leased to proxies by the home shard. weir.id_node has a row (node, holder, about, until_ms, renewed_at) for each that ever was.
//
//   weir.lease_id_node(holder, about)   gives the holder a number, or more time with the one it has: (node, from_ms, until_ms, now_ms).
//   weir.release_id_node(holder, used_ms)   the holder gives no more ids; none has a time behind used_ms.
//
// A lease is the right to ids of that node with a time in [from_ms, until_ms). Of a number that changes hands, from_ms is never before what
// the last holder was granted (or said to have used): no id can come twice, whatever holders' clocks say and however late they notice. A
// lease is on disk before it is granted, also where synchronous_commit is off. Times are milliseconds since policy::Id::kEpoch.
//
// The functions are the owner's alone (and whom they are granted to).
#pragma once

#include <chrono>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace weir::schema {

inline constexpr std::uint16_t kFirstProxyNode = 512, kIdNodes = 1024;
// How long ids can be given while the home shard is away; and how long a number stays unused behind a proxy that was killed.
inline constexpr std::chrono::milliseconds kIdLease = std::chrono::minutes(90);

// Idempotent; part of init_statements(). For the owner of schema weir, which must exist.
[[nodiscard]] std::vector<std::string> id_node_statements();

// One row; true: the functions are there.
[[nodiscard]] std::string_view has_id_nodes_query();
// `holder`: a uuid of the process's own. One row: node, from_ms, until_ms, now_ms. Fails with 53400 where every number is leased.
[[nodiscard]] std::string lease_id_node_query(std::string_view holder, std::string_view about);
[[nodiscard]] std::string release_id_node_query(std::string_view holder, std::uint64_t used_ms);

}  // namespace weir::schema
