// The console's commands: PAUSE, RESUME, DISABLE, ENABLE, RECONNECT, KILL, KILL_CLIENT, SUSPEND, WAIT_CLOSE, SET, RELOAD, SHUTDOWN.
// https://www.pgbouncer.org/usage.html#process-controlling-commands
#include <charconv>
#include <thread>

#include "base/strings.hpp"
#include "config/load.hpp"
#include "proxy/console.hpp"
#include "proxy/proxy.hpp"

namespace weir::proxy {

namespace {

constexpr Duration kWaitLimit = std::chrono::hours(1);

Error needs_database(std::string_view verb) {
  return {sqlstate::kSyntaxError, concat(verb, " needs the name of a database"), "SHOW DATABASES lists them."};
}

}  // namespace

bool Console::change(const ConsoleCommand& command) {
  const std::string& verb = command.verb;
  const std::string argument = command.arguments.empty() ? "" : command.arguments.front();
  if (verb == "pause") return pause(argument);
  if (verb == "resume") return done(proxy_.resume(argument), "RESUME");
  if (verb == "suspend") {
    proxy_.suspend();
    return done({}, "SUSPEND");
  }
  if (verb == "reconnect") return done(proxy_.reconnect(argument), "RECONNECT");
  if (verb == "wait_close") return wait_close(argument);
  if (verb == "disable" || verb == "enable") {
    const std::string_view tag = verb == "disable" ? "DISABLE" : "ENABLE";
    if (argument.empty()) return fail(needs_database(tag));
    return done(proxy_.set_disabled(argument, verb == "disable"), tag);
  }
  if (verb == "kill") return done(proxy_.kill(argument), "KILL");
  if (verb == "kill_client") {
    std::uint64_t id = 0;
    const auto [rest, error] = std::from_chars(argument.data(), argument.data() + argument.size(), id);
    if (error != std::errc{} || rest != argument.data() + argument.size())
      return fail({sqlstate::kSyntaxError, "KILL_CLIENT needs a number", "It is the last column (id) of SHOW CLIENTS."});
    return done(proxy_.kill_client(id), "KILL_CLIENT");
  }
  if (verb == "reload") return reload();
  if (verb == "set") return set(command);
  if (verb == "shutdown") return shut_down(command);
  return fail({sqlstate::kSyntaxError, concat("unknown command ", verb), "SHOW HELP lists the commands."});
}

bool Console::pause(const std::string& database) {
  auto paused = proxy_.pause(database, Deadline::after(Clock::now(), kWaitLimit));
  if (!paused) return fail(paused.error());
  if (!*paused)
    return fail({sqlstate::kQueryCanceled, "PAUSE was ended before all servers were idle", "RESUME, and look for long transactions in SHOW CLIENTS."});
  return done({}, "PAUSE");
}

// Until no server connection of before the last RECONNECT is left.
bool Console::wait_close(const std::string& database) {
  if (!database.empty() && proxy_.topology()->find(database) == nullptr)
    return fail({sqlstate::kInvalidDatabase, concat("database \"", database, "\" does not exist")});
  const Deadline limit = Deadline::after(Clock::now(), kWaitLimit);
  for (;;) {
    unsigned left = 0;
    for (const auto& pool : proxy_.pools().all())
      if (database.empty() || pool->backend().id().database == database) left += pool->counts(Clock::now()).close_needed;
    if (left == 0) return done({}, "WAIT_CLOSE");
    if (limit.passed(Clock::now()) || proxy_.stopping())
      return fail({sqlstate::kQueryCanceled, concat(std::to_string(left), " server connections are still to be closed"), "Look for long transactions in SHOW CLIENTS."});
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  }
}

// SET key = value, SET key TO value.
bool Console::set(const ConsoleCommand& command) {
  const auto& words = command.arguments;
  if (words.size() != 3 || (words[1] != "=" && ascii_lower(words[1]) != "to"))
    return fail({sqlstate::kSyntaxError, "SET is written SET key = value", "SHOW CONFIG lists the keys; put quotes around a value with blanks."});
  if (auto set = proxy_.set(words[0], words[2]); !set) return fail(set.error());
  return done({}, "SET");
}

bool Console::reload() {
  const Proxy::ReloadOutcome outcome = proxy_.reload();
  if (outcome.ok) {
    for (const std::string& line : outcome.lines) wire::write_notice(out_, wire::Severity::warning, {sqlstate::kConfigFile, line});
    return done({}, "RELOAD");
  }
  Error error(sqlstate::kConfigFile, "the configuration was not reloaded: the old one serves on", "weir check names all mistakes.");
  for (const std::string& line : outcome.lines) error.detail += line + "\n";
  return fail(error);
}

bool Console::shut_down(const ConsoleCommand& command) {
  const std::string how = command.arguments.empty() ? "" : ascii_lower(command.arguments.front());
  if (how.empty()) proxy_.ask_shutdown(Shutdown::at_once);
  else if (how == "wait_for_servers") proxy_.ask_shutdown(Shutdown::wait_for_servers);
  else if (how == "wait_for_clients") proxy_.ask_shutdown(Shutdown::wait_for_clients);
  else return fail({sqlstate::kSyntaxError, concat("SHUTDOWN ", how, " is not known"), "SHUTDOWN, SHUTDOWN WAIT_FOR_SERVERS or SHUTDOWN WAIT_FOR_CLIENTS."});
  return done({}, "SHUTDOWN");
}

}  // namespace weir::proxy
