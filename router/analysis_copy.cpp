#include "router/analysis_copy.hpp"

#include <algorithm>
#include <utility>
#include <vector>

#include "base/strings.hpp"
#include "router/text_tokens.hpp"
#include "schema/quote.hpp"

namespace weir::router {

using copy::CopyPlan;
using copy::Format;
using copy::Options;

namespace {

Error refused(std::string message, std::string hint) { return {sqlstate::kFeatureNotSupported, std::move(message), std::move(hint)}; }

bool is_ascii(std::string_view text) {
  return std::all_of(text.begin(), text.end(), [](char c) { return static_cast<unsigned char>(c) < 0x80; });
}

// ---- options ----

// As text: a word, a string, a number or a boolean.
std::string text_of(const Node* value) {
  if (const auto* boolean = pg::as<Boolean>(value, T_Boolean)) return boolean->boolval ? "true" : "false";
  if (const auto* integer = pg::as<Integer>(value, T_Integer)) return std::to_string(integer->ival);
  return std::string(pg::text(value));
}

// defGetBoolean(): nothing at all means yes. What is no boolean the server refuses.
bool is_on(const Node* value) {
  if (value == nullptr) return true;
  const std::string word = ascii_lower(text_of(value));
  return word == "1" || word == "true" || word == "on" || word == "match";
}

bool names(const Node* value, std::string_view column) {
  const auto* list = pg::as<List>(value, T_List);
  for (const Node* name : pg::ListOf<>(list))
    if (pg::text(name) == column) return true;
  return false;
}

std::string letters_of(std::string_view encoding) {
  std::string out;
  for (const char c : ascii_lower(encoding))
    if ((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9')) out += c;
  return out;
}

// Characters within a character that look like delimiters.
bool embeds_ascii(std::string_view encoding) {
  for (const char* unsafe : {"sjis", "shiftjis", "shiftjis2004", "mskanji", "windows932", "win932", "big5", "windows950", "win950", "gbk", "cp936", "windows936", "win936", "uhc",
                             "windows949", "win949", "gb18030", "johab"})
    if (encoding == unsafe) return true;
  return false;
}

bool is_known(std::string_view name) {
  for (const char* known : {"format", "freeze", "delimiter", "null", "header", "quote", "escape", "force_quote", "force_not_null", "force_null", "encoding"})
    if (name == known) return true;
  return false;
}

// The first of one name counts: a second is refused by the server.
const DefElem* find_option(const CopyStmt& stmt, std::string_view name) {
  for (const DefElem* option : pg::ListOf<DefElem>(stmt.options))
    if (pg::text(option->defname) == name) return option;
  return nullptr;
}

void set_character(const CopyStmt& stmt, const char* name, char& character) {
  const DefElem* option = find_option(stmt, name);
  const std::string text = option == nullptr ? std::string() : text_of(option->arg);
  if (!text.empty()) character = text.front();
}

Options read_options(const CopyStmt& stmt, std::string_view key) {
  Options o;
  if (const DefElem* format = find_option(stmt, "format")) {
    const std::string name = text_of(format->arg);   // a word is in lower case already, and a string must be
    o.format = name == "csv" ? Format::csv : name == "binary" ? Format::binary : Format::text;
  }
  if (o.format == Format::csv) {
    o.delimiter = ',';
    o.null.clear();
  }
  set_character(stmt, "delimiter", o.delimiter);
  set_character(stmt, "quote", o.quote);
  o.escape = o.quote;
  set_character(stmt, "escape", o.escape);
  if (const DefElem* null = find_option(stmt, "null")) o.null = text_of(null->arg);
  if (const DefElem* header = find_option(stmt, "header")) o.header = is_on(header->arg);
  if (const DefElem* encoding = find_option(stmt, "encoding")) o.encoding = letters_of(text_of(encoding->arg));
  if (const DefElem* force = find_option(stmt, "force_null")) o.force_null = names(force->arg, key);
  if (const DefElem* force = find_option(stmt, "force_quote")) {
    o.force_quote_all = pg::is(force->arg, T_A_Star);
    for (const Node* name : pg::ListOf<>(pg::as<List>(force->arg, T_List))) o.force_quote.emplace_back(pg::text(name));
  }
  if (const DefElem* force = find_option(stmt, "force_not_null")) o.force_not_null = names(force->arg, key);
  return o;
}

std::optional<Error> against_options(const CopyStmt& stmt, const Options& o) {
  for (const DefElem* option : pg::ListOf<DefElem>(stmt.options))
    if (!is_known(pg::text(option->defname)))
      return refused(concat("COPY option ", pg::text(option->defname), " is not understood over several shards"), "Leave it out, or load each shard directly.");
  const DefElem* freeze = find_option(stmt, "freeze");
  if (freeze != nullptr && is_on(freeze->arg)) return refused("COPY FREEZE over several shards", "Leave FREEZE out, and run VACUUM (FREEZE) afterwards.");
  if (embeds_ascii(o.encoding)) return refused(concat("COPY data in ENCODING ", o.encoding, " cannot be split"), "Convert the data to UTF8 first.");
  for (const char* name : {"delimiter", "quote", "escape"})
    if (const DefElem* option = find_option(stmt, name); option != nullptr && !is_ascii(text_of(option->arg)))
      return refused(concat("COPY with a ", name, " that is not ASCII"), "Use an ASCII character.");
  // A row that begins with a quoted "." would end the data of a shard that does not know yet how lines end.
  if (o.format == Format::csv && o.quote == '\\') return refused("COPY with a backslash as its QUOTE", "Use another character.");
  return std::nullopt;
}

// ---- FROM ----

// Of the data, by name. Without a list they are the table's; the server tells how many (generated ones are none of them).
std::vector<std::string> columns_of(const CopyStmt& stmt, const schema::Relation& table) {
  std::vector<std::string> columns;
  for (const Node* name : pg::ListOf<>(stmt.attlist)) columns.emplace_back(pg::text(name));
  if (stmt.attlist == nullptr)
    for (const schema::Column& column : table.columns) columns.push_back(column.name);
  return columns;
}

std::optional<Error> fill_split(CopyPlan& plan, const schema::Relation& table, const std::vector<std::string>& columns) {
  const schema::Column& key = table.columns[static_cast<std::size_t>(table.key_column)];
  const auto found = std::find(columns.begin(), columns.end(), key.name);
  if (found == columns.end())
    return refused(concat("COPY into ", table.qualified(), " without its sharding key ", key.name), concat("Give a value for ", key.name, " in every row."));
  plan.way = CopyPlan::Way::split;
  plan.key = key.name;
  plan.position = static_cast<std::uint16_t>(found - columns.begin());
  plan.type = *table.key_type;
  plan.max_length = key.max_length;
  plan.not_null = key.not_null;
  plan.has_triggers = table.has_triggers;
  return std::nullopt;
}

// Every shard must come to the same rows.
std::optional<Error> against_reference(const CopyStmt& stmt, const schema::Relation& table, const std::vector<std::string>& columns) {
  const std::string what = concat("COPY into reference table ", table.qualified());
  if (table.has_triggers)
    return refused(concat(what, ", which has triggers, rules or expressions that call user functions"),
                   "They run on each shard by itself, and may do something else there: load each shard directly.");
  if (stmt.whereClause != nullptr) return refused(concat(what, " with WHERE"), "Load the rows into a table of your own first, and INSERT them with VALUES.");
  for (const schema::Column& column : table.columns)
    if (column.has_default && std::find(columns.begin(), columns.end(), column.name) == columns.end())
      return refused(concat(what, " whose column ", column.name, " gets a default that each shard computes by itself"),
                     concat("Give ", column.name, " a value in every row."));
  return std::nullopt;
}

std::optional<Error> fill_from(CopyPlan& plan, const CopyStmt& stmt, const schema::Relation& table, const AnalysisInput& input) {
  if (stmt.attlist == nullptr && !input.catalog->from_database())
    return refused(concat("COPY into ", table.qualified(), " without a list of columns: their order is not known"), "Name the columns.");
  const std::vector<std::string> columns = columns_of(stmt, table);
  plan.columns = static_cast<std::uint16_t>(columns.size());
  if (table.placement == schema::Placement::reference) {
    plan.way = CopyPlan::Way::every_shard;
    return against_reference(stmt, table, columns);
  }
  if (!table.key_type || table.key_column < 0)
    return refused(concat("the sharding key of table ", table.qualified(), " is not of a type that COPY data is split by"), "Use INSERT.");
  return fill_split(plan, table, columns);
}

std::shared_ptr<const ScatterPlan> finished(CopyPlan plan, std::string construct) {
  auto scatter = std::make_shared<ScatterPlan>();
  scatter->strategy = ScatterPlan::Strategy::copy;
  scatter->copy = std::make_shared<const CopyPlan>(std::move(plan));
  scatter->refusal = refused(concat(construct, " cannot run here"), "Run it in a transaction of its own.");
  scatter->construct = std::move(construct);
  return scatter;
}

// ---- COPY (SELECT ...) TO ----

std::string value_text(const DefElem& option) {
  if (pg::is(option.arg, T_A_Star)) return " *";
  const auto* list = pg::as<List>(option.arg, T_List);
  if (option.arg == nullptr) return {};
  if (list == nullptr) return concat(" ", pg::is(option.arg, T_String) ? schema::quote_literal(text_of(option.arg)) : text_of(option.arg));
  std::string names;
  for (const Node* name : pg::ListOf<>(list)) names += concat(names.empty() ? "" : ", ", schema::quote_ident(pg::text(name)));
  return concat(" (", names, ")");
}

std::string options_text(const CopyStmt& stmt) {
  std::string out;
  for (const DefElem* option : pg::ListOf<DefElem>(stmt.options)) out += concat(out.empty() ? " WITH (" : ", ", pg::text(option->defname), value_text(*option));
  return out.empty() ? out : out + ")";
}

// ---- of a query whose rows no server has ----

bool is_one_ascii(const CopyStmt& stmt, const char* name) {
  const DefElem* option = find_option(stmt, name);
  return option == nullptr || (text_of(option->arg).size() == 1 && is_ascii(text_of(option->arg)));
}

bool repeats_an_option(const CopyStmt& stmt) {
  for (const DefElem* option : pg::ListOf<DefElem>(stmt.options))
    if (find_option(stmt, pg::text(option->defname)) != option) return true;
  return false;
}

// No server looks at the options: only what ProcessCopyOptions() of PostgreSQL takes, for certain.
bool are_right(const CopyStmt& stmt, const Options& o) {
  const auto has = [&](const char* name) { return find_option(stmt, name) != nullptr; };
  const bool csv = o.format == Format::csv, binary = o.format == Format::binary;
  const DefElem* format = find_option(stmt, "format");
  if (format != nullptr && !csv && !binary && text_of(format->arg) != "text") return false;
  if (repeats_an_option(stmt) || has("freeze") || has("force_not_null") || has("force_null") || has("encoding")) return false;
  if (!is_one_ascii(stmt, "delimiter") || !is_one_ascii(stmt, "quote") || !is_one_ascii(stmt, "escape")) return false;
  if (binary) return !has("delimiter") && !has("null") && !has("header") && !has("quote") && !has("escape") && !has("force_quote");
  if (!csv && (has("quote") || has("escape") || has("force_quote"))) return false;
  if (const DefElem* header = find_option(stmt, "header"); header != nullptr && header->arg != nullptr) {
    const std::string word = ascii_lower(text_of(header->arg));
    if (word != "true" && word != "false" && word != "on" && word != "off" && word != "1" && word != "0") return false;
  }
  constexpr std::string_view kNoDelimiter = "\\.abcdefghijklmnopqrstuvwxyz0123456789";
  if (o.delimiter == '\n' || o.delimiter == '\r' || (!csv && kNoDelimiter.find(o.delimiter) != std::string_view::npos)) return false;
  if (o.null.find_first_of("\r\n") != std::string::npos || o.null.find(o.delimiter) != std::string::npos || !is_ascii(o.null)) return false;
  return !csv || (o.delimiter != o.quote && o.null.find(o.quote) == std::string::npos);
}

Result<std::shared_ptr<const ScatterPlan>> plan_put_together(const CopyStmt& stmt, const ScatterPlan& query) {
  CopyPlan plan;
  plan.way = CopyPlan::Way::query;
  plan.options = read_options(stmt, {});
  if (!are_right(stmt, plan.options))
    return refused("COPY of a query over several shards, whose rows are sorted, counted or put together, with these options",
                   "Use FORMAT, DELIMITER, NULL, HEADER, QUOTE, ESCAPE and FORCE_QUOTE, each once and in ASCII; or send the SELECT itself.");
  auto scatter = std::make_shared<ScatterPlan>(*finished(std::move(plan), "COPY of a query over several shards"));
  scatter->refusal = query.refusal;
  scatter->literals = query.literals;
  return std::shared_ptr<const ScatterPlan>(std::move(scatter));
}

bool passes_on_rows(const ScatterPlan& query) {
  return query.strategy == ScatterPlan::Strategy::stream && !query.shard_sql.empty() && query.order.empty() && query.limit.kind == RowCount::Kind::none &&
         query.offset.kind == RowCount::Kind::none;
}

}  // namespace

std::string_view copy::query_of(std::string_view sql) {
  const auto tokens = tokens_of(sql);
  if (!tokens) return {};
  const auto open = std::find_if(tokens->begin(), tokens->end(), [](const Token& t) { return t.kind == TokenKind::open; });
  std::size_t depth = 0;
  for (auto token = open; token != tokens->end(); ++token) {
    if (token->kind == TokenKind::open) ++depth;
    if (token->kind == TokenKind::close && --depth == 0) return sql.substr(open->end(), token->begin() - open->end());
  }
  return {};
}

bool copies_table(const Node* stmt) {
  const auto* copy = pg::as<CopyStmt>(stmt, T_CopyStmt);
  return copy != nullptr && copy->relation != nullptr && copy->filename == nullptr && !copy->is_program;
}

Result<std::shared_ptr<const ScatterPlan>> plan_copy(const CopyStmt& stmt, const schema::Relation& table, const AnalysisInput& input) {
  const std::string construct = concat("COPY of ", table.qualified());
  if (!input.alone) return refused(concat(construct, " in a string of several statements"), "Send it as a statement of its own.");
  CopyPlan plan;
  plan.table = table.qualified();
  plan.relation = table.name;
  const std::string key = table.key_column < 0 ? std::string() : table.columns[static_cast<std::size_t>(table.key_column)].name;
  plan.options = read_options(stmt, key);
  if (auto error = against_options(stmt, plan.options)) return std::move(*error);
  plan.way = CopyPlan::Way::out;
  if (stmt.is_from)
    if (auto error = fill_from(plan, stmt, table, input)) return std::move(*error);
  return finished(std::move(plan), construct);
}

Result<std::shared_ptr<const ScatterPlan>> plan_copy_of_query(const CopyStmt& stmt, const ScatterPlan& query) {
  if (!passes_on_rows(query)) return plan_put_together(stmt, query);
  CopyPlan plan;
  plan.way = CopyPlan::Way::out;
  plan.options = read_options(stmt, {});
  if (auto error = against_options(stmt, plan.options)) return std::move(*error);
  auto scatter = std::make_shared<ScatterPlan>(*finished(std::move(plan), "COPY of a query over several shards"));
  std::vector<TextTemplate::Piece> pieces{{TextTemplate::Piece::Kind::text, "COPY ("}};
  pieces.insert(pieces.end(), query.shard_sql.pieces().begin(), query.shard_sql.pieces().end());
  pieces.push_back({TextTemplate::Piece::Kind::text, concat(") TO STDOUT", options_text(stmt))});
  scatter->shard_sql = TextTemplate(std::move(pieces), {});
  scatter->uses_now = query.uses_now;
  scatter->refusal = query.refusal;
  scatter->literals = query.literals;
  return std::shared_ptr<const ScatterPlan>(std::move(scatter));
}

}  // namespace weir::router
