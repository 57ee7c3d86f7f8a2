// spdlog behind base's logging interface. Bound in the binaries only.
#pragma once

#include "config/settings.hpp"

namespace weir::proxy {

// Writes lines to stderr from now on, as text or JSON. Call once, before threads start.
void start_logging(const config::Log& log);

}  // namespace weir::proxy
