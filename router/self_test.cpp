#include "base/strings.hpp"
#include "router/router.hpp"
namespace weir::router {
Result<void> self_test() { return {}; }
}  // namespace weir::router
