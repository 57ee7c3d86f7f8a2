# Helpers: weir_library, weir_binary, weir_unit_test, weir_pgtest, weir_test_limits.

add_library(weir_flags INTERFACE)
target_include_directories(weir_flags INTERFACE $<BUILD_INTERFACE:${PROJECT_SOURCE_DIR}>)
target_compile_options(weir_flags INTERFACE -Wall -Wextra -Wshadow -Wnon-virtual-dtor -Woverloaded-virtual -fno-omit-frame-pointer)
# GCC 12's false positives in std::string and std::vector once they are inlined (GCC bugs 105329, 105651).
if(CMAKE_CXX_COMPILER_ID STREQUAL GNU AND CMAKE_CXX_COMPILER_VERSION VERSION_LESS 13)
  target_compile_options(weir_flags INTERFACE -Wno-restrict -Wno-stringop-overflow -Wno-stringop-overread -Wno-array-bounds)
endif()
if(WEIR_WERROR)
  target_compile_options(weir_flags INTERFACE -Werror)
endif()
if(WEIR_SANITIZE)
  target_compile_options(weir_flags INTERFACE -fsanitize=${WEIR_SANITIZE} -fno-sanitize-recover=all)
  target_link_options(weir_flags INTERFACE -fsanitize=${WEIR_SANITIZE})
endif()

# How much longer than usual a test may take, and wait for a state (WEIR_SLOW in its environment): sanitizers are slow.
set(WEIR_SLOW 1)
if(WEIR_SANITIZE)
  set(WEIR_SLOW 3)
endif()

# weir_library(<name> SOURCES ... [DEPS ...] [PRIVATE_DEPS ...]): static library weir_<name> of one folder.
function(weir_library name)
  cmake_parse_arguments(ARG "" "" "SOURCES;DEPS;PRIVATE_DEPS" ${ARGN})
  add_library(weir_${name} STATIC ${ARG_SOURCES})
  target_link_libraries(weir_${name} PUBLIC weir_flags ${ARG_DEPS} PRIVATE ${ARG_PRIVATE_DEPS})
endfunction()

function(weir_binary name)
  cmake_parse_arguments(ARG "" "" "SOURCES;DEPS" ${ARGN})
  add_executable(${name} ${ARG_SOURCES})
  target_link_libraries(${name} PRIVATE weir_flags ${ARG_DEPS})
  set_target_properties(${name} PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${PROJECT_BINARY_DIR}/bin)
endfunction()

# weir_test_limits(<test> <label> <seconds> [<environment>...])
function(weir_test_limits test label seconds)
  math(EXPR limit "${seconds} * ${WEIR_SLOW}")
  set_tests_properties(${test} PROPERTIES LABELS ${label} TIMEOUT ${limit}
    ENVIRONMENT "WEIR_SLOW=${WEIR_SLOW};LSAN_OPTIONS=suppressions=${PROJECT_SOURCE_DIR}/tests/support/lsan.supp:print_suppressions=0;${ARGN}")
endfunction()

# weir_unit_test(<name> SOURCES ... DEPS ...): needs nothing but itself. weir_pgtest: starts PostgreSQL.
function(weir_unit_test name)
  cmake_parse_arguments(ARG "" "" "SOURCES;DEPS" ${ARGN})
  add_executable(${name} ${ARG_SOURCES})
  target_link_libraries(${name} PRIVATE weir_flags ${ARG_DEPS} GTest::gmock GTest::gtest_main)
  add_test(NAME ${name} COMMAND ${name})
  weir_test_limits(${name} unit 120)
endfunction()

function(weir_pgtest name)
  weir_unit_test(${name} ${ARGN})
  # BOOST_BIND...: the JSON reader of Debian's Boost would print a note at every compilation.
  target_compile_definitions(${name} PRIVATE BOOST_BIND_GLOBAL_PLACEHOLDERS WEIR_SOURCE_DIR="${PROJECT_SOURCE_DIR}" WEIR_BINARY_DIR="${PROJECT_BINARY_DIR}")
  weir_test_limits(${name} pg 300)
endfunction()
