// FallbackUse: who uses a database that the file does not name and its fallback entry "*" serves; so that it is forgotten only once nobody does.
#pragma once

#include <atomic>
#include <memory>
#include <utility>

#include "base/deadline.hpp"

namespace weir::proxy {

// Shared by all snapshots that hold the database. Its owner guards it by a lock of its own (Proxy's); a Place may be given up on any thread.
class FallbackUse {
 public:
  explicit FallbackUse(TimePoint now) : last_(now) {}

  // One client's. While there is one, the database stays.
  class Place {
   public:
    Place() = default;
    explicit Place(std::shared_ptr<FallbackUse> use) : use_(std::move(use)) { use_->clients_.fetch_add(1); }
    Place(Place&& other) noexcept = default;
    Place& operator=(Place&& other) noexcept {
      std::swap(use_, other.use_);
      return *this;
    }
    ~Place() {
      if (!use_) return;
      use_->last_ = Clock::now();
      use_->clients_.fetch_sub(1);
    }

   private:
    std::shared_ptr<FallbackUse> use_;
  };

  [[nodiscard]] bool unused() const { return clients_.load() == 0; }
  // When the last client left; of one that never had any: when it was made.
  [[nodiscard]] TimePoint last() const { return last_.load(); }

 private:
  std::atomic<unsigned> clients_{0};
  std::atomic<TimePoint> last_;
};

}  // namespace weir::proxy
