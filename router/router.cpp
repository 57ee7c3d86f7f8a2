#include "router/router.hpp"

#include <atomic>
#include <cstring>
#include <string>
#include <utility>

#include "base/strings.hpp"
#include "router/analysis.hpp"
#include "router/hint.hpp"
#include "router/key_hash.hpp"
#include "router/lexer.hpp"
#include "router/search_path.hpp"
#include "router/text_cache.hpp"

namespace weir::router {
namespace {

using Declared = std::span<const std::uint32_t>;

// What is not even analysed: in a plain database the server judges it, on a connection that nobody else gets.
PlanRef unread(const schema::Catalog& catalog, Error why, bool hinted = false) {
  if (hinted) why.code = sqlstate::kSyntaxError;   // no server is asked what it thinks of it
  Plan plan;
  plan.verb = Verb::unparsable;
  plan.target = catalog.sharded() ? Target::refused : Target::home;
  plan.effects.taints = plan.effects.pins = true;
  plan.why.push_back(why.message);
  plan.refusal = std::move(why);
  plan.hinted = hinted;
  if (hinted) plan.target = Target::refused;
  return std::make_shared<const Plan>(std::move(plan));
}

bool has_byte_above_ascii(std::string_view sql) {
  for (const char c : sql)
    if (static_cast<unsigned char>(c) >= 0x80) return true;
  return false;
}

// Text that the parser would read otherwise than the server does.
std::optional<Error> misread(std::string_view sql, const SessionContext& session) {
  if (sql.find('\0') != std::string_view::npos)
    return Error(sqlstate::kProtocolViolation, "the statement contains a zero byte", "send text without zero bytes");
  if (!session.standard_conforming_strings && sql.find('\\') != std::string_view::npos)
    return Error(sqlstate::kFeatureNotSupported,
                 "a statement with backslashes while standard_conforming_strings is off cannot be routed",
                 "SET standard_conforming_strings = on, and write E'...' where backslashes are escapes");
  if (!session.ascii_safe_encoding && has_byte_above_ascii(sql))
    return Error(sqlstate::kFeatureNotSupported,
                 "a statement with non-ASCII characters in this client_encoding cannot be routed",
                 "SET client_encoding = 'UTF8'");
  return std::nullopt;
}

std::uint64_t next_generation() {
  static std::atomic<std::uint64_t> last = 0;
  return last.fetch_add(1, std::memory_order_relaxed) + 1;
}

void append(std::uint8_t*& out, const void* from, std::size_t size) {
  if (size != 0) std::memcpy(out, from, size);
  out += size;
}

}  // namespace

struct Router::Impl {
  explicit Impl(const RouterSettings& s) : settings(s), cache(s.cache_bytes) {}

  // Appends what else a plan depends on to the lifted key. The sizes come last and are of fixed size, so that no two
  // contexts give the same bytes. False: too long to cache.
  bool add_context(Declared declared, const SessionContext& session) {
    const std::uint32_t sizes[] = {static_cast<std::uint32_t>(declared.size()),
                                   static_cast<std::uint32_t>(session.search_path.size()),
                                   static_cast<std::uint32_t>(session.user.size()),
                                   static_cast<std::uint32_t>(session.hints.size())};
    const std::size_t size = declared.size_bytes() + session.search_path.size() + session.user.size() +
                             session.hints.size() + sizeof sizes;
    if (size > kMaxKeyBytes) return false;
    const std::size_t tokens = lifted.key.size();
    lifted.key.resize(tokens + size + kHashPadding);
    std::uint8_t* const context = lifted.key.data() + tokens;
    std::uint8_t* out = context;
    append(out, declared.data(), declared.size_bytes());
    append(out, session.search_path.data(), session.search_path.size());
    append(out, session.user.data(), session.user.size());
    append(out, session.hints.data(), session.hints.size());
    append(out, sizes, sizeof sizes);
    std::memset(out, 0, kHashPadding);
    hash = multiply_fold(lifted.hash ^ hash_padded(context, size, hash_seed()), hash_seed().c);
    lifted.key.resize(tokens + size);
    return true;
  }

