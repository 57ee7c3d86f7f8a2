#include "proxy/statements.hpp"

#include <atomic>
#include <cstdio>
#include <mutex>

namespace weir::proxy {

namespace {
std::mutex intern_mutex;
std::atomic<std::uint64_t> next_id{0};
std::unordered_map<std::string, std::weak_ptr<InternedStatement>>& interned() {
  static std::unordered_map<std::string, std::weak_ptr<InternedStatement>> map;
  return map;
}
std::size_t sweep_at = 1024;

std::string key_of(std::string_view scope, std::string_view sql, const std::vector<std::uint32_t>& types) {
  std::string key(scope);
  key += '\0';
  key.append(reinterpret_cast<const char*>(types.data()), types.size() * sizeof(std::uint32_t));
  key += '\0';
  key += sql;
  return key;
}
}  // namespace

InternedRef intern_statement(std::string_view scope, std::string_view sql, const std::vector<std::uint32_t>& types) {
  std::string key = key_of(scope, sql, types);
  std::lock_guard lock(intern_mutex);
  auto& map = interned();
  if (const auto it = map.find(key); it != map.end())
    if (auto known = it->second.lock()) return known;
  if (map.size() >= sweep_at) {
    std::erase_if(map, [](const auto& e) { return e.second.expired(); });
    sweep_at = std::max<std::size_t>(1024, map.size() * 2);
  }
  auto interned_statement = std::make_shared<InternedStatement>();
  interned_statement->id = next_id.fetch_add(1) + 1;
  map[std::move(key)] = interned_statement;
  return interned_statement;
}

std::string server_statement_name(std::uint64_t id) {
  char name[32];
  std::snprintf(name, sizeof name, "weir_%llx", static_cast<unsigned long long>(id));
  return name;
}

}  // namespace weir::proxy
