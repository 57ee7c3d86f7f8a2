// Portals: what a client has bound in its present transaction or batch. One session, one thread.
//
// Places are kept and filled again, so that binding does not allocate in the steady state.
// https://www.postgresql.org/docs/15/protocol-flow.html#PROTOCOL-FLOW-EXT-QUERY
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

#include "proxy/statements.hpp"
#include "router/plan.hpp"

namespace weir::proxy {

struct Portal {
  std::string name;
  router::PlanRef plan;
  std::string sql;
  InternedRef executes;           // of an EXECUTE: the statement that it names
  std::string executes_name;      // the client's name for it
};

class Portals {
 public:
  // The place of `name`: the one it has, or a new one; its old contents are gone.
  Portal& add(std::string_view name, const router::PlanRef& plan, std::string_view sql) {
    Portal* portal = find(name);
    if (portal == nullptr) {
      if (used_ == places_.size()) places_.emplace_back();
      portal = &places_[used_++];
      portal->name.assign(name);
    }
    portal->plan = plan;
    portal->sql.assign(sql);
    portal->executes.reset();
    portal->executes_name.clear();
    return *portal;
  }

  [[nodiscard]] Portal* find(std::string_view name) {
    for (std::size_t i = 0; i < used_; ++i)
      if (places_[i].name == name) return &places_[i];
    return nullptr;
  }
  [[nodiscard]] const Portal* find(std::string_view name) const { return const_cast<Portals*>(this)->find(name); }

  void clear() {
    if (used_ == 0) return;
    if (used_ > kKeptPlaces) places_.clear();
    for (Portal& p : places_) {
      p.plan.reset();
      p.executes.reset();
      if (p.sql.capacity() > kKeptText) p.sql = {};
    }
    used_ = 0;
  }

 private:
  static constexpr std::size_t kKeptPlaces = 4, kKeptText = 512;
  std::vector<Portal> places_;
  std::size_t used_ = 0;
};

}  // namespace weir::proxy
