// `weir check`: everything that is wrong with a configuration and, with --connect, with the databases it names.
#pragma once

#include <iosfwd>
#include <string>

namespace weir::proxy {

// Prints one line for each finding and a last line that counts them. Returns 0 if nothing is an error, else 1.
//
// Mistakes in the file: "weir.toml:12: pool.size: ...". About the databases: "error: database app, shard s1, primary
// 127.0.0.1:5433: ..."; a "warning: " is worth reading but serves.
//
// With `connect`, logs in to every primary and replica one after the other (5 s each at most) as database.maintenance,
// reads only, and blocks meanwhile. It removes libpq's variables (PGHOST ...) from this process's environment: the file
// alone counts.
int run_check(const std::string& path, bool connect, std::ostream& out);

}  // namespace weir::proxy
