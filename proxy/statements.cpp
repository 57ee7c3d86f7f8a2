#include "proxy/statements.hpp"

#include <atomic>
#include <cstdio>
#include <mutex>

namespace weir::proxy {

namespace {

// Keys are views into the statements: an entry goes before its statement does.
struct Interner {
  std::mutex mutex;
  std::unordered_map<std::string_view, std::weak_ptr<InternedStatement>> statements;
  std::atomic<std::uint64_t> next_id{0};
  std::atomic<std::size_t> bytes{0};
};

// Never destroyed: sessions may outlive it at exit.
Interner& interner() {
  static auto* const interner = new Interner;
  return *interner;
}

std::string key_of(std::string_view scope, std::string_view sql, const std::vector<std::uint32_t>& types) {
  std::string key(scope);
  key += '\0';
  key.append(reinterpret_cast<const char*>(types.data()), types.size() * sizeof(std::uint32_t));
  key += '\0';
  key += sql;
  return key;
}

void forget(InternedStatement* statement) {
  Interner& known = interner();
  {
    const std::lock_guard lock(known.mutex);
    // Another of the same text may have taken the place meanwhile.
    const auto it = known.statements.find(statement->key);
    if (it != known.statements.end() && it->first.data() == statement->key.data()) known.statements.erase(it);
  }
  known.bytes.fetch_sub(statement->key.size() + kStatementOverhead, std::memory_order_relaxed);
  delete statement;
}

}  // namespace

InternedRef intern_statement(std::string_view scope, std::string_view sql, const std::vector<std::uint32_t>& types) {
  Interner& known = interner();
  std::string key = key_of(scope, sql, types);
  const std::lock_guard lock(known.mutex);
  if (const auto it = known.statements.find(key); it != known.statements.end()) {
    if (auto statement = it->second.lock()) return statement;
    known.statements.erase(it);   // its last holder waits for the lock to forget it
  }
  const std::size_t bytes = key.size() + kStatementOverhead;
  if (known.bytes.load(std::memory_order_relaxed) + bytes > kMaxInternedBytes) return nullptr;
  known.bytes.fetch_add(bytes, std::memory_order_relaxed);
  InternedRef statement(new InternedStatement, forget);
  statement->id = known.next_id.fetch_add(1) + 1;
  statement->text_at = key.size() - sql.size();
  statement->types = types;
  statement->key = std::move(key);
  known.statements.emplace(statement->key, statement);
  return statement;
}

std::size_t interned_bytes() { return interner().bytes.load(std::memory_order_relaxed); }

namespace {
constexpr std::string_view kServerNames = "weir_";
}

std::string server_statement_name(std::uint64_t id) {
  char name[32];
  std::snprintf(name, sizeof name, "weir_%llx", static_cast<unsigned long long>(id));
  return name;
}

bool is_server_statement_name(std::string_view name) { return name.starts_with(kServerNames); }

bool is_stale_plan(ByteView error) {
  bool code = false;
  bool routine = false;
  for_each_error_field(error, [&](char field, std::string_view value) {
    code |= field == 'C' && value == sqlstate::kFeatureNotSupported.view();
    routine |= field == 'R' && value == "RevalidateCachedQuery";
  });
  return code && routine;
}

bool runs_in_proxy(const router::Plan& plan) {
  return plan.verb == router::Verb::prepare || plan.verb == router::Verb::deallocate || plan.verb == router::Verb::deallocate_all;
}

Error too_many_texts() {
  return {sqlstate::kConfigurationLimit,
          concat("the prepared statements of all clients take ", std::to_string(kMaxInternedBytes), " bytes, which is the most that Weir keeps"),
          "DEALLOCATE statements that are no longer used, or give values as parameters instead of writing them into the text."};
}

void StatementNames::add(std::string_view name, Entry entry) {
  remove(name);
  bytes_ += cost(name, entry);
  names_.emplace(std::string(name), std::move(entry));
}

void StatementNames::remove(std::string_view name) {
  const auto it = names_.find(name);
  if (it == names_.end()) return;
  bytes_ -= cost(it->first, it->second);
  names_.erase(it);
}

std::string_view StatementNames::name_of(std::uint64_t id) const {
  for (const auto& [name, entry] : names_)
    if (entry.interned && entry.interned->id == id) return name;
  return {};
}

}  // namespace weir::proxy
