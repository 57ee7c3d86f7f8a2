#include "wire/saslprep.hpp"

#include <cstdlib>
#include <memory>

extern "C" {
// Declared as in PostgreSQL's common/saslprep.h, which would bring its configuration headers along.
int pg_saslprep(const char* input, char** output);
}

namespace weir::wire {
namespace {
constexpr int kSuccess = 0;
}

std::string saslprep(std::string_view password) {
  const std::string input(password);
  if (input.find('\0') != std::string::npos) return input;  // no C string; PostgreSQL has no such passwords
  char* output = nullptr;
  const int rc = pg_saslprep(input.c_str(), &output);
  const std::unique_ptr<char, decltype(&std::free)> owned(output, &std::free);
  return rc == kSuccess ? std::string(owned.get()) : input;
}

}  // namespace weir::wire
