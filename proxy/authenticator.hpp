// Authenticator: what the proxy knows of users: how a client proves to be one, and with what the proxy then logs in to servers as that user.
// Decides and remembers; asks nobody. Any thread.
#pragma once

#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <utility>

#include "base/result.hpp"
#include "config/settings.hpp"
#include "pool/connector.hpp"
#include "wire/scram_client.hpp"

namespace weir::proxy {

// What proves one user.
struct UserSecret {
  enum class Kind { unknown, plain, md5, scram };
  Kind kind = Kind::unknown;   // unknown: nothing proves it, though the conversation looks the same
  std::string text;            // plain, md5: as stored
  wire::ScramSecret scram;     // for a SCRAM exchange; of md5 and unknown: one that nothing matches
};
using UserSecretRef = std::shared_ptr<const UserSecret>;

// How a client's answer was judged.
enum class PasswordMethod { md5, scram_sha_256, cleartext };

class Authenticator {
 public:
  Authenticator();

  // The users file, at start and reload. Secrets that did not change are kept. Costs one PBKDF2 (about 1 ms) for each new plain password where SCRAM
  // is done at all.
  void set_users(const config::Settings& settings);
  // Of the users file; null: the user is not in it.
  [[nodiscard]] UserSecretRef find(const std::string& user) const;
  // A secret as stored somewhere else (auth_query). Fails on what is none: NULL or empty is the caller's to refuse. Costs a PBKDF2 for a plain one.
  [[nodiscard]] Result<UserSecretRef> secret_of(const std::string& user, const std::string& stored);
  // For a name that nobody has: the same salt each time, iterations as the others have.
  [[nodiscard]] UserSecretRef mock(const std::string& user) const;
  // Which conversation a method means for a secret: md5 does SCRAM where only that can be proved, as PostgreSQL does. A name that nobody has
  // is treated as those that exist.
  [[nodiscard]] PasswordMethod conversation(PasswordMethod asked, const UserSecret& secret) const;

  // The client proved it: what the proxy may use at servers from now on, as that user and in that database (`database` is empty for
  // a user of the users file, who is the same everywhere).
  void proved(const std::string& user, const std::string& database, const UserSecretRef& secret, pool::Credentials credentials);
  // The best that is known; only the name, where nothing is.
  [[nodiscard]] pool::Credentials credentials_of(const std::string& user, const std::string& database) const;

 private:
  [[nodiscard]] std::string salt_of(std::string_view user) const;
  struct Proof {
    UserSecretRef secret;   // by which it was proved: worthless once the user has another
    pool::Credentials credentials;
  };

  const std::string mock_key_;
  mutable std::mutex mutex_;
  std::map<std::string, UserSecretRef, std::less<>> users_;
  std::map<std::pair<std::string, std::string>, Proof> proofs_;   // by database and user
  std::uint32_t iterations_ = 4096;   // of the SCRAM secret seen last
  bool all_scram_ = true;             // every secret of the users file is a SCRAM secret
  bool looked_up_scram_ = true;       // the one that auth_query gave last was
};

// --- judging answers; each in time that does not depend on where it is wrong ---
[[nodiscard]] bool cleartext_matches(const UserSecret& secret, const std::string& user, std::string_view password);
[[nodiscard]] bool md5_matches(const UserSecret& secret, const std::string& user, std::string_view salt, std::string_view response);

}  // namespace weir::proxy
