// What a fuzz target asserts beside the sanitizers.
#pragma once

#include <cstdio>
#include <cstdlib>

#define WEIR_FUZZ_CHECK(condition)                                                   \
  do {                                                                               \
    if (!(condition)) {                                                              \
      std::fprintf(stderr, "%s:%d: not true: %s\n", __FILE__, __LINE__, #condition); \
      std::abort();                                                                  \
    }                                                                                \
  } while (false)
