#include "migrate/move_buckets.hpp"

#include <atomic>
#include <csignal>
#include <functional>

#include "migrate/move_stage.hpp"
#include "migrate/proxy_console.hpp"
#include "migrate/session.hpp"

namespace weir::migrate {

namespace {

std::atomic<bool> interrupted{false};
static_assert(std::atomic<bool>::is_always_lock_free, "set in a signal handler");

// While it lives, Ctrl-C and SIGTERM make the next checkpoint fail, so that the move is undone in order.
class Interrupts {
 public:
  Interrupts() : on_int_(std::signal(SIGINT, note)), on_term_(std::signal(SIGTERM, note)) { interrupted = false; }
  ~Interrupts() {
    std::signal(SIGINT, on_int_);
    std::signal(SIGTERM, on_term_);
  }
  Interrupts(const Interrupts&) = delete;
  Interrupts& operator=(const Interrupts&) = delete;

  static void checkpoint() {
    if (interrupted) throw Failure("interrupted");
  }

 private:
  static void note(int) { interrupted = true; }
  void (*on_int_)(int);
  void (*on_term_)(int);
};

// What takes back the steps done so far, the last first. A step of it that fails does not stop the others.
class Undo {
 public:
  explicit Undo(std::ostream& out) : out_(out) {}
  void push(std::string what, std::function<void()> action) { steps_.push_back({std::move(what), std::move(action)}); }
  // What was done stays done.
  void forget() {
    steps_.clear();
    forgotten_ = true;
  }
  [[nodiscard]] bool forgotten() const { return forgotten_; }
  // True if all of it worked.
  bool run() {
    bool good = true;
    for (; !steps_.empty(); steps_.pop_back()) {
      try {
        steps_.back().action();
        out_ << "undone: " << steps_.back().what << "\n";
      } catch (const std::exception& e) {
        out_ << "NOT undone: " << steps_.back().what << ": " << e.what() << "\n";
        good = false;
      }
    }
    return good;
  }

 private:
  struct Step {
    std::string what;
    std::function<void()> action;
  };
  std::ostream& out_;
  std::vector<Step> steps_;
  bool forgotten_ = false;
};

void require_consoles(const MoveOptions& options) {
  if (options.admin.empty() && !options.no_proxy)
    throw Failure(
        "name the console of every proxy with --admin \"host=... port=... user=...\", or say --no-proxy if none runs");
}

std::string recover_hint(const MoveStage& stage) {
  return "; the journal " + MoveJournal::path_for(stage.file()) +
         " stays: run weirctl move-buckets --recover with the same -c and --admin";
}

// Steps 3 to 7, until the proxies have the new map. Every step pushes what takes it back before it is done.
void switch_over(MoveStage& stage, ProxyConsoles& proxies, Undo& undo, std::ostream& out) {
  const std::string database = stage.database().name;
  const auto old_version = stage.journal().old_version;
  const auto new_version = stage.journal().new_version;

  undo.push("RESUME", [&proxies, database] { proxies.resume(database); });
  proxies.pause(database);
  if (!proxies.empty()) out << "paused " << database << "\n";
  undo.push("unlock the source", [&stage] { stage.unlock_source(); });
  stage.lock_source();
  stage.lock_empty_target();
  undo.push("remove the copies from the target", [&stage] { stage.clear_target(); });
  stage.copy(Interrupts::checkpoint);
  undo.push("RELOAD of the old configuration", [&proxies] { proxies.reload(); });
  undo.push("identity rows", [&stage, old_version, new_version] { stage.set_map_version(new_version, old_version); });
  stage.write_new_configuration();
  stage.set_map_version(old_version, new_version);
  Interrupts::checkpoint();
  undo.push("configuration file", [&stage] { stage.restore_configuration(); });
  stage.install_configuration();
  try {
    proxies.reload();
  } catch (const Failure&) {
    if (proxies.reloaded() != 0) undo.forget();  // a proxy never goes back to an older map: from here on only forward
    throw;
  }
}

// Steps 7 to 9: only forward.
void finish(MoveStage& stage, ProxyConsoles& proxies, const MoveJournal& journal, std::ostream& out) {
  try {
    stage.unlock_source();
    proxies.resume(stage.database().name);
    if (!proxies.empty()) out << "reloaded and resumed " << stage.database().name << "\n";
    stage.delete_moved(journal, Interrupts::checkpoint);
    MoveJournal::remove(stage.file());
  } catch (const std::exception& e) {
    throw Failure(std::string("the buckets have moved, but: ") + e.what() + recover_hint(stage));
  }
  out << "done\n";
}

void refuse(const MoveStage& stage) {
  std::string message = "the move is refused:";
  for (const auto& refusal : stage.scope().refusals) message += "\n  " + refusal;
  throw Failure(message);
}

}  // namespace

void move_buckets(const MoveOptions& options, std::ostream& out) {
  if (!options.dry_run) require_consoles(options);
  const Interrupts interrupts;
  MoveStage stage(options, options.database, options.from, options.to, options.buckets, out);
  if (MoveJournal::load(stage.file())) throw Failure("an earlier move was not finished" + recover_hint(stage));
  stage.take_locks();
  stage.require_source_holds_buckets();
  stage.require_identities();
  stage.examine();
  stage.compare_partitions();
  stage.print_plan();
  stage.prepare_configuration();
  if (!stage.scope().refusals.empty()) refuse(stage);
  if (options.dry_run) {
    out << "dry run: nothing was changed\n";
    return;
  }
  ProxyConsoles proxies(options.admin, options.pause_patience);
  stage.make_months();
  stage.journal().save(stage.file());
  Undo undo(out);
  try {
    switch_over(stage, proxies, undo, out);
  } catch (const std::exception& e) {
    const std::string why = e.what();
    if (undo.forgotten())
      throw Failure(why + "; another proxy has the new map already, and the database stays paused" +
                    recover_hint(stage));
    if (!undo.run()) throw Failure(why + "; it could not be undone completely" + recover_hint(stage));
    MoveJournal::remove(stage.file());
    throw Failure(why + "; everything was undone, the old map serves");
  }
  finish(stage, proxies, stage.journal(), out);
}

void recover_move(const MoveOptions& options, std::ostream& out) {
  require_consoles(options);
  const std::string file = load_settings(options.config_file).file;
  const auto journal = MoveJournal::load(file);
  if (!journal) {
    out << "no move was interrupted: there is no " << MoveJournal::path_for(file) << "\n";
    return;
  }
  const Interrupts interrupts;
  MoveStage stage(options, journal->database, journal->from, journal->to, journal->buckets, out);
  stage.take_locks();
  const bool decided = stage.database().sharding->map_version == journal->new_version;
  stage.examine();
  ProxyConsoles proxies(options.admin, options.pause_patience);
  if (decided) {
    out << "the new map is in " << file << ": going forward\n";
    stage.set_map_version(journal->old_version, journal->new_version);
    proxies.reload();
    finish(stage, proxies, *journal, out);
    return;
  }
  out << "the old map is in " << file << ": going back\n";
  stage.set_map_version(journal->new_version, journal->old_version);
  if (journal->copying) stage.clear_target();
  proxies.reload();
  proxies.resume(journal->database);
  MoveJournal::remove(file);
  out << "done: the old map serves\n";
}

}  // namespace weir::migrate
