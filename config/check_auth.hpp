// What must fit together in [auth] and the users file. Pure.
#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "config/settings.hpp"

namespace weir::config {

// Mistakes of [auth], each with the key it concerns.
[[nodiscard]] std::vector<std::pair<std::string_view, std::string>> auth_mistakes(const Settings& settings);

// Why `user`'s secret serves nobody: no client can prove itself by it, or nothing can log in to a server with it; empty: it does.
//
// A md5 secret proves under md5 and password, and logs in to servers that ask for MD5. A SCRAM secret proves under scram-sha-256, md5 (where SCRAM is
// done then) and password, and logs in to servers with the same secret by the keys that such a client brings: so under trust and cert, which bring none,
// it cannot, unless every backend's string says who logs in there.
[[nodiscard]] std::string useless_secret(const Settings& settings, const User& user);

}  // namespace weir::config
