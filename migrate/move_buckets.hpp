// weirctl move-buckets: rows of some buckets from one shard to another, with the database paused at the proxy.
//
// The order, made so that a kill at any point loses nothing and can be finished or undone with --recover:
//
//    what                                                            killed after it, --recover ...
//  1 examine both shards; months missing on the target are made      (no journal yet: nothing to do)
//  2 journal beside weir.toml: <weir.toml>.move                      removes the journal
//  3 PAUSE on every proxy; lock the source's tables against writers  RESUME
//  4 copy in one snapshot, compare counts and checksums, commit      deletes the copies on the target, RESUME
//  5 new weir.toml beside the old, backup; raise every identity row  lowers the identity rows, then as 4
//  6 the new weir.toml takes the old one's place: the decision       goes forward: identity rows, RELOAD, RESUME, 8
//  7 RELOAD on every proxy, unlock the source, RESUME                goes forward
//  8 compare the source with what was copied, delete it there        deletes the rest
//  9 remove the journal; the backup stays
//
// A step that fails before a proxy has the new map is undone at once, in the reverse order: the old state serves again.
// (Of several proxies the second may refuse what the first took; then the database stays paused until --recover goes
// forward.) Between 5 and 7 a proxy or service with the other weir.toml is refused by the identity check, so no two
// maps are served at once. Connections that go around Weir are held off by the lock of step 3, but know nothing of the
// new map: stop services on weir::client first.
#pragma once

#include <chrono>
#include <ostream>
#include <string>
#include <vector>

#include "base/deadline.hpp"

namespace weir::migrate {

struct MoveOptions {
  std::string config_file;
  std::string database;            // empty: the only one
  std::string from, to, buckets;   // "0-99,200"
  std::vector<std::string> admin;  // consoles of all proxies that serve the database
  bool no_proxy = false;           // the user says none is running
  bool dry_run = false;
  Duration pause_patience = std::chrono::minutes(1);  // for open transactions to end, and for each console command
  Duration lock_timeout = std::chrono::seconds(10);   // for writers that go around the proxy
};

// Throws Failure when it refuses, or failed and was undone (the message says so), or has to be finished with
// recover_move().
void move_buckets(const MoveOptions& options, std::ostream& out);

// Finishes or undoes a move that was killed, by its journal. Without one it only says so.
void recover_move(const MoveOptions& options, std::ostream& out);

}  // namespace weir::migrate
