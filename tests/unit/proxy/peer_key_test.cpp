#include <gtest/gtest.h>

#include "proxy/cancels.hpp"

namespace weir::proxy {
namespace {

TEST(PeerKey, CarriesTheProxysNumberAndLeavesTheTopmostBitFree) {
  for (const unsigned id : {1U, 2U, 255U})
    for (const std::uint32_t random : {0U, 1U, 0x12345678U, 0xffffffffU}) {
      const std::uint32_t number = peer_key::number(id, random);
      EXPECT_EQ(peer_key::id_of(number), id);
      EXPECT_EQ(peer_key::id_of(number | peer_key::kPassedOn), id);
      EXPECT_EQ(number & peer_key::kPassedOn, 0U);
      EXPECT_NE(number, 0U);
    }
  EXPECT_NE(peer_key::number(1, 5), peer_key::number(1, 6));
}

TEST(PeerKey, AProxyAloneUsesAllButTheTopmostBit) {
  EXPECT_EQ(peer_key::number(0, 0xffffffffU), 0x7fffffffU);
  EXPECT_EQ(peer_key::number(0, 77U), 77U);
}

}  // namespace
}  // namespace weir::proxy
