#include "proxy/statements.hpp"

#include <gtest/gtest.h>

#include <set>

namespace weir::proxy {
namespace {

TEST(InternStatement, GivesEqualStatementsOneObject) {
  const InternedRef a = intern_statement("app/bob/public", "SELECT 1", {23});
  const InternedRef b = intern_statement("app/bob/public", "SELECT 1", {23});
  EXPECT_EQ(a, b);
  a->accepted = true;
  EXPECT_TRUE(b->accepted);
}

TEST(InternStatement, TellsTextTypesAndScopeApart) {
  const InternedRef base = intern_statement("app/bob/public", "SELECT $1", {23});
  const std::vector<InternedRef> others = {
      intern_statement("app/bob/public", "SELECT  $1", {23}),  intern_statement("app/bob/public", "SELECT $1", {}),
      intern_statement("app/bob/public", "SELECT $1", {0}),    intern_statement("app/bob/public", "SELECT $1", {20}),
      intern_statement("app/bob/public", "SELECT $1", {23, 23}), intern_statement("app/ann/public", "SELECT $1", {23}),
      intern_statement("app/bob/other", "SELECT $1", {23})};
  std::set<std::uint64_t> ids{base->id};
  for (const InternedRef& other : others) ids.insert(other->id);
  EXPECT_EQ(ids.size(), others.size() + 1) << "no two of them may share a name on a server";
}

TEST(InternStatement, NeverUsesANameAgainForAnotherText) {
  const std::uint64_t first = intern_statement("app", "SELECT 'forgotten'", {})->id;
  const std::uint64_t again = intern_statement("app", "SELECT 'forgotten'", {})->id;
  EXPECT_NE(first, again) << "nobody held it: servers may have evicted it meanwhile, and the id is not reused";
  EXPECT_NE(first, 0U) << "0 means none";
}

TEST(InternStatement, KeepsWhatIsHeldOverASweep) {
  const InternedRef held = intern_statement("app", "SELECT 'held'", {});
  for (int i = 0; i < 5000; ++i) (void)intern_statement("app", "SELECT " + std::to_string(i), {});
  EXPECT_EQ(intern_statement("app", "SELECT 'held'", {}), held);
}

TEST(InternStatement, KeepsTheTextAndTheTypes) {
  const InternedRef one = intern_statement("scope", "SELECT $1", {23, 25});
  EXPECT_EQ(one->sql(), "SELECT $1");
  EXPECT_EQ(one->types, (std::vector<std::uint32_t>{23, 25}));
}

TEST(InternStatement, CountsWhatIsHeldAndRefusesMoreThanItsBound) {
  const std::size_t before = interned_bytes();
  std::vector<InternedRef> held;
  const std::string filler(64 << 20, 'x');
  for (int i = 0; i < 20; ++i) {
    InternedRef next = intern_statement(std::to_string(i), filler, {});
    if (!next) break;
    held.push_back(std::move(next));
  }
  EXPECT_LT(held.size(), 9U);
  EXPECT_LE(interned_bytes(), kMaxInternedBytes);
  EXPECT_EQ(intern_statement("one", filler, {}), nullptr);
  held.clear();
  EXPECT_EQ(interned_bytes(), before);
  EXPECT_NE(intern_statement("one", filler, {}), nullptr);
}

TEST(StatementNames, CountWhatTheyHold) {
  StatementNames names;
  const auto statement = std::make_shared<PreparedStatement>();
  statement->sql = "SELECT 1";
  names.add("a", {statement, intern_statement("app", "SELECT 1", {})});
  const std::size_t one = names.bytes();
  EXPECT_GE(one, kStatementOverhead + 9);
  names.add("a", {statement, nullptr});
  EXPECT_EQ(names.bytes(), one);
  names.add("b", {statement, nullptr});
  names.remove("a");
  EXPECT_EQ(names.bytes(), one);
  names.clear();
  EXPECT_EQ(names.bytes(), 0U);
}

TEST(IsStalePlan, KnowsTheRoutineWhateverTheLanguage) {
  const auto error = [](std::string_view fields) {
    return is_stale_plan({reinterpret_cast<const std::uint8_t*>(fields.data()), fields.size()});
  };
  using namespace std::string_view_literals;
  EXPECT_TRUE(error("SFEHLER\0C0A000\0Mgepufferter Plan\0RRevalidateCachedQuery\0\0"sv));
  EXPECT_FALSE(error("SERROR\0C0A000\0Mother\0Rother\0\0"sv));
  EXPECT_FALSE(error("SERROR\0C0A000\0RRevalidateCachedQuer"sv));
  EXPECT_FALSE(error(""sv));
}

TEST(ServerStatementName, IsUniqueAndFitsAnIdentifier) {
  EXPECT_EQ(server_statement_name(1), "weir_1");
  EXPECT_EQ(server_statement_name(255), "weir_ff");
  EXPECT_NE(server_statement_name(16), server_statement_name(10));
  EXPECT_LT(server_statement_name(~std::uint64_t{0}).size(), 64U);
  EXPECT_EQ(server_statement_name(~std::uint64_t{0}), "weir_ffffffffffffffff");
}

TEST(StatementNames, FindsWhatWasAddedUnderItsExactName) {
  StatementNames names;
  EXPECT_EQ(names.find("s1"), nullptr);
  const auto statement = std::make_shared<PreparedStatement>();
  names.add("s1", {statement, intern_statement("app", "SELECT 1", {})});
  ASSERT_NE(names.find("s1"), nullptr);
  EXPECT_EQ(names.find("s1")->statement, statement);
  EXPECT_EQ(names.find("S1"), nullptr) << "names in the protocol are not folded";
  EXPECT_EQ(names.find(""), nullptr);
}

TEST(StatementNames, ReplacesTheUnnamedStatement) {
  StatementNames names;
  names.add("", {std::make_shared<PreparedStatement>(), nullptr});
  const auto second = std::make_shared<PreparedStatement>();
  names.add("", {second, nullptr});
  EXPECT_EQ(names.size(), 1U);
  EXPECT_EQ(names.find("")->statement, second);
}

TEST(StatementNames, KeepsTheServerNameAliveAsLongAsTheStatement) {
  StatementNames names;
  const std::uint64_t id = [&] {
    const InternedRef interned = intern_statement("app", "SELECT 'kept by name'", {});
    names.add("s", {std::make_shared<PreparedStatement>(), interned});
    return interned->id;
  }();
  EXPECT_EQ(intern_statement("app", "SELECT 'kept by name'", {})->id, id);
  names.remove("s");
  EXPECT_NE(intern_statement("app", "SELECT 'kept by name'", {})->id, id);
}

TEST(StatementNames, RemovesOneOrAll) {
  StatementNames names;
  for (const char* name : {"a", "b", "c"}) names.add(name, {std::make_shared<PreparedStatement>(), nullptr});
  names.remove("b");
  names.remove("unknown");
  EXPECT_EQ(names.size(), 2U);
  EXPECT_EQ(names.find("b"), nullptr);
  EXPECT_NE(names.find("c"), nullptr);
  names.clear();
  EXPECT_EQ(names.size(), 0U);
}

}  // namespace
}  // namespace weir::proxy
