// Names of custom settings in SQL text.
#include "schema/setting_names.hpp"

#include <gtest/gtest.h>

namespace weir::schema {
namespace {

using Names = std::vector<std::string>;

Names names_in(std::string_view text) {
  Names names;
  find_setting_names(text, names);
  return names;
}

TEST(SettingNames, AreFoundInQuotesAndBehindSet) {
  EXPECT_EQ(names_in("select set_config('app.user_id', $1, false)"), Names{"app.user_id"});
  EXPECT_EQ(names_in("do 'begin perform set_config(''App.X'', ''1'', false); end'"), Names{"app.x"});
  EXPECT_EQ(names_in("do $$ begin perform set_config($q$app.x$q$, '1', false); end $$"), Names{"app.x"});
  EXPECT_EQ(names_in("set app.a = 1; SET LOCAL app.b TO 2; set\n session  App.c = 3; reset \"app.d\""),
            (Names{"app.a", "app.b", "app.c", "app.d"}));
  EXPECT_EQ(names_in("select 'a.b', 'a.b'"), Names{"a.b"});
}

TEST(SettingNames, AreNotColumnsNorNamesOfOnePart) {
  EXPECT_EQ(names_in("select t.a from s.t where t.b = 'x' and t.c = '1.5' and t.d = 'a. b'"), Names{});
  EXPECT_EQ(names_in("set work_mem = 1"), Names{});
  EXPECT_EQ(names_in("update t set a = t.b"), Names{});
}

TEST(SettingNames, IsOneHasTwoPartsAtLeast) {
  EXPECT_TRUE(is_custom_setting_name("app.user_id"));
  EXPECT_TRUE(is_custom_setting_name("a.b.c"));
  for (const char* no : {"app", "", ".a", "a.", "a.1", "1.a", "a b.c", "a.b "}) EXPECT_FALSE(is_custom_setting_name(no)) << no;
}

}  // namespace
}  // namespace weir::schema
