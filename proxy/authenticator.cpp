#include "proxy/authenticator.hpp"

#include <algorithm>

#include "base/bytes.hpp"
#include "config/scram_secret.hpp"
#include "wire/md5.hpp"
#include "wire/scram_crypto.hpp"

namespace weir::proxy {

namespace {

constexpr std::size_t kSaltSize = 16;

bool does_scram(const config::Settings& settings) {
  using config::AuthMethod;
  const AuthMethod method = settings.auth.method;
  return method == AuthMethod::scram_sha_256 || (method == AuthMethod::hba && settings.hba.has(config::HbaMethod::scram_sha_256));
}

pool::Credentials named(const std::string& user) {
  pool::Credentials credentials;
  credentials.user = user;
  return credentials;
}

}  // namespace

Authenticator::Authenticator() : mock_key_(wire::random_bytes(16)) {}

// The salt of a plain password is made like that of a mock: neither tells whether the user exists.
std::string Authenticator::salt_of(std::string_view user) const {
  return std::string(as_text(wire::hmac_sha256(mock_key_, user)).substr(0, kSaltSize));
}

UserSecretRef Authenticator::mock(const std::string& user) const {
  auto secret = std::make_shared<UserSecret>();
  secret->scram = wire::ScramSecret::mock(user, mock_key_);
  std::lock_guard lock(mutex_);
  secret->scram.iterations = iterations_;
  return secret;
}

void Authenticator::set_users(const config::Settings& settings) {
  decltype(users_) before;
  {
    std::lock_guard lock(mutex_);
    before = users_;
  }
  decltype(users_) after;
  std::uint32_t iterations = 0;
  bool all_scram = true;
  const bool scram_is_done = does_scram(settings);
  for (const config::User& user : settings.users) {
    const config::SecretKind kind = config::secret_kind(user.password);
    all_scram &= kind == config::SecretKind::scram || user.name == settings.auth.query_user;
    if (user.password.empty()) {
      after.emplace(user.name, mock(user.name));
      continue;
    }
    const auto old = before.find(user.name);
    const bool derived = old != before.end() && (kind != config::SecretKind::plain || !scram_is_done || !old->second->scram.salt.empty());
    if (derived && old->second->text == user.password) {
      after.emplace(user.name, old->second);
      continue;
    }
    auto secret = std::make_shared<UserSecret>();
    secret->text = user.password;
    secret->kind = kind == config::SecretKind::md5 ? UserSecret::Kind::md5 : kind == config::SecretKind::scram ? UserSecret::Kind::scram : UserSecret::Kind::plain;
    if (kind == config::SecretKind::md5) secret->scram = wire::ScramSecret::mock(user.name, mock_key_);
    if (kind == config::SecretKind::plain && scram_is_done) secret->scram = wire::ScramSecret::derive(user.password, salt_of(user.name), 4096);
    if (kind == config::SecretKind::scram) {
      if (auto parsed = wire::ScramSecret::parse(user.password)) secret->scram = std::move(*parsed);   // config::load has checked it
      iterations = secret->scram.iterations;
    }
    after.emplace(user.name, std::move(secret));
  }
  std::lock_guard lock(mutex_);
  users_ = std::move(after);
  if (iterations != 0) iterations_ = iterations;
  all_scram_ = all_scram;
}

UserSecretRef Authenticator::find(const std::string& user) const {
  std::lock_guard lock(mutex_);
  const auto it = users_.find(user);
  return it == users_.end() ? nullptr : it->second;
}

Result<UserSecretRef> Authenticator::secret_of(const std::string& user, const std::string& stored) {
  auto secret = std::make_shared<UserSecret>();
  secret->text = stored;
  switch (config::secret_kind(stored)) {
    case config::SecretKind::md5:
      secret->kind = UserSecret::Kind::md5;
      secret->scram = wire::ScramSecret::mock(user, mock_key_);
      break;
    case config::SecretKind::scram: {
      auto parsed = wire::ScramSecret::parse(stored);
      if (!parsed) return parsed.take_error();
      secret->kind = UserSecret::Kind::scram;
      secret->scram = std::move(*parsed);
      break;
    }
    case config::SecretKind::plain:
      secret->kind = UserSecret::Kind::plain;
      secret->scram = wire::ScramSecret::derive(stored, salt_of(user), 4096);
      break;
  }
  std::lock_guard lock(mutex_);
  looked_up_scram_ = secret->kind == UserSecret::Kind::scram;
  if (looked_up_scram_) iterations_ = secret->scram.iterations;
  return UserSecretRef(std::move(secret));
}

PasswordMethod Authenticator::conversation(PasswordMethod asked, const UserSecret& secret) const {
  if (asked != PasswordMethod::md5) return asked;
  if (secret.kind == UserSecret::Kind::scram) return PasswordMethod::scram_sha_256;
  if (secret.kind != UserSecret::Kind::unknown) return PasswordMethod::md5;
  std::lock_guard lock(mutex_);
  return all_scram_ && looked_up_scram_ ? PasswordMethod::scram_sha_256 : PasswordMethod::md5;
}

void Authenticator::proved(const std::string& user, const std::string& database, const UserSecretRef& secret, pool::Credentials credentials) {
  std::lock_guard lock(mutex_);
  proofs_[{database, user}] = {secret, std::move(credentials)};
}

pool::Credentials Authenticator::credentials_of(const std::string& user, const std::string& database) const {
  std::lock_guard lock(mutex_);
  const auto known = users_.find(user);
  const auto proof = proofs_.find({known == users_.end() ? database : std::string(), user});
  pool::Credentials out = named(user);
  if (known == users_.end()) return proof == proofs_.end() ? out : proof->second.credentials;
  const UserSecret& secret = *known->second;
  if (secret.kind == UserSecret::Kind::plain) out.password = secret.text;
  if (proof != proofs_.end() && proof->second.secret->text == secret.text) return proof->second.credentials;
  if (secret.kind == UserSecret::Kind::md5) out.md5_secret = secret.text;
  return out;
}

bool cleartext_matches(const UserSecret& secret, const std::string& user, std::string_view password) {
  switch (secret.kind) {
    case UserSecret::Kind::plain: return wire::equal_secrets(secret.text, password);
    case UserSecret::Kind::md5: {
      const auto given = wire::md5_secret(password, user);
      return given && wire::equal_secrets(secret.text, *given);
    }
    case UserSecret::Kind::scram:
    case UserSecret::Kind::unknown: break;
  }
  const auto given = wire::ScramSecret::derive(password, secret.scram.salt, secret.scram.iterations);
  return wire::equal_in_constant_time(given.stored_key, secret.scram.stored_key) && secret.kind == UserSecret::Kind::scram;
}

bool md5_matches(const UserSecret& secret, const std::string& user, std::string_view salt, std::string_view response) {
  wire::Md5Salt four{};
  if (salt.size() != four.size()) return false;
  std::copy(salt.begin(), salt.end(), four.begin());
  const bool known = secret.kind == UserSecret::Kind::plain || secret.kind == UserSecret::Kind::md5;
  const auto stored = secret.kind == UserSecret::Kind::md5 ? std::optional(secret.text) : wire::md5_secret(secret.text, user);
  const auto expected = stored ? wire::md5_response(*stored, four) : std::nullopt;
  return expected && wire::equal_secrets(*expected, response) && known;
}

}  // namespace weir::proxy
