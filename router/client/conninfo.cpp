#include "router/client/conninfo.hpp"

#include <libpq-fe.h>

#include <memory>
#include <pqxx/except>

namespace weir::client {

namespace {

struct FreeOptions {
  void operator()(PQconninfoOption* options) const { PQconninfoFree(options); }
};

std::string quoted(const std::string& value) {
  std::string out = "'";
  for (const char c : value) {
    if (c == '\'' || c == '\\') out += '\\';
    out += c;
  }
  return out + "'";
}

std::string value_or(const ConninfoMap& parts, const std::string& key, const std::string& otherwise) {
  const auto it = parts.find(key);
  return it == parts.end() ? otherwise : it->second;
}

}  // namespace

ConninfoMap parse_conninfo(const std::string& conninfo) {
  char* error = nullptr;
  const std::unique_ptr<PQconninfoOption, FreeOptions> options(PQconninfoParse(conninfo.c_str(), &error));
  if (!options) {
    const std::string why = error != nullptr ? error : "out of memory";
    PQfreemem(error);
    throw pqxx::argument_error("connection string is not one of libpq's: " + why);
  }
  ConninfoMap parts;
  for (const PQconninfoOption* o = options.get(); o->keyword != nullptr; ++o)
    if (o->val != nullptr) parts[o->keyword] = o->val;
  return parts;
}

std::string format_conninfo(const ConninfoMap& parts) {
  std::string out;
  for (const auto& [key, value] : parts) out += (out.empty() ? "" : " ") + key + "=" + quoted(value);
  return out;
}

std::string merge_conninfo(const std::string& base, const std::string& overrides) {
  ConninfoMap parts = parse_conninfo(base);
  for (const auto& [key, value] : parse_conninfo(overrides)) parts[key] = value;
  return format_conninfo(parts);
}

std::string conninfo_label(const std::string& conninfo) {
  const ConninfoMap parts = parse_conninfo(conninfo);
  const std::string host = value_or(parts, "host", value_or(parts, "hostaddr", "local"));
  const std::string user = value_or(parts, "user", "");
  return host + ":" + value_or(parts, "port", "5432") + "/" + value_or(parts, "dbname", user);
}

std::string with_weir_defaults(const std::string& conninfo, const std::string& application_name) {
  ConninfoMap parts = parse_conninfo(conninfo);
  parts.emplace("gssencmode", "disable");
  parts.emplace("tcp_user_timeout", "30000");
  parts.emplace("application_name", application_name);
  return format_conninfo(parts);
}

}  // namespace weir::client
