#include "router/text_cache.hpp"

#include <gtest/gtest.h>

#include <random>
#include <string>
#include <vector>

#include "router/lexer.hpp"

namespace weir::router {
namespace {

const PlanRef kPlan = std::make_shared<const Plan>();

bool same(const std::vector<Literal>& a, const std::vector<Literal>& b) {
  return std::equal(a.begin(), a.end(), b.begin(), b.end(), [](const Literal& x, const Literal& y) {
    return x.offset == y.offset && x.length == y.length && x.kind == y.kind;
  });
}

void learn(TextCache& cache, std::string_view sql, const TextCache::Context& context = {}) {
  Lifted lifted;
  lift(sql, true, lifted);
  ASSERT_TRUE(lifted.certain) << sql;
  cache.remember(sql, context, lifted.literals, kPlan);
}

bool knows(TextCache& cache, std::string_view sql, const TextCache::Context& context = {}) {
  std::vector<Literal> literals;
  return cache.find(sql, context, literals) != nullptr;
}

TEST(TextCache, KnowsTheTextWithOtherValues) {
  TextCache cache;
  learn(cache, "SELECT abalance FROM accounts WHERE aid = 12 AND name = 'ann'");
  std::vector<Literal> literals;
  ASSERT_NE(cache.find("SELECT abalance FROM accounts WHERE aid = 987654321 AND name = ''", {}, literals), nullptr);
  ASSERT_EQ(literals.size(), 2u);
  EXPECT_EQ(literals[0].offset, 42u);
  EXPECT_EQ(literals[0].length, 9u);
  EXPECT_EQ(literals[1].length, 2u);
  for (const std::string other :
       {"SELECT abalance FROM accounts WHERE aid = 1234567890 AND name = 'ann'", "SELECT abalance FROM accounts WHERE aid = 12x AND name = 'ann'",
        "SELECT abalance FROM accounts WHERE aid = 1.2 AND name = 'ann'", "SELECT abalance FROM accounts WHERE aid =  12 AND name = 'ann'",
        "SELECT abalance FROM accounts WHERE aid = 12 AND name = 'a''n'", "SELECT abalance FROM accounts WHERE aid = 12 AND name = 'a\\n'",
        "SELECT abalance FROM accounts WHERE aid = 12 AND name = 'ann", "SELECT abalance FROM accounts WHERE aid = 12 AND name = 'ann'; DROP TABLE t",
        "SELECT abalance FROM accounts WHERE aid = 'x' AND name = 'ann'", "SELECT abalance FROM accounts WHERE aid = "})
    EXPECT_FALSE(knows(cache, other)) << other;
}

TEST(TextCache, OtherContextsAreOtherStatements) {
  TextCache cache;
  const std::vector<std::uint32_t> types{23};
  learn(cache, "SELECT v FROM accounts WHERE aid = $1", {types, "a, b", "ann", {}});
  EXPECT_TRUE(knows(cache, "SELECT v FROM accounts WHERE aid = $1", {types, "a, b", "ann", {}}));
  EXPECT_FALSE(knows(cache, "SELECT v FROM accounts WHERE aid = $1", {{}, "a, b", "ann", {}}));
  EXPECT_FALSE(knows(cache, "SELECT v FROM accounts WHERE aid = $1", {types, "a", "ann", {}}));
  EXPECT_FALSE(knows(cache, "SELECT v FROM accounts WHERE aid = $1", {types, "a, b", "bob", {}}));
}

TEST(TextCache, AFullSetTakesNewcomersRarely) {
  TextCache cache;
  const auto text = [](int i) { return "SELECT abcdefgh FROM t" + std::to_string(i); };
  for (int i = 0; i < 4; ++i) learn(cache, text(i));
  learn(cache, text(4));
  EXPECT_FALSE(knows(cache, text(4)));
  for (int i = 0; i < 4; ++i) EXPECT_TRUE(knows(cache, text(i)));
  for (int i = 5; i < 64 + 4; ++i) learn(cache, text(i));
  EXPECT_TRUE(knows(cache, text(64 + 3)));
  cache.clear();
  EXPECT_FALSE(knows(cache, text(0)));
}

// Whatever it knows, the lexer would have said the same.
TEST(TextCache, NeverDisagreesWithTheLexer) {
  const std::vector<std::string> samples{
      "SELECT abalance FROM accounts WHERE aid = 12;",
      "SELECT a, b FROM t WHERE k IN (1,2,3) AND n = 'x' ORDER BY 1, 2 LIMIT 10",
      "INSERT INTO orders (user_id, note, n) VALUES (42, 'abc', 7), (43,'d', 8)",
      "UPDATE accounts SET balance = balance + 5 WHERE id=7 AND day > '2024-01-01'",
      "SELECT '1' AS one, date '2024-01-01', interval '1' day, x::text FROM t",
      "/* weir: key=42 */ SELECT 1 FROM t WHERE k = 5 -- 12 'x'",
      "SELECT nextval('s'), f(1, 'a'), numeric(10,2) '1.5' FROM t WHERE a[1]=2",
      "SELECT * FROM t WHERE a = 1 AND b = E'x\\n' AND c = $1 AND d = 007",
      "SELECT * FROM t WHERE a = 'x' AND b = 1e5 AND c = 12 OR d = U&'x'",
  };
  const std::vector<std::string> pieces{"'", "''", "\\", "1", "0", "9999999999", ".", "e5", "x", "--", "/*", "*/", "\n", "\n'", "E'", "$1", "$a$", ";",
                                        ",", " ", "-", "+", "(", ")", "'b'", "ä", std::string(1, '\0'), "\"", "0x1", "_1", "::int", "U&"};
  TextCache cache;
  std::vector<std::pair<Lifted, PlanRef>> learned;
  for (const std::string& sample : samples) {
    Lifted lifted;
    lift(sample, true, lifted);
    if (!lifted.certain) continue;
    Plan plan;
    plan.setting = sample;
    learned.emplace_back(lifted, std::make_shared<const Plan>(std::move(plan)));
    cache.remember(sample, {}, lifted.literals, learned.back().second);
  }
  std::mt19937 random(7);
  const auto below = [&random](std::size_t n) { return std::uniform_int_distribution<std::size_t>(0, n - 1)(random); };
  unsigned hits = 0;
  for (int i = 0; i < 400'000; ++i) {
    std::string text = samples[below(samples.size())];
    for (std::size_t changes = below(3) + 1; changes > 0; --changes) {
      const std::size_t at = below(text.size());
      const std::size_t digit = text.find_first_of("0123456789", at);
      if (below(2) == 0 && digit != std::string::npos)
        text.replace(digit, 1, std::to_string(below(100000)));
      else
        text.replace(at, below(3), pieces[below(pieces.size())]);
    }
    std::vector<Literal> literals;
    const PlanRef* known = cache.find(text, {}, literals);
    if (known == nullptr) continue;
    ++hits;
    Lifted lifted;
    lift(text, true, lifted);
    ASSERT_TRUE(lifted.certain) << text;
    ASSERT_TRUE(same(lifted.literals, literals)) << text;
    const auto origin = std::find_if(learned.begin(), learned.end(), [&](const auto& l) { return l.second == *known; });
    ASSERT_EQ(lifted.key, origin->first.key) << text;
  }
  EXPECT_GT(hits, 10'000u);
}

}  // namespace
}  // namespace weir::router
