// AdminHttp: what admin.http serves. /metrics; /healthz: every worker's loop turns; /readyz: new clients would be served; and a page
// for people. Names of databases, shards and servers appear; secrets, users and statements never do.
#pragma once

#include <memory>
#include <string>

#include "base/result.hpp"
#include "proxy/http_server.hpp"

namespace weir::proxy {

class Proxy;

// Serves from now on, while `proxy` starts, serves and drains, until the server is destroyed.
[[nodiscard]] Result<std::unique_ptr<HttpServer>> serve_admin_http(Proxy& proxy, const std::string& address);

}  // namespace weir::proxy
