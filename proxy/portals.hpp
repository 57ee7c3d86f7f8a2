// Portals: what a client has bound in its present transaction or batch. One session, one thread.
//
// Binding the unnamed portal does not allocate. https://www.postgresql.org/docs/15/protocol-flow.html#PROTOCOL-FLOW-EXT-QUERY
#pragma once

#include <cstddef>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>

#include "base/strings.hpp"
#include "proxy/statements.hpp"
#include "router/plan.hpp"

namespace weir::proxy {

struct Portal {
  router::PlanRef plan;
  std::shared_ptr<const std::string> sql;   // null: the session need not know what it says
  InternedRef executes;           // of an EXECUTE: the statement that it names; null: none that the client has
  std::string executes_name;      // the client's name for it
  std::uint16_t format = 0;       // of SHOW's column, where the proxy answers it
};

class Portals {
 public:
  // What they may take together: texts and names, each portal at least kOverhead.
  static constexpr std::size_t kMaxBytes = std::size_t{64} << 20;
  static constexpr std::size_t kOverhead = 512;

  // The portal `name`: what it was before is gone. Null: it would take more than kMaxBytes.
  [[nodiscard]] Portal* add(std::string_view name, const router::PlanRef& plan, std::shared_ptr<const std::string> sql) {
    close(name);
    const std::size_t more = cost(name, sql.get());
    if (bytes_ + more > kMaxBytes) return nullptr;
    bytes_ += more;
    Portal& portal = name.empty() ? unnamed_ : named_[std::string(name)];
    has_unnamed_ |= name.empty();
    portal.plan = plan;
    portal.sql = std::move(sql);
    return &portal;
  }

  [[nodiscard]] const Portal* find(std::string_view name) const {
    if (name.empty()) return has_unnamed_ ? &unnamed_ : nullptr;
    const auto it = named_.find(name);
    return it == named_.end() ? nullptr : &it->second;
  }

  void close(std::string_view name) {
    const Portal* portal = find(name);
    if (!portal) return;
    bytes_ -= cost(name, portal->sql.get());
    if (!name.empty()) {
      named_.erase(named_.find(name));
      return;
    }
    has_unnamed_ = false;
    unnamed_ = {};
  }

  [[nodiscard]] bool empty() const { return bytes_ == 0; }

  void clear() {
    if (empty()) return;
    if (has_unnamed_) close("");
    named_.clear();
    bytes_ = 0;
  }

 private:
  static std::size_t cost(std::string_view name, const std::string* sql) { return kOverhead + name.size() + (sql ? sql->size() : 0); }

  Portal unnamed_;
  std::unordered_map<std::string, Portal, StringHash, std::equal_to<>> named_;
  std::size_t bytes_ = 0;
  bool has_unnamed_ = false;
};

}  // namespace weir::proxy
