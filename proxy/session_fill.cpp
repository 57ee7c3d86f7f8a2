// Keys that the proxy fills in (default_key, docs/ids.md): an INSERT without its sharding key is made one with it, before it is routed.
//
// From then on it is a statement like any other. In a Query the ids stand as numbers; the client's message is replaced. A Parse gets one parameter
// an id, behind the client's own, which are hidden from its ParameterDescription; each Bind gets new ids for them.
#include <algorithm>

#include "base/strings.hpp"
#include "proxy/id_source.hpp"
#include "proxy/proxy.hpp"
#include "proxy/session.hpp"
#include "router/key_fill.hpp"
#include "schema/key.hpp"

namespace weir::proxy {

namespace {

constexpr std::size_t kMaxParameters = 65535;
constexpr std::uint32_t kInt8Oid = 20;
// The rows of one INSERT go to one shard while that takes no more ids than this: others are thrown away.
constexpr std::size_t kMostChosen = 16384;

std::vector<PreparedText::Edit> edits_of(const router::FilledText& text) {
  std::vector<PreparedText::Edit> edits;
  const auto characters = [&](std::size_t from, std::size_t to) {
    return static_cast<std::size_t>(std::count_if(text.sql.begin() + static_cast<std::ptrdiff_t>(from), text.sql.begin() + static_cast<std::ptrdiff_t>(to),
                                                  [](char c) { return (static_cast<unsigned char>(c) & 0xC0) != 0x80; }));
  };
  std::size_t bytes = 0, at = 0;
  for (const router::FilledText::Place& place : text.places) {
    at += characters(bytes, place.at);
    const std::size_t size = characters(place.at, place.at + place.size);
    edits.push_back({at, size, static_cast<std::ptrdiff_t>(place.replaced) - static_cast<std::ptrdiff_t>(size)});
    at += size;
    bytes = place.at + place.size;
  }
  return edits;
}

}  // namespace

// Ids of rows of one INSERT. Where they can be had, they are of one shard, so that the statement needs no distributed transaction.
Result<std::vector<std::int64_t>> Session::take_ids(std::size_t count) {
  IdSource& source = *database_->state->ids;
  const schema::BucketMap& map = planner().map();
  std::size_t left = source.may_choose() ? kMostChosen : 0;
  std::vector<std::int64_t> ids;
  std::optional<schema::ShardId> shard;
  while (ids.size() < count) {
    const auto id = source.next();
    if (!id) return id.error();
    const schema::ShardId where = map.shard_of(schema::KeyValue(*id));
    if (!shard) shard = where;
    if (where != *shard && left > 0) {
      --left;
      continue;
    }
    ids.push_back(*id);
  }
  return ids;
}

// The statement of a Parse, with parameters for its ids; it stays as it is, and is refused, where it cannot be told where they belong.
void Session::fill_statement(PreparedStatement& statement) {
  const router::KeyFill& fill = *statement.plan->fill;
  const auto edits = router::find_fill(statement.sql, fill);
  const std::size_t first = std::max<std::size_t>(statement.plan->parameters, statement.types.size());
  const std::size_t count = edits ? router::ids_of(*edits) : 0;
  if (!edits || !database_->state->ids || first + count > kMaxParameters) return;
  std::vector<std::string> parameters;
  for (std::size_t i = 1; i <= count; ++i) parameters.push_back(concat("$", std::to_string(first + i)));
  router::FilledText text = router::filled(statement.sql, fill, *edits, parameters);
  auto made = std::make_shared<Filled>();
  made->edits = edits_of(text);
  made->parameters = static_cast<std::uint16_t>(first);
  made->ids = static_cast<std::uint16_t>(count);
  made->client_sql = std::exchange(statement.sql, std::move(text.sql));
  made->client_types = statement.types;
  statement.types.resize(first);
  statement.types.insert(statement.types.end(), count, kInt8Oid);
  made->sql = statement.sql;
  made->types = statement.types;
  statement.filled = std::move(made);
}

// As the client sent it.
void Session::empty_statement(PreparedStatement& statement) {
  const FilledRef filled = std::exchange(statement.filled, nullptr);
  statement.sql = filled->client_sql;
  statement.types = filled->client_types;
}

// The Query with ids in it. None: it stays as it is, and is refused.
std::optional<ByteView> Session::fill_query(Op& op, std::string_view sql) {
  const auto edits = router::find_fill(sql, *op.plan->fill);
  if (!edits || !database_->state->ids) return std::nullopt;
  const auto ids = take_ids(router::ids_of(*edits));
  if (!ids) return refuse(ids.error()), std::nullopt;
  std::vector<std::string> numbers;
  for (const std::int64_t id : *ids) numbers.push_back(std::to_string(id));
  const router::FilledText text = router::filled(sql, *op.plan->fill, *edits, numbers);
  auto made = std::make_shared<Filled>();
  made->edits = edits_of(text);
  op.filled = std::move(made);
  ByteBuffer& message = work_->rewritten.emplace_back(static_cast<std::size_t>(&op - work_->ops.data()), ByteBuffer()).second;
  wire::write_query(message, text.sql);
  return message.view().subspan(wire::kHeader);
}

// The Bind with an id for each of the hidden parameters. None: refused.
std::optional<ByteView> Session::fill_bind(Op& op, const wire::BindView& bind, const FilledRef& filled) {
  if (bind.parameters != filled->parameters)
    return refuse({sqlstate::kProtocolViolation, concat("bind message supplies ", std::to_string(bind.parameters), " parameters, but prepared statement \"",
                                                        bind.statement, "\" requires ", std::to_string(filled->parameters))}),
           std::nullopt;
  const auto ids = take_ids(filled->ids);
  if (!ids) return refuse(ids.error()), std::nullopt;
  std::vector<wire::BindValue> values(bind.parameters);
  wire::for_each_parameter(bind, [&](std::size_t i, const wire::BindParameter& p) { values[i] = {p.is_null, bind.binary(i), p.value}; });
  std::vector<std::string> numbers;
  for (const std::int64_t id : *ids) numbers.push_back(std::to_string(id));
  for (const std::string& number : numbers) values.push_back({false, false, as_bytes(number)});
  std::vector<std::uint16_t> formats(bind.result_formats);
  for (std::size_t i = 0; i < formats.size(); ++i) formats[i] = wire::load16(bind.result_format_bytes.data() + 2 * i);
  op.filled = filled;
  ByteBuffer& message = work_->rewritten.emplace_back(static_cast<std::size_t>(&op - work_->ops.data()), ByteBuffer()).second;
  wire::write_bind(message, bind.portal, bind.statement, values, formats);
  return message.view().subspan(wire::kHeader);
}

// The messages with ids take the place of the client's in what it has sent.
void Session::put_rewritten() {
  if (work_->rewritten.empty()) return;
  ByteBuffer all;
  std::size_t from = 0, next = 0;
  std::ptrdiff_t longer = 0;
  for (std::size_t i = 0; i < work_->ops.size(); ++i) {
    Op& op = work_->ops[i];
    const std::size_t end = op.offset + op.size;
    op.offset = static_cast<std::uint32_t>(op.offset + longer);
    if (next == work_->rewritten.size() || work_->rewritten[next].first != i) continue;
    const ByteView message = work_->rewritten[next++].second.view();
    all.append(input_.subspan(from, end - op.size - from));
    all.append(message);
    longer += static_cast<std::ptrdiff_t>(message.size()) - static_cast<std::ptrdiff_t>(op.size);
    op.size = static_cast<std::uint32_t>(message.size());
    from = end;
  }
  all.append(input_.subspan(from));
  scanned_ = static_cast<std::size_t>(static_cast<std::ptrdiff_t>(scanned_) + longer);
  in_ = std::move(all);
  input_ = in_.view();
  borrowed_ = false;
  work_->rewritten.clear();
}

// ParameterDescription without the parameters that are the proxy's.
void Session::write_own_parameters(const wire::Message& description, const Filled& filled) {
  const std::size_t size = 2 + std::size_t{4} * filled.parameters;
  if (description.body.size() < size) return break_server(out_of_step('t'));
  std::string body(as_text(description.body.first(size)));
  body[0] = static_cast<char>(filled.parameters >> 8);
  body[1] = static_cast<char>(filled.parameters & 0xFF);
  wire::write_message(work_->own, 't', body);
}

}  // namespace weir::proxy
