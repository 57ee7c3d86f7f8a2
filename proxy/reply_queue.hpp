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
  local,           // nothing from the server: the proxy's own bytes (`op` says which) go out at this place
  poison,          // an error made on purpose, to be replaced by the proxy's own
};

inline constexpr std::uint32_t kNoOp = ~std::uint32_t{0};   // caused by no message of the client's

struct Expected {
  Expect kind = Expect::query;
  bool swallow = false;      // the client did not ask for it
  std::uint32_t op = 0;      // index of the client's message in its batch
};

// Grows to the longest pipeline seen and then allocates no more.
class ReplyQueue {
 public:
  void push(Expected e) { items_.push_back(e); }
  [[nodiscard]] bool empty() const { return head_ == items_.size(); }
  [[nodiscard]] const Expected& front() const { return items_[head_]; }
  void pop() {
    if (++head_ == items_.size()) clear();
  }
  // After an ErrorResponse the server skips to the next Sync: drops what is before it. `dropped` is called for each.
  template <class F>
  void drop_to_sync(F&& dropped) {
    while (!empty() && front().kind != Expect::sync) {
      const Expected e = front();
      pop();
      dropped(e);
    }
  }
  // COPY IN makes the server ignore Syncs already sent.
  // True: there was one.
  bool drop_syncs() {
    const std::size_t before = items_.size();
    std::size_t to = head_;
    for (std::size_t i = head_; i < items_.size(); ++i)
      if (items_[i].kind != Expect::sync) items_[to++] = items_[i];
    items_.resize(to);
    if (head_ == items_.size()) clear();
    return to < before;
  }
  void clear() {
    items_.clear();
    head_ = 0;
  }

 private:
  std::vector<Expected> items_;
  std::size_t head_ = 0;
};

}  // namespace weir::proxy
