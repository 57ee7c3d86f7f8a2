// The options parameter: what was read, written again with every character escaped, is read the same.
#include "tests/fuzz/check.hpp"
#include "wire/startup.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace weir;
  const auto first = wire::parse_options(as_text({data, size}));
  if (!first.ok()) {
    WEIR_FUZZ_CHECK(first.error().code == sqlstate::kInvalidParameter);
    return 0;
  }
  std::string again;
  for (const auto& [name, value] : *first) {
    WEIR_FUZZ_CHECK(!name.empty() && name.find_first_of("=-") == std::string::npos);
    again += "-c ";
    for (const char c : name + "=" + value) again += {'\\', c};
    again += ' ';
  }
  const auto second = wire::parse_options(again);
  WEIR_FUZZ_CHECK(second.ok() && *second == *first);
  return 0;
}
