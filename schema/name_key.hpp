// The key of a qualified name in a map: a dot may be part of a name, a NUL may not.
#pragma once

#include <string>
#include <string_view>

namespace weir::schema {

inline std::string name_key(std::string_view schema, std::string_view name) {
  std::string key;
  key.reserve(schema.size() + 1 + name.size());
  key.append(schema);
  key.push_back('\0');
  key.append(name);
  return key;
}

}  // namespace weir::schema
