// Prepared statements under the names that servers know: what a server is sent for them, and its answers with the client's names.
#include <cctype>
#include <cstdlib>

#include "base/strings.hpp"
#include "proxy/proxy.hpp"
#include "proxy/session.hpp"
#include "proxy/statement_room.hpp"

namespace weir::proxy {

using router::Verb;
using Kind = router::PreparedUse::Kind;

// ---- sending ----

// True: a Parse goes out.
bool Session::ensure_used(std::size_t index) {
  const Op& op = work_->ops[index];
  bool sends = false;
  for (std::size_t i = 0; i < op.prepared->uses.size(); ++i) {
    const PreparedText::Use& use = op.prepared->uses[i];
    bool made_here = use.kind == Kind::prepare;
    for (std::size_t before = 0; before < i; ++before)
      made_here |= op.prepared->uses[before].kind == Kind::prepare && op.prepared->uses[before].interned == use.interned;
    if (!use.interned || made_here || server_->prepared.touch(use.interned->id)) continue;
    ensure_on_server(*use.interned, index, false);
    sends = true;
  }
  return sends;
}

// A Query of which names were replaced. What it names must be there when it runs, but must not take the Query with it where its Parse
// fails: it has a Sync of its own, and the Query's own error follows.
void Session::translate_prepared_query(std::size_t index) {
  const auto op = static_cast<std::uint32_t>(index);
  if (const bool sends = ensure_used(index); sends) {
    wire::write_sync(work_->to_server);
    work_->expected.push({Expect::own_sync, true, op});
  }
  server_->unnamed_statement = 0;
  wire::write_query(work_->to_server, work_->ops[index].prepared->sql);
  work_->expected.push({Expect::query, false, op});
}

// PREPARE: a Parse, whose ParseComplete the client is told as CommandComplete.
void Session::translate_prepare(std::size_t index) {
  Op& op = work_->ops[index];
  const auto at = static_cast<std::uint32_t>(index);
  if (server_->prepared.touch(op.interned->id)) {
    op.local = 'C';
    work_->expected.push({Expect::local, false, at});
  } else {
    ensure_on_server(*op.interned, index, true);
  }
  if (op.type == 'Q') sync_for_query(at);
}

void Session::ensure_on_server(const InternedStatement& statement, std::size_t index, bool asked) {
  if (server_->prepared.touch(statement.id)) {
    database_->stats->prepared_hits.add();
    return;
  }
  evict_prepared(statement.bytes());
  database_->stats->server_parses.add();
  wire::write_parse(work_->to_server, server_statement_name(statement.id), statement.sql(), statement.types);
  work_->expected.push({Expect::parse, !asked, static_cast<std::uint32_t>(index), statement.id});
  server_->prepared.add(statement.id, statement.bytes());
}

// Makes room for `bytes` more, and closes what is of no use any more.
void Session::evict_prepared(std::size_t bytes) {
  for (const std::uint64_t id : make_room(server_->prepared, worker_.topology()->settings->pool, bytes)) {
    wire::write_named(work_->to_server, 'C', 'S', server_statement_name(id));
    work_->expected.push({Expect::close, true, kNoOp, id});
  }
}

// ---- replies ----

// One of several statements in a string is done.
void Session::on_prepared_complete(const Op& op) {
  const std::uint32_t done = completed_;
  for (const PreparedText::Use& use : op.prepared->uses) {
    if (use.statement != done) continue;
    if (use.kind == Kind::prepare) {
      names_.add(use.name, {use.prepared, use.interned});
      server_->prepared.add(use.interned->id, use.interned->bytes());
    } else if (use.kind == Kind::deallocate && use.interned) {
      names_.remove(use.name);
      server_->prepared.remove(use.interned->id);
    } else if (use.kind == Kind::deallocate_all) {
      names_.clear();
      server_->prepared.clear();
    }
  }
}

void Session::write_local_reply(const Op& op) {
  const std::string_view nothing{};
  switch (op.local) {
    case kOwnSetting:
    case kOwnPortal:
    case kOwnBinaryPortal: return write_own_setting(op, work_->own);
    case 'C':
      return wire::write_command_complete(work_->own, op.plan->verb == Verb::prepare      ? "PREPARE"
                                                : op.plan->verb == Verb::deallocate ? "DEALLOCATE"
                                                                                    : "DEALLOCATE ALL");
    case 't':
      wire::write_message(work_->own, 't', std::string_view("\0\0", 2));
      return wire::write_message(work_->own, 'n', nothing);
    case 0: return wire::write_message(work_->own, op.type == 'P' ? '1' : '3', nothing);
    default: return wire::write_message(work_->own, op.local, nothing);
  }
}

// ---- errors ----

namespace {

std::size_t client_position(const std::vector<PreparedText::Edit>& edits, std::size_t sent) {
  auto position = static_cast<std::ptrdiff_t>(sent);
  for (const auto& edit : edits) {
    if (sent <= edit.at) break;
    position += sent <= edit.at + edit.size ? static_cast<std::ptrdiff_t>(edit.at + 1) - static_cast<std::ptrdiff_t>(sent) : edit.shift;
  }
  return static_cast<std::size_t>(std::max<std::ptrdiff_t>(position, 1));
}

}  // namespace

std::string Session::with_client_names(std::string_view text, const Op* op) const {
  constexpr std::string_view kPrefix = "weir_";
  std::string out;
  for (std::size_t at = text.find(kPrefix); at != std::string_view::npos; at = text.find(kPrefix)) {
    std::size_t end = at + kPrefix.size();
    while (end < text.size() && std::isxdigit(static_cast<unsigned char>(text[end])) != 0) ++end;
    const std::uint64_t id = std::strtoull(std::string(text.substr(at + kPrefix.size(), end - at - kPrefix.size())).c_str(), nullptr, 16);
    std::string_view name = names_.name_of(id);
    const bool own = op && op->interned && op->interned->id == id && (!op->name.empty() || (op->type == 'B' && op->prepared));
    if (own) name = op->name;
    if (op && op->prepared)
      for (const PreparedText::Use& use : op->prepared->uses)
        if (use.interned && use.interned->id == id) name = use.name;
    out += concat(text.substr(0, at), name.empty() && !own ? text.substr(at, end - at) : name);
    text.remove_prefix(end);
  }
  return out += text;
}

// An error that names what the client does not know, or a place in a text that it did not send. False: it is to be passed on as it is.
bool Session::translate_error(const wire::Message& error, const Op* op) {
  const std::string_view body(reinterpret_cast<const char*>(error.body.data()), error.body.size());
  const auto* edits = op && op->prepared ? &op->prepared->edits : op && op->filled ? &op->filled->edits : nullptr;
  const bool moved = edits && !edits->empty();
  if (!moved && body.find("weir_") == std::string_view::npos) return false;
  std::string out;
  for_each_error_field(error.body, [&](char code, std::string_view value) {
    std::string text(value);
    if (code == 'M' || code == 'D' || code == 'H') text = with_client_names(value, op);
    if (code == 'P' && moved) {
      if (!server_encoding_) return;   // its characters are not those that are counted here
      text = std::to_string(client_position(*edits, std::strtoul(text.c_str(), nullptr, 10)));
    }
    out += code;
    out += text;
    out += '\0';
  });
  out += '\0';
  wire::write_message(work_->own, 'E', out);
  return true;
}

// A plan that DDL made invalid, of a statement that was kept or shared by the proxy: the client need not know, if it was told nothing yet
// and nothing it ran can stand.
bool Session::will_run_again(const wire::Message& error) const {
  constexpr unsigned kMost = 3;
  if (transaction_ != Transaction::none || in_sequence_ || mid_sequence_ || answered_ || copy_in_ || runs_again_ >= kMost) return false;
  const Expected* owed = work_->expected.first_owed();
  return owed && owed->op < work_->ops.size() && !own_running_ && is_stale_plan(error.body);
}

// The server's copies are closed, and parsed again when they are next needed.
void Session::forget_stale(const Op& op) {
  if (op.interned) server_->prepared.spoil(op.interned->id);
  if (!op.prepared) return;
  for (const PreparedText::Use& use : op.prepared->uses)
    if (use.interned) server_->prepared.spoil(use.interned->id);
}

// What the server has, where it skipped the message that would have caused this reply.
void Session::undo_on_server(const Expected& e) {
  if (e.kind == Expect::close && e.statement != 0) server_->prepared.spoil(e.statement);
  if (e.kind != Expect::parse) return;
  if (e.statement != 0)
    server_->prepared.remove(e.statement);
  else
    server_->unnamed_statement = 0;
}

bool Session::own_sync_follows() const {
  const Expected* sync = work_->expected.next_sync();
  return sync && sync->kind == Expect::own_sync;
}

// The values of a row of the proxy's own statement.
void Session::read_own_row(const wire::Message& row) {
  own_row_->clear();
  const ByteView body = row.body;
  std::size_t at = 2;
  while (at + 4 <= body.size()) {
    const std::size_t size = wire::load32(body.data() + at);
    at += 4;
    if (size > body.size() - at) return;   // NULL, or no row
    own_row_->emplace_back(reinterpret_cast<const char*>(body.data() + at), size);
    at += size;
  }
}

}  // namespace weir::proxy
