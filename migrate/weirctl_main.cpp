// weirctl: operations on the databases behind Weir.
#include <fcntl.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <cerrno>
#include <csignal>
#include <cstring>
#include <filesystem>
#include <functional>
#include <iostream>

#include "migrate/audit.hpp"
#include "migrate/import_pgbouncer.hpp"
#include "migrate/init.hpp"
#include "migrate/move_buckets.hpp"
#include "migrate/partitions.hpp"
#include "migrate/route.hpp"
#include "migrate/session.hpp"
#include "migrate/status.hpp"

namespace {

using weir::config::Database;
using weir::config::Settings;

struct Common {
  std::string file = "weir.toml";
  std::string database;
};

// A command returns weirctl's exit status.
using Command = std::function<int()>;

CLI::App* add_command(CLI::App& parent, const std::string& name, const std::string& help, Common& common) {
  CLI::App* command = parent.add_subcommand(name, help);
  command->add_option("-c,--config", common.file, "the configuration file")->capture_default_str();
  command->add_option("-d,--database", common.database,
                      "one database of it (default: all; for one-database commands: the only one)");
  return command;
}

bool for_each_database(const Common& common, const std::function<bool(const Database&)>& action) {
  const Settings settings = weir::migrate::load_settings(common.file);
  bool good = true;
  for (const Database* database : weir::migrate::databases_of(settings, common.database))
    good = action(*database) && good;
  return good;
}

void add_init(CLI::App& app, Common& common, Command& chosen) {
  CLI::App* command =
      add_command(app, "init", "create schema weir and the identity row on every shard (idempotent)", common);
  auto options = std::make_shared<weir::migrate::InitOptions>();
  command->add_flag("--plan", options->plan_only, "print the statements, change nothing");
  command->add_flag("--raise-map-version", options->raise_map_version,
                    "the rows of moved buckets are in their new places: take weir.toml's newer map version");
  command->callback([&common, &chosen, options] {
    chosen = [&common, options] {
      for_each_database(common, [&](const Database& database) {
        weir::migrate::init(database, *options, std::cout);
        return true;
      });
      return 0;
    };
  });
}

void add_route(CLI::App& app, Common& common, Command& chosen) {
  CLI::App* command = add_command(app, "route", "print where a statement would go, and why", common);
  auto request = std::make_shared<weir::migrate::RouteRequest>();
  command->add_option("sql", request->sql, "the statement")->required();
  command->add_option("--param", request->parameters, "values of $1, $2, ...");
  command->add_option("--search-path", request->search_path, "the session's search_path");
  command->add_flag("--connect", request->connect, "load columns, types and functions from the home shard");
  command->callback([&common, &chosen, request] {
    chosen = [&common, request] {
      const Settings settings = weir::migrate::load_settings(common.file);
      return weir::migrate::route(weir::migrate::one_database(settings, common.database), *request, std::cout) ? 0 : 1;
    };
  });
}

struct AuditCommand {
  weir::migrate::AuditedDatabase described;
  std::size_t top = 10;
  bool json = false;
};

constexpr int kNeedsWork = 3;  // exit status of audit

weir::migrate::AuditReport run_audit(const Common& common, const AuditCommand& command) {
  if (!command.described.conninfo.empty()) return weir::migrate::audit(weir::migrate::described_by(command.described));
  const Settings settings = weir::migrate::load_settings(common.file);
  return weir::migrate::audit(weir::migrate::one_database(settings, common.database));
}

void add_audit(CLI::App& app, Common& common, Command& chosen) {
  CLI::App* command = add_command(
      app, "audit", "what sharding would do to an existing database: its statements, its schema (exit status 3 if something needs work)", common);
  auto options = std::make_shared<AuditCommand>();
  weir::migrate::AuditedDatabase& described = options->described;
  auto* connect = command->add_option("--connect", described.conninfo, "the database, where there is no configuration file yet");
  command->add_option("--table", described.tables, "table=key, once for each sharded table")->needs(connect);
  command->add_option("--reference", described.references, "a reference table")->needs(connect);
  command->add_option("--buckets", described.buckets, "how many buckets there would be")->needs(connect)->capture_default_str();
  command->add_option("--shards", described.shards, "on how many shards")->needs(connect)->capture_default_str();
  command->add_option("--top", options->top, "how many statements of a class are shown")->capture_default_str();
  command->add_flag("--json", options->json, "everything, as one JSON object");
  command->callback([&common, &chosen, options] {
    chosen = [&common, options] {
      const weir::migrate::AuditReport report = run_audit(common, *options);
      if (options->json)
        weir::migrate::print_json(report, std::cout);
      else
        weir::migrate::print_text(report, options->top, std::cout);
      return report.needs_work() ? kNeedsWork : 0;
    };
  });
}

std::optional<weir::schema::Month> parse_month(const std::string& text) {
  int year = 0;
  unsigned month = 0;
  char rest = 0;
  if (text.empty()) return std::nullopt;
  if (std::sscanf(text.c_str(), "%4d-%2u%c", &year, &month, &rest) == 2 && month >= 1 && month <= 12)
    return weir::schema::Month(year, month);
  throw weir::migrate::Failure("--month " + text + ": expected YYYY-MM");
}

void add_partitions(CLI::App& app, Common& common, Command& chosen) {
  CLI::App* parent = app.add_subcommand("partitions", "monthly partitions, made ahead of time on every shard");
  parent->require_subcommand(1);
  for (const bool apply : {false, true}) {
    CLI::App* command =
        apply ? add_command(*parent, "apply", "make what is missing", common)
              : add_command(*parent, "plan", "print what is missing (exit status 1 if something is)", common);
    auto month = std::make_shared<std::string>();
    command->add_option("--month", *month, "as if this were the current month (YYYY-MM)");
    command->callback([&common, &chosen, month, apply] {
      chosen = [&common, month, apply] {
        const weir::migrate::PartitionOptions options{apply, parse_month(*month)};
        return for_each_database(common,
                                 [&](const Database& d) { return weir::migrate::partitions(d, options, std::cout); })
                   ? 0
                   : 1;
      };
    });
  }
}

void add_status(CLI::App& app, Common& common, Command& chosen) {
  CLI::App* command =
      add_command(app, "status", "every backend: reachable, role, identity, map version, lag, buckets", common);
  command->callback([&common, &chosen] {
    chosen = [&common] {
      return for_each_database(common, [](const Database& d) { return weir::migrate::status(d, std::cout); }) ? 0 : 1;
    };
  });
}

void add_move_buckets(CLI::App& app, Common& common, Command& chosen) {
  CLI::App* command = add_command(app, "move-buckets",
                                  "move the rows of some buckets to another shard, with the database paused", common);
  auto options = std::make_shared<weir::migrate::MoveOptions>();
  auto recover = std::make_shared<bool>(false);
  command->add_option("--from", options->from, "the shard that holds the buckets");
  command->add_option("--to", options->to, "the shard that gets them");
  command->add_option("--buckets", options->buckets, "which: \"0-99,200\"");
  command->add_option("--admin", options->admin,
                      "console of a proxy, \"host=... port=... user=...\"; once for each proxy");
  auto patience = std::make_shared<unsigned>(60);
  command
      ->add_option("--pause-timeout", *patience, "seconds for open transactions to end, and for each console command")
      ->capture_default_str();
  command->add_flag("--no-proxy", options->no_proxy, "no proxy serves the database now");
  command->add_flag("--dry-run", options->dry_run, "show what would move, change nothing");
  command->add_flag("--recover", *recover, "finish or undo a move that was killed");
  command->callback([&common, &chosen, options, recover, patience] {
    chosen = [&common, options, recover, patience] {
      options->config_file = common.file;
      options->database = common.database;
      options->pause_patience = std::chrono::seconds(*patience);
      if (*recover) {
        weir::migrate::recover_move(*options, std::cout);
        return 0;
      }
      if (options->from.empty() || options->to.empty() || options->buckets.empty())
        throw weir::migrate::Failure("move-buckets needs --from, --to and --buckets (or --recover)", 2);
      weir::migrate::move_buckets(*options, std::cout);
      return 0;
    };
  });
}

struct ImportOptions {
  std::string ini, out;
  std::vector<std::string> databases;
  bool force = false;
};

// A file only its owner may read: it holds passwords.
void write_private(const std::filesystem::path& path, const std::string& text, bool force) {
  const int fd = ::open(path.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC | (force ? O_TRUNC : O_EXCL), 0600);
  if (fd < 0) throw weir::migrate::Failure(path.string() + ": " + std::strerror(errno) + (errno == EEXIST ? "; --force replaces it" : ""));
  const bool written = ::write(fd, text.data(), text.size()) == static_cast<ssize_t>(text.size());
  if (::close(fd) != 0 || !written) throw weir::migrate::Failure(path.string() + " cannot be written");
}

int import_ini(const ImportOptions& options) {
  const auto imported = weir::migrate::import_pgbouncer(options.ini, options.databases);
  for (const std::string& note : imported.notes) std::cerr << note << "\n";
  if (options.out.empty()) {
    std::cout << imported.weir_toml;
    std::cerr << "users.toml is written beside weir.toml when -o says where\n";
    return 0;
  }
  const std::filesystem::path users = std::filesystem::path(options.out).parent_path() / "users.toml";
  if (!options.force && std::filesystem::exists(users))
    throw weir::migrate::Failure(users.string() + ": there is one already; --force replaces it");
  write_private(options.out, imported.weir_toml, options.force);
  write_private(users, imported.users_toml, options.force);
  return 0;
}

void add_import(CLI::App& app, Command& chosen) {
  CLI::App* command = app.add_subcommand("import", "write the weir.toml and users.toml for a pgbouncer.ini");
  auto options = std::make_shared<ImportOptions>();
  command->add_option("ini", options->ini, "PgBouncer's configuration file")->required();
  command->add_option("-o,--output", options->out, "the weir.toml to write (default: standard output); users.toml comes beside it");
  command->add_option("--database", options->databases, "a database that the fallback \"*\" stands for, to give it an entry of its own in the place of \"*\"; once for each");
  command->add_flag("--force", options->force, "replace files that are there");
  command->callback([&chosen, options] { chosen = [options] { return import_ini(*options); }; });
}

int run(const Command& command) {
  try {
    return command();
  } catch (const weir::migrate::Failure& e) {
    std::cout.flush();
    std::cerr << "weirctl: " << e.what() << "\n";
    return e.status();
  } catch (const std::exception& e) {
    std::cout.flush();
    std::cerr << "weirctl: " << e.what() << "\n";
    return 1;
  }
}

}  // namespace

int main(int argc, char** argv) {
  std::signal(SIGPIPE, SIG_IGN);  // a lost backend is an error message, not the end of the process
  CLI::App app{"weirctl: operations on the databases behind Weir"};
  app.require_subcommand(1);
  Common common;
  Command chosen;
  add_init(app, common, chosen);
  add_route(app, common, chosen);
  add_audit(app, common, chosen);
  add_partitions(app, common, chosen);
  add_status(app, common, chosen);
  add_move_buckets(app, common, chosen);
  add_import(app, chosen);
  CLI11_PARSE(app, argc, argv);
  return run(chosen);
}