  RouterSettings settings;
  PlanCache cache;
  TextCache texts;
  Lifted lifted;
  std::uint64_t hash = 0;  // of lifted.key with its context
};

Router::Router(std::shared_ptr<const schema::Catalog> catalog, std::shared_ptr<const schema::BucketMap> map,
               RouterSettings settings, Analysis& analysis)
    : catalog_(std::move(catalog)), map_(std::move(map)), generation_(next_generation()), analysis_(analysis),
      impl_(std::make_unique<Impl>(settings)) {}

Router::~Router() = default;

const CacheCounters& Router::counters() const { return impl_->cache.counters(); }

void Router::update(std::shared_ptr<const schema::Catalog> catalog, std::shared_ptr<const schema::BucketMap> map) {
  if (catalog == catalog_ && map == map_) return;
  catalog_ = std::move(catalog);
  map_ = std::move(map);
  impl_->cache.clear();
  impl_->texts.clear();
  generation_ = next_generation();
}

Planned Router::plan(std::string_view sql, Declared declared, const SessionContext& session) {
  if (sql.size() > impl_->settings.max_statement) return {too_long(sql), {}};
  if (!session.standard_conforming_strings || !session.ascii_safe_encoding)
    return {parse(sql, {}, declared, session), {}};
  Lifted& lifted = impl_->lifted;
  const TextCache::Context context{declared, session.search_path, session.user, session.hints};
  if (const PlanRef* known = impl_->texts.find(sql, context, lifted.literals)) {
    impl_->cache.count_hit();
    return {*known, lifted.literals};
  }
  lift(sql, true, lifted);
  if (!lifted.certain || !impl_->add_context(declared, session)) return {parse(sql, {}, declared, session), {}};
  PlanRef plan = impl_->cache.find(impl_->hash, lifted.key);
  if (plan == nullptr) {
    plan = parse(sql, lifted.literals, declared, session);
    // What the parser rejects is named with its text in the message, so it belongs to that text only.
    if (plan->verb == Verb::unparsable) return {std::move(plan), lifted.literals};
    impl_->cache.insert(impl_->hash, lifted.key, plan);
  }
  if (impl_->settings.cache_bytes > 0) impl_->texts.remember(sql, context, lifted.literals, plan);
  return {std::move(plan), lifted.literals};
}

PlanRef Router::parse(std::string_view sql, std::span<const Literal> literals, Declared declared,
                      const SessionContext& session) const {
  if (auto error = misread(sql, session)) return unread(*catalog_, std::move(*error), count_hints(sql) > 0);
  AnalysisInput input{sql, literals, declared, catalog_.get(), catalog_->default_search_path()};
  if (!session.search_path.empty()) {
    auto path = parse_search_path(session.search_path);
    if (!path)
      return unread(*catalog_, Error(sqlstate::kInvalidParameter,
                                     concat("search_path is not a list of names: ", session.search_path),
                                     "SET search_path to schema names separated by commas"));
    input.search_path = std::move(*path);
  }
  expand_user(input.search_path, session.user);
  input.hints = session.hints;
  Plan plan = analysis_(input);
  plan.literals = static_cast<std::uint16_t>(literals.size());
  return std::make_shared<const Plan>(std::move(plan));
}

PlanRef Router::too_long(std::string_view sql) const {
  return unread(*catalog_, Error(sqlstate::kProgramLimit,
                                 concat("the statement has ", std::to_string(sql.size()), " bytes; at most ",
                                        std::to_string(impl_->settings.max_statement), " are read for routing"),
                                 "send smaller statements, or load the rows with COPY"),
                count_hints(sql) > 0);
}

}  // namespace weir::router
