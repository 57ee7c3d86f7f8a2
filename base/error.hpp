// Error: what went wrong, and the three facts a caller must know before it acts on it.
//
// Data-path functions return Result<T> (base/result.hpp) and never throw. An Error is a value: it may be
// copied, stored and sent between threads.
#pragma once

#include <array>
#include <string>
#include <string_view>
#include <utility>

namespace weir {

// A five-character SQLSTATE.
// https://www.postgresql.org/docs/15/errcodes-appendix.html
class SqlState {
 public:
  constexpr SqlState() = default;
  constexpr explicit SqlState(const char (&code)[6]) : code_{code[0], code[1], code[2], code[3], code[4]} {}

  // Reads the first five characters of `code`; shorter input gives XX000 (internal_error).
  static SqlState parse(std::string_view code) noexcept {
    SqlState s;
    if (code.size() >= 5) code.copy(s.code_.data(), 5);
    return s;
  }

  [[nodiscard]] std::string_view view() const noexcept { return {code_.data(), code_.size()}; }
  friend bool operator==(const SqlState&, const SqlState&) = default;

 private:
  std::array<char, 5> code_{'X', 'X', '0', '0', '0'};
};

namespace sqlstate {
inline constexpr SqlState kWarning{"01000"};
inline constexpr SqlState kFeatureNotSupported{"0A000"};       // cannot be routed or merged exactly
inline constexpr SqlState kProtocolViolation{"08P01"};
inline constexpr SqlState kConnectionFailure{"08006"};          // server lost, nothing was written
inline constexpr SqlState kTransactionResolutionUnknown{"08007"};  // a write was sent, outcome unknown
inline constexpr SqlState kInvalidAuthorization{"28000"};
inline constexpr SqlState kInvalidPassword{"28P01"};
inline constexpr SqlState kActiveSqlTransaction{"25001"};
inline constexpr SqlState kReadOnlyTransaction{"25006"};
inline constexpr SqlState kNoActiveTransaction{"25P01"};
inline constexpr SqlState kInFailedTransaction{"25P02"};
inline constexpr SqlState kIdleInTransactionTimeout{"25P03"};
inline constexpr SqlState kInvalidStatementName{"26000"};
inline constexpr SqlState kInvalidDatabase{"3D000"};
inline constexpr SqlState kSerializationFailure{"40001"};
inline constexpr SqlState kSyntaxError{"42601"};
inline constexpr SqlState kInsufficientPrivilege{"42501"};
inline constexpr SqlState kDuplicatePreparedStatement{"42P05"};
inline constexpr SqlState kTooManyConnections{"53300"};         // waited in the queue; too many clients
inline constexpr SqlState kConfigurationLimit{"53400"};         // rate limit
inline constexpr SqlState kProgramLimit{"54000"};
inline constexpr SqlState kQueryCanceled{"57014"};
inline constexpr SqlState kAdminShutdown{"57P01"};
inline constexpr SqlState kCannotConnectNow{"57P03"};           // no healthy backend; wrong identity
inline constexpr SqlState kConfigFile{"F0000"};
inline constexpr SqlState kInvalidParameter{"22023"};
inline constexpr SqlState kInternal{"XX000"};
}  // namespace sqlstate

// The error type of every layer. Every message names the thing (pool, backend, key, file:line); `hint`
// names the next step. Fields are those of ErrorResponse:
// https://www.postgresql.org/docs/15/protocol-error-fields.html
struct Error {
  SqlState code = sqlstate::kInternal;
  std::string message;
  std::string detail;
  std::string hint;

  bool connection_spoilt = false;   // the connection it happened on must not be used again
  bool transaction_spoilt = false;  // the transaction can only be rolled back
  bool outcome_known = true;        // false: a write may or may not have happened; never send it again

  Error() = default;
  Error(SqlState c, std::string m, std::string h = {}) : code(c), message(std::move(m)), hint(std::move(h)) {}
};

}  // namespace weir
