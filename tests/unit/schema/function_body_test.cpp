// What a function's text tells about the session state that it leaves behind.
#include "schema/function_body.hpp"

#include <gtest/gtest.h>

#include <algorithm>

namespace weir::schema {
namespace {

TEST(FunctionBody, OrdinaryOnesLeaveNoTrace) {
  for (const char* source : {
           "begin new.updated_at = now(); return new; end",
           "begin update t set a = 1, b = 'set work_mem' where id = $1; return; end",
           "insert into t values ($1) on conflict (id) do update set v = excluded.v returning id",
           "begin -- set work_mem\n /* execute /* listen */ x */ return 1; end",
           "begin perform set_config('app.x', v, true); return set_config('app.' || n, f(a, b), TRUE); end",
           "begin insert into t values (1) on conflict do nothing; end",
           "declare c cursor for select 1; begin open c; if a then update t set b = 1; else delete from t; end if; end",
           "select nextval('s')",
       })
    EXPECT_FALSE(look_into(source).leaves_trace) << source;
}

TEST(FunctionBody, WhatChangesTheSessionIsATrace) {
  for (const char* source : {
           "begin set work_mem = 1; end",
           "begin if a then set local x = 1; end if; end",
           "SET ROLE x",
           "select 1; set role x",
           "begin execute 'set work_mem = 1'; end",
           "begin perform set_config('app.x', v, false); end",
           "begin perform set_config('app.x', v, local); end",
           "begin perform set_config('app.x', v, not true); end",
           "begin perform pg_catalog . set_config ( 'app.x', f(true), (false) ); end",
           "begin reset all; end",
           "begin create temp table t (a int); end",
           "begin create table pg_temp.t (a int); end",
           "begin listen x; end",
           "begin do 'begin set x = 1; end'; end",
           "begin do $x$ begin set x = 1; end $x$; end",
           "begin declare c cursor with hold for select 1; end",
           "begin \"execute\" := 1; end",
           "<<l>> set x = 1",
           "",
       })
    EXPECT_TRUE(look_into(source).leaves_trace) << source;
}

TEST(FunctionBody, SaysWhetherTheNameOfASettingIsComputed) {
  EXPECT_FALSE(look_into("select set_config('app.x', $1, false)").computes_setting);
  EXPECT_TRUE(look_into("select set_config('app.' || $1, $2, false)").computes_setting);
  EXPECT_FALSE(look_into("select set_config($1, $2, false)").computes_setting);
  EXPECT_FALSE(look_into("begin perform set_config(n, v, false); end").computes_setting);
  EXPECT_FALSE(look_into("select set_config($1, $2, true)").computes_setting);
}

TEST(FunctionBody, NamesTheWordsButNotTheLiterals) {
  const auto words = look_into("begin perform Audit.Log(x, 'secret'); select \"Odd\" from t; end").words;
  const auto has = [&](const char* word) { return std::find(words.begin(), words.end(), word) != words.end(); };
  EXPECT_TRUE(has("audit") && has("log") && has("Odd") && has("t"));
  EXPECT_FALSE(has("secret"));
}

}  // namespace
}  // namespace weir::schema
