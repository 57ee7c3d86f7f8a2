// The tests of net/ run once for each backend of the loop: $WEIR_TEST_IO is "epoll" (or nothing) or "io_uring".
#include <gtest/gtest.h>

#include <cstdio>

#include "support.hpp"

int main(int argc, char** argv) {
  testing::InitGoogleTest(&argc, argv);
  if (weir::net::tested_io() == weir::net::Io::io_uring) {
    if (const auto works = weir::net::probe_io_uring(); !works) {
      std::printf("SKIPPED: %s\n", works.error().message.c_str());
      return 77;  // ctest's SKIP_RETURN_CODE
    }
  }
  return RUN_ALL_TESTS();
}
