// What a server still owes: the FIFO of expected replies (facts: "give the server back only when it is empty").
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace weir::proxy {

// Named after the message that causes the reply.
enum class Expect : std::uint8_t {
  query,           // Query: anything up to ReadyForQuery
  parse,           // ParseComplete
  bind,            // BindComplete
  describe,        // RowDescription or NoData (after ParameterDescription for a statement)
  execute,         // CommandComplete, EmptyQueryResponse, PortalSuspended
  close,           // CloseComplete
  function_call,   // FunctionCallResponse, then ReadyForQuery
  sync,            // ReadyForQuery
  settings,        // the proxy's own Query in front of a batch that makes the server's settings the client's: up to ReadyForQuery
  own_sync,        // ReadyForQuery for a Sync of the proxy's own
  copy_end,        // CloseComplete for a Close of the proxy's own, behind any number of ReadyForQuery (session_copy.cpp)
  local,           // nothing from the server: the proxy's own bytes (`op` says which) go out at this place
  poison,          // an error made on purpose, to be replaced by the proxy's own
};

inline constexpr std::uint32_t kNoOp = ~std::uint32_t{0};   // caused by no message of the client's

struct Expected {
  Expect kind = Expect::query;
  bool swallow = false;      // the client did not ask for it
  std::uint32_t op = 0;      // index of the client's message in its batch
  std::uint64_t statement = 0;   // parse, close: the id of the shared statement; 0: the client's own message
};

// Allocates no more once it has seen the usual pipelines; what a very long one took is given back.
class ReplyQueue {
 public:
  void push(Expected e) { items_.push_back(e); }
  [[nodiscard]] bool empty() const { return head_ == items_.size(); }
  [[nodiscard]] const Expected& front() const { return items_[head_]; }
  void pop() {
    if (++head_ == items_.size()) clear();
  }
  // After an ErrorResponse the server skips to the next Sync: drops what is before it. `dropped` is called for each, the last one first,
  // so that it can undo them.
  template <class F>
  void drop_to_sync(F&& dropped) {
    std::size_t to = head_;
    while (to < items_.size() && items_[to].kind != Expect::sync && items_[to].kind != Expect::own_sync) ++to;
    drop(to, dropped);
  }
  // The same for all of them.
  template <class F>
  void drop_all(F&& dropped) {
    drop(items_.size(), dropped);
  }
  // The client does not get the first reply after all.
  void swallow_front() { items_[head_].swallow = true; }
  // COPY IN makes the server ignore Syncs already sent: how many there were.
  std::size_t drop_syncs() {
    const std::size_t before = items_.size();
    std::size_t to = head_;
    for (std::size_t i = head_; i < items_.size(); ++i)
      if (items_[i].kind != Expect::sync) items_[to++] = items_[i];
    items_.resize(to);
    if (head_ == items_.size()) clear();
    return before - to;
  }
  // The first reply that the server owes.
  [[nodiscard]] const Expected* first_owed() const {
    for (std::size_t i = head_; i < items_.size(); ++i)
      if (items_[i].kind != Expect::local) return &items_[i];
    return nullptr;
  }
  // The next Sync, the client's or the proxy's.
  [[nodiscard]] const Expected* next_sync() const {
    for (std::size_t i = head_; i < items_.size(); ++i)
      if (items_[i].kind == Expect::sync || items_[i].kind == Expect::own_sync) return &items_[i];
    return nullptr;
  }
  void clear() {
    items_.clear();
    if (items_.capacity() > kKept) std::vector<Expected>().swap(items_);
    head_ = 0;
  }

 private:
  template <class F>
  void drop(std::size_t to, F&& dropped) {
    for (std::size_t i = to; i > head_; --i) dropped(items_[i - 1]);
    head_ = to;
    if (empty()) clear();
  }

  static constexpr std::size_t kKept = 256;
  std::vector<Expected> items_;
  std::size_t head_ = 0;
};

}  // namespace weir::proxy
