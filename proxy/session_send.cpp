// From the client's batch to what the server is sent: unchanged where possible, else statements renamed, missing ones parsed first,
// and a failing place filled with an error of the server's own.
#include "base/strings.hpp"
#include "proxy/proxy.hpp"
#include "proxy/session.hpp"

namespace weir::proxy {

using router::Verb;

// Can the client's bytes go out as they are? (Renaming, injected Parses and the like are known only now.)
bool Session::raw_now() const { return raw_ && !work_->decision.error; }

void Session::translate(BatchEnd end) {
  if (!mid_sequence_) sent_at_ = worker_.loop().now();
  if (!was_held()) transaction_sent_at_ = sent_at_;
  forwarded_ = 0;
  if (!mid_sequence_) error_seen_ = false;   // an error before a Flush rolls back at the Sync
  answered_ = again_ = false;
  completed_ = 0;
  swallowed_error_.reset();
  poison_error_.reset();
  in_sequence_ = mid_sequence_;
  sequence_wrote_ = (in_sequence_ && sequence_wrote_) || work_->decision.writes;
  copy_syncs_ = 0;
  if (work_->decision.runs) {
    note_effects();
    if (work_->decision.writes) mark_writes();
  }
  if (needs_preparing() && !was_held()) send_settings();
  if (transaction_ == Transaction::held && !aside_) send_held_begin();
  if (work_->decision.check_only) return translate_check_only(end);
  const std::size_t last = work_->decision.error ? work_->decision.error_at : work_->ops.size();
  const bool raw = raw_now() && may_stay_raw();
  sending_raw_ = raw;
  for (std::size_t i = 0; i < last; ++i) translate_op(i, input_.subspan(work_->ops[i].offset, work_->ops[i].size));
  if (work_->decision.error) poison(*work_->decision.error, work_->decision.error_at);
  if (work_->decision.error && (end == BatchEnd::sync || end == BatchEnd::flush)) {
    const std::size_t tail = work_->ops.size() - 1;
    if (work_->ops[tail].type == 'S' || work_->ops[tail].type == 'H') translate_op(tail, input_.subspan(work_->ops[tail].offset, work_->ops[tail].size));
  }
  if (work_->decision.error && end == BatchEnd::query && work_->decision.error_at + 1 == work_->ops.size()) {
    sync_for_query(static_cast<std::uint32_t>(work_->decision.error_at));
  }
  mid_sequence_ = end == BatchEnd::flush && !flushes_apart();
  if (raw) send_to_server(input_.first(scanned_));
  if (flushes_apart()) {
    wire::write_sync(work_->to_server);
    work_->expected.push({cut_apart_ ? Expect::sync : Expect::own_sync, true, kNoOp});
  }
  flush_server();
  if (flush_after_) send_to_server(kFlush);
}

// What the proxy answers to a Query, or fails, is followed by a ReadyForQuery of the server's.
void Session::sync_for_query(std::uint32_t op) {
  wire::write_sync(work_->to_server);
  work_->expected.push({Expect::sync, false, op});
}

// An unnamed Bind may need its Parse first, on a server that does not have it.
bool Session::may_stay_raw() const {
  if (!had_unnamed_ || server_->unnamed_statement == unnamed_before().id) return true;
  for (const Op& op : work_->ops) {
    if (op.type == 'P') return true;   // it comes along
    if (op.type == 'B' || op.type == 'D') return false;
  }
  return true;
}

void Session::pass_on(ByteView message) {
  if (!sending_raw_) work_->to_server.append(message);
}

void Session::translate_op(std::size_t index, ByteView message) {
  const auto op = static_cast<std::uint32_t>(index);
  if (work_->ops[index].local != 0) {
    work_->expected.push({Expect::local, false, op});
    return message[0] == 'Q' ? sync_for_query(op) : void();
  }
  const bool prepares = work_->ops[index].plan && work_->ops[index].plan->verb == Verb::prepare;
  switch (message[0]) {
    case 'Q':
      if (prepares) return translate_prepare(index);
      if (work_->ops[index].prepared) return translate_prepared_query(index);
      server_->unnamed_statement = 0;
      work_->expected.push({Expect::query, false, op});
      return pass_on(message);
    case 'P': return translate_parse(index, message);
    case 'B': return translate_bind(index, message);
    case 'D':
    case 'C': return translate_named(index, message);
    case 'E':
      if (prepares) return translate_prepare(index);
      if (work_->ops[index].prepared) ensure_used(index);
      work_->expected.push({Expect::execute, false, op});
      return pass_on(message);
    case 'F':
      work_->expected.push({Expect::function_call, false, op});
      return pass_on(message);
    case 'S':
      work_->expected.push({Expect::sync, false, op});
      return pass_on(message);
    default: return pass_on(message);   // Flush owes nothing
  }
}

void Session::translate_parse(std::size_t index, ByteView message) {
  const Op& op = work_->ops[index];
  const auto at = static_cast<std::uint32_t>(index);
  if (!op.statement) {
    server_->unnamed_statement = unnamed().id;
    work_->expected.push({Expect::parse, false, at});
    return op.filled ? wire::write_parse(work_->to_server, "", op.filled->sql, op.filled->types) : pass_on(message);
  }
  if (server_->prepared.touch(op.interned->id)) {
    database_->stats->prepared_hits.add();
    work_->expected.push({Expect::local, false, at});
    return;
  }
  ensure_on_server(*op.interned, index, true);
}

void Session::ensure_unnamed() {
  if (server_->unnamed_statement == unnamed().id) return;
  const PreparedStatement& meant = unnamed_before();   // the batch's own Parse would have made it the server's
  if (server_->unnamed_statement == meant.id) return;
  wire::write_parse(work_->to_server, "", meant.sql, meant.types);
  work_->expected.push({Expect::parse, true, kNoOp});
  server_->unnamed_statement = meant.id;
}

void Session::translate_bind(std::size_t index, ByteView message) {
  const Op& op = work_->ops[index];
  if (!op.statement) {
    if (!sending_raw_) ensure_unnamed();
    work_->expected.push({Expect::bind, false, static_cast<std::uint32_t>(index)});
    return pass_on(message);
  }
  if (op.prepared) ensure_used(index);
  ensure_on_server(*op.interned, index, false);
  const auto bind = wire::read_bind(message.subspan(wire::kHeader));   // read once before: it is well-formed
  wire::write_bind_renamed(work_->to_server, *bind, server_statement_name(op.interned->id));
  work_->expected.push({Expect::bind, false, static_cast<std::uint32_t>(index)});
}

void Session::translate_named(std::size_t index, ByteView message) {
  const Op& op = work_->ops[index];
  const auto at = static_cast<std::uint32_t>(index);
  const bool describe = message[0] == 'D';
  const auto named = wire::read_named(message.subspan(wire::kHeader), "Describe");
  if (named->kind == 'S' && (!named->name.empty() || op.interned)) {
    if (!describe) {
      work_->expected.push({Expect::local, false, at});   // the server keeps it for others
      return;
    }
    if (op.prepared) ensure_used(index);
    ensure_on_server(*op.interned, index, false);
    wire::write_named(work_->to_server, 'D', 'S', server_statement_name(op.interned->id));
    work_->expected.push({Expect::describe, false, at});
    return;
  }
  if (named->kind == 'S' && describe && !sending_raw_) ensure_unnamed();
  if (named->kind == 'S' && !describe) server_->unnamed_statement = 0;
  work_->expected.push({describe ? Expect::describe : Expect::close, false, at});
  pass_on(message);
}

// BEGIN and what was said after it, now that a shard is known; they stay as the transaction's log. Their errors put the server's transaction in state E by themselves,
// and what follows is refused. A BEGIN with options may fail before there is a transaction: a plain one goes before it.
void Session::send_held_begin() {
  std::string sql;
  if (ascii_lower(work_->held.front()) != "begin") sql = "BEGIN;";
  for (const std::string& statement : work_->held) sql += concat(statement, "\n;");
  wire::write_query(work_->to_server, sql);
  work_->expected.push({Expect::query, true, 0});
  server_->unnamed_statement = 0;
}

// The server's transaction is to fail at this place with an error that the client is told as the proxy's.
void Session::poison(const Error& error, std::size_t op) {
  poison_error_ = error;
  wire::write_named(work_->to_server, 'D', 'S', kNoSuchStatement);
  work_->expected.push({Expect::poison, false, static_cast<std::uint32_t>(op)});
}

// Text that our parser rejects is never executed on a sharded database: Parse alone fetches the server's own error.
void Session::translate_check_only(BatchEnd end) {
  sending_raw_ = false;
  std::string_view sql;
  for (const Op& op : work_->ops) {
    if (!op.plan || op.plan->verb != Verb::unparsable) continue;
    const ByteView body = input_.subspan(op.offset + wire::kHeader, op.size - wire::kHeader);
    if (op.type == 'Q') sql = *wire::read_query(body);
    if (op.type == 'P') sql = wire::read_parse(body)->query;
    if (!sql.empty()) break;
  }
  wire::write_parse(work_->to_server, "", sql, {});
  server_->unnamed_statement = 0;
  poison_error_ = newer_than_parser();
  work_->expected.push({Expect::parse, false, 0});
  if (in_sequence_) poison(newer_than_parser(), 0);   // what ran before it must not be committed
  // The client gets a ReadyForQuery for a Sync or Query of its own only.
  wire::write_sync(work_->to_server);
  work_->expected.push({Expect::sync, end == BatchEnd::flush, 0});
  mid_sequence_ = false;
  if (end == BatchEnd::flush) skip_to_sync_ = true;
  flush_server();
}

bool Session::send_to_server(ByteView bytes) {
  if (work_->to_server.empty()) {
    const auto sent = server_->socket->send(bytes);
    if (!sent) {
      server_broken_ = true;
      return false;
    }
    traffic_->sent.add(*sent);
    bytes = bytes.subspan(*sent);
  }
  if (!bytes.empty()) work_->to_server.append(bytes);
  return true;
}

bool Session::flush_server() {
  while (!work_->to_server.empty() && server_->socket->can_send()) {
    const auto sent = server_->socket->send(work_->to_server.view());
    if (!sent) {
      server_broken_ = true;
      return false;
    }
    if (*sent == 0) break;
    traffic_->sent.add(*sent);
    work_->to_server.consume(*sent);
  }
  if (work_->to_server.empty() && work_->to_server.capacity() > kMaxControl) work_->to_server.release();
  return true;
}

}  // namespace weir::proxy
