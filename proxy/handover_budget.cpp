#include "proxy/handover_budget.hpp"

#include <algorithm>
#include <charconv>
#include <utility>

#include "base/strings.hpp"

namespace weir::proxy {

namespace {

using Micros = std::chrono::microseconds;

// Takes the next line off `text`.
std::string_view next_line(std::string_view& text) {
  const std::string_view line = text.substr(0, text.find('\n'));
  text.remove_prefix(std::min(text.size(), line.size() + 1));
  return line;
}

// Takes a number and the blank behind it off `line`.
std::uint64_t next_number(std::string_view& line) {
  std::uint64_t n = 0;
  const auto [end, error] = std::from_chars(line.data(), line.data() + line.size(), n);
  line.remove_prefix(std::min(line.size(), static_cast<std::size_t>(end - line.data()) + 1));
  return error == std::errc() ? n : 0;
}

}  // namespace

std::string BudgetShare::whole(const pool::Pools& pools) {
  std::string lines;
  for (const auto& [name, budget] : pools.budgets()) lines += concat("share ", std::to_string(budget->whole_bound()), " ", name, "\n");
  return lines;
}

void BudgetShare::hear_whole(std::string_view lines) {
  while (!lines.empty()) {
    std::string_view line = next_line(lines);
    if (!line.starts_with("share ")) continue;
    line.remove_prefix(6);
    const auto connections = static_cast<unsigned>(next_number(line));
    servers_[std::string(line)].elsewhere = connections;
  }
  for (const auto& [name, budget] : pools_.budgets()) {
    Server& server = servers_[name];
    server.known = true;
    budget->change_lent(static_cast<int>(server.elsewhere));
  }
}

BudgetShare::Waiting BudgetShare::waiting_for(const pool::Budget& budget, TimePoint now) const {
  Waiting waiting;
  if (!budget.starving()) return waiting;
  for (const auto& pool : pools_.all()) {
    if (&pool->backend().budget() != &budget) continue;
    const auto counts = pool->counts(now);
    waiting.clients += counts.waiting;
    waiting.longest = std::max(waiting.longest, counts.max_wait);
  }
  return waiting;
}

// Only what was free in the round before, too: PostgreSQL has seen the end of those connections.
unsigned BudgetShare::lend(Server& server, pool::Budget& budget, bool all) const {
  const unsigned settled = std::min(server.free_before, budget.free());
  const unsigned lent = budget.lend(all ? settled : std::min(settled, server.wanted));
  const unsigned promised = std::exchange(server.closing, budget.collect_promised());
  server.elsewhere += lent + server.closing;
  server.free_before = budget.free();
  server.wanted -= std::min(server.wanted, lent + promised);
  return lent + promised;
}

// Their clients wait and nothing is free: idle servers are closed; where all are busy, the next ones that become idle, unless clients
// here wait for longer.
void BudgetShare::make_room(Server& server, pool::Budget& budget, unsigned given, const Waiting& ours) const {
  const unsigned coming = given + server.closing + server.free_before;
  unsigned missing = server.wanted > coming ? server.wanted - coming : 0;
  while (missing > 0 && pools_.relieve(budget, nullptr)) --missing;
  if (missing > 0 && ours.clients > 0) missing = server.wanted_since > ours.longest ? 1 : 0;
  budget.promise(missing);
}

std::string BudgetShare::round(bool all, TimePoint now) {
  std::string lines;
  for (const auto& [name, budget] : pools_.budgets()) {
    Server& server = servers_[name];
    if (!std::exchange(server.known, true)) budget->change_lent(static_cast<int>(server.elsewhere));   // new by a RELOAD
    const unsigned given = lend(server, *budget, all);
    const Waiting ours = waiting_for(*budget, now);
    make_room(server, *budget, given, ours);
    const bool ask = ours.clients > 0;
    if (given > 0 || ask || server.asked)
      lines += concat("budget ", std::to_string(given), " ", std::to_string(ours.clients), " ",
                      std::to_string(std::chrono::duration_cast<Micros>(ours.longest).count()), " ", name, "\n");
    server.asked = ask;
  }
  return lines;
}

void BudgetShare::hear(std::string_view lines) {
  const auto budgets = pools_.budgets();
  while (!lines.empty()) {
    std::string_view line = next_line(lines);
    if (!line.starts_with("budget ")) continue;
    line.remove_prefix(7);
    const auto given = static_cast<unsigned>(next_number(line));
    const auto wanted = static_cast<unsigned>(next_number(line));
    const Duration since = Micros(next_number(line));
    Server& server = servers_[std::string(line)];
    server.wanted = wanted;
    server.wanted_since = since;
    server.elsewhere -= std::min(server.elsewhere, given);
    const auto budget = budgets.find(std::string(line));
    if (given == 0 || budget == budgets.end() || !server.known) continue;
    budget->second->change_lent(-static_cast<int>(given));
    pools_.feed(*budget->second);
  }
}

void BudgetShare::end() {
  for (const auto& [name, budget] : pools_.budgets()) {
    Server& server = servers_[name];
    budget->promise(0);
    const unsigned lent = budget->collect_promised() + (server.known ? server.elsewhere : 0);
    budget->change_lent(-static_cast<int>(lent));
    pools_.feed(*budget);
  }
  servers_.clear();
}

}  // namespace weir::proxy
