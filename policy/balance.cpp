#include "policy/balance.hpp"

namespace weir::policy {
namespace {

bool eligible(const Candidate& c) { return c.usable && c.weight > 0; }

// splitmix64 (Steele, Lea, Flood 2014): consecutive turns become independent-looking draws.
std::uint64_t scramble(std::uint64_t x) {
  x += 0x9e3779b97f4a7c15ULL;
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9ULL;
  x = (x ^ (x >> 27)) * 0x94d049bb133111ebULL;
  return x ^ (x >> 31);
}

std::uint64_t total_weight(std::span<const Candidate> candidates) {
  std::uint64_t total = 0;
  for (const Candidate& c : candidates) total += eligible(c) ? c.weight : 0;
  return total;
}

// The candidate in whose stretch of the weights laid end to end `point` falls.
std::optional<std::size_t> at_point(std::span<const Candidate> candidates, std::uint64_t point) {
  for (std::size_t i = 0; i < candidates.size(); ++i) {
    if (!eligible(candidates[i])) continue;
    if (point < candidates[i].weight) return i;
    point -= candidates[i].weight;
  }
  return std::nullopt;
}

// a.in_use / a.weight < b.in_use / b.weight, without division.
bool less_loaded(const Candidate& a, const Candidate& b) {
  return std::uint64_t{a.in_use} * b.weight < std::uint64_t{b.in_use} * a.weight;
}

std::optional<std::size_t> least_loaded(std::span<const Candidate> candidates, std::uint64_t turn) {
  std::optional<std::size_t> best;
  for (std::size_t k = 0; k < candidates.size(); ++k) {
    const std::size_t i = (turn + k) % candidates.size();
    if (!eligible(candidates[i])) continue;
    if (!best || less_loaded(candidates[i], candidates[*best])) best = i;
  }
  return best;
}

}  // namespace

std::optional<std::size_t> choose(config::Balance how, std::span<const Candidate> candidates, std::uint64_t turn) {
  if (how == config::Balance::least_connections) return least_loaded(candidates, turn);
  const std::uint64_t total = total_weight(candidates);
  if (total == 0) return std::nullopt;
  const std::uint64_t draw = how == config::Balance::random ? scramble(turn) : turn;
  return at_point(candidates, draw % total);
}

}  // namespace weir::policy
