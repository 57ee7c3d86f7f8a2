// Why a server connection stays with its session between transactions.
#pragma once

#include <cstdint>
#include <string>

namespace weir::proxy {

enum class Kept : std::uint8_t {
  table = 1,          // a temporary table or other object (askable, as the next two are)
  lock = 2,           // a session's advisory lock
  cursor = 4,         // a cursor WITH HOLD
  for_good = 16,      // what nobody can ask for: until DISCARD ALL or the end
  sequence = 32,      // currval and lastval: given up when somebody waits for a server
  session_mode = 64,
};

class KeptSet {
 public:
  void add(Kept kept) { bits_ |= static_cast<std::uint8_t>(kept); }
  void add(KeptSet other) { bits_ |= other.bits_; }
  void remove_askable() { bits_ &= static_cast<std::uint8_t>(~(1U | 2U | 4U)); }
  [[nodiscard]] bool has(Kept kept) const { return (bits_ & static_cast<std::uint8_t>(kept)) != 0; }
  [[nodiscard]] bool only(Kept kept) const { return bits_ == static_cast<std::uint8_t>(kept); }
  [[nodiscard]] bool empty() const { return bits_ == 0; }
  // "temporary table, advisory lock"
  [[nodiscard]] std::string reasons() const;

 private:
  std::uint8_t bits_ = 0;
};

}  // namespace weir::proxy
