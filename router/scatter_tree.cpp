#include "router/scatter_tree.hpp"

#include <algorithm>
#include <cctype>
#include <cstring>

#include "base/strings.hpp"

// Exported by libpg_query; the server's headers only have macros of theirs, made for C.
extern "C" {
void* copyObjectImpl(const void* obj);
PgQueryProtobuf pg_query_nodes_to_protobuf(const void* obj);
bool equal(const void* a, const void* b);
}

namespace weir::router {

namespace pg {

char* make_text(std::string_view text) {
  auto* out = static_cast<char*>(palloc0(text.size() + 1));
  std::memcpy(out, text.data(), text.size());
  return out;
}

Node* make_param(int number) {
  auto* node = make<ParamRef>(T_ParamRef);
  node->number = number;
  node->location = -1;
  return reinterpret_cast<Node*>(node);
}

Node* make_integer(int value) {
  auto* node = make<A_Const>(T_A_Const);
  node->val.ival.type = T_Integer;
  node->val.ival.ival = value;
  node->location = -1;
  return reinterpret_cast<Node*>(node);
}

List* make_list(const std::vector<Node*>& nodes) {
  List* list = nullptr;
  for (Node* node : nodes) list = lappend(list, node);
  return list;
}

Node* make_column(const std::vector<std::string>& names) {
  auto* node = make<ColumnRef>(T_ColumnRef);
  for (const std::string& name : names) {
    auto* part = make<String>(T_String);
    part->sval = make_text(name);
    node->fields = lappend(node->fields, part);
  }
  node->location = -1;
  return reinterpret_cast<Node*>(node);
}

ResTarget* make_target(Node* value, const std::string& name) {
  auto* target = make<ResTarget>(T_ResTarget);
  target->val = value;
  if (!name.empty()) target->name = make_text(name);
  target->location = -1;
  return target;
}

}  // namespace pg

void Edits::save(void* at, std::size_t size) {
  const auto* bytes = static_cast<const unsigned char*>(at);
  saved_.push_back({at, {bytes, bytes + size}});
}

// Every expression node is at least as large as this one.
void Edits::mark(Node* node, int number) {
  ParamRef ref{};
  ref.type = T_ParamRef;
  ref.number = number;
  ref.location = -1;
  save(node, sizeof ref);
  std::memcpy(static_cast<void*>(node), &ref, sizeof ref);
}

void Edits::undo_to(std::size_t size) {
  while (saved_.size() > size) {
    std::memcpy(saved_.back().at, saved_.back().bytes.data(), saved_.back().bytes.size());
    saved_.pop_back();
  }
}

Draft::Draft(Node* statement) {
  auto* raw = pg::make<RawStmt>(T_RawStmt);
  raw->stmt = statement;
  tree_ = static_cast<List*>(copyObjectImpl(lappend(nullptr, raw)));
  protobuf_ = pg_query_nodes_to_protobuf(tree_);
}

Draft::~Draft() { std::free(protobuf_.data); }  // made by malloc, outside of every memory context

Draft::Draft(Draft&& other) noexcept
    : tree_(std::exchange(other.tree_, nullptr)), protobuf_(std::exchange(other.protobuf_, PgQueryProtobuf{0, nullptr})) {}

Draft& Draft::operator=(Draft&& other) noexcept {
  std::swap(tree_, other.tree_);
  std::swap(protobuf_, other.protobuf_);
  return *this;
}

// The statement's own text, compared with the tree it was made from.
std::optional<std::string> Draft::deparse() const {
  if (tree_ == nullptr) return std::nullopt;
  PgQueryDeparseResult result = pg_query_deparse_protobuf(protobuf_);
  std::optional<std::string> text;
  if (result.error == nullptr && result.query != nullptr) text = result.query;
  pg_query_free_deparse_result(result);
  if (!text) return std::nullopt;
  const pg::ParsedText again(*text);
  const auto statements = again.statements();
  const auto* mine = static_cast<const RawStmt*>(tree_->elements[0].ptr_value);
  if (statements.size() != 1 || !equal(statements[0]->stmt, mine->stmt)) return std::nullopt;
  return text;
}

namespace {

bool is_word(char c) { return std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '_' || (c & 0x80) != 0; }

// Walks over a deparsed text and fills its holes.
class Filler {
 public:
  Filler(std::string_view deparsed, const Draft::Fill& fill) : text_(deparsed), fill_(fill) {}

  std::optional<TextTemplate> run() {
    while (at_ < text_.size() && !failed_) step();
    if (failed_) return std::nullopt;
    flush();
    std::sort(parameters_.begin(), parameters_.end());
    parameters_.erase(std::unique(parameters_.begin(), parameters_.end()), parameters_.end());
    return TextTemplate(std::move(pieces_), std::move(parameters_));
  }

 private:
  void step() {
    const char c = text_[at_];
    if (c == '\'' || c == '"') {
      quoted(c, false);
    } else if (c == '$') {
      parameter();
    } else if (is_word(c)) {
      word();
    } else {
      pending_ += c;
      ++at_;
    }
  }

  void quoted(char quote, bool backslashes) {
    pending_ += text_[at_++];
    while (at_ < text_.size()) {
      const char c = text_[at_++];
      pending_ += c;
      if (c == '\\' && backslashes && at_ < text_.size()) {
        pending_ += text_[at_++];
      } else if (c == quote) {
        if (at_ >= text_.size() || text_[at_] != quote) return;
        pending_ += text_[at_++];
      }
    }
    failed_ = true;
  }

  void word() {
    std::size_t end = at_;
    while (end < text_.size() && (is_word(text_[end]) || text_[end] == '$')) ++end;
    const std::string_view found = text_.substr(at_, end - at_);
    at_ = end;
    if (found.starts_with(kGatheredName)) return relation(found.substr(kGatheredName.size()));
    pending_ += found;
    const bool string = at_ < text_.size() && text_[at_] == '\'';
    if (string) quoted('\'', found == "E" || found == "e");
  }

  void relation(std::string_view digits) {
    const auto number = static_cast<std::size_t>(std::stoul(std::string(digits)));
    if (number >= fill_.relations.size()) {
      failed_ = true;
      return;
    }
    pending_ += fill_.relations[number];
  }

  void parameter() {
    std::size_t end = at_ + 1;
    while (end < text_.size() && std::isdigit(static_cast<unsigned char>(text_[end])) != 0) ++end;
    const std::string digits(text_.substr(at_ + 1, end - at_ - 1));
    at_ = end;
    if (digits.empty() || digits.size() > 9) {
      failed_ = true;
      return;
    }
    hole(std::stoi(digits));
  }

  void hole(int number) {
    if (number == kRowsMark) return piece({TextTemplate::Piece::Kind::rows});
    if (number >= kExpressionMark) return expression(static_cast<std::size_t>(number - kExpressionMark));
    if (number >= kNowMark) return time(static_cast<std::size_t>(number - kNowMark));
    if (number >= kLiteralMark) return literal(static_cast<std::uint32_t>(number - kLiteralMark));
    pending_ += concat("$", std::to_string(number));
    if (number < 1 || number > 65535) failed_ = true;
    parameters_.push_back(static_cast<std::uint16_t>(number));
  }

  void expression(std::size_t index) {
    if (index >= fill_.expressions.size()) {
      failed_ = true;
      return;
    }
    pending_ += fill_.expressions[index];
  }

  void time(std::size_t index) {
    pending_ += "(";
    piece({TextTemplate::Piece::Kind::now});
    pending_ += "::pg_catalog.timestamptz";
    if (!fill_.times[index].empty()) pending_ += concat("::", fill_.times[index]);
    pending_ += ")";
  }

  void literal(std::uint32_t index) {
    pending_ += index < fill_.negative.size() && fill_.negative[index] ? "(-" : "(";
    piece({TextTemplate::Piece::Kind::literal, {}, index});
    pending_ += ')';
  }

  void piece(TextTemplate::Piece next) {
    flush();
    pieces_.push_back(std::move(next));
  }
  void flush() {
    if (!pending_.empty()) pieces_.push_back({TextTemplate::Piece::Kind::text, std::move(pending_)});
    pending_.clear();
  }

  std::string_view text_;
  const Draft::Fill& fill_;
  std::size_t at_ = 0;
  bool failed_ = false;
  std::string pending_;
  std::vector<TextTemplate::Piece> pieces_;
  std::vector<std::uint16_t> parameters_;
};

}  // namespace

std::optional<TextTemplate> Draft::text(const Fill& fill) const {
  const auto plain = deparse();
  return plain ? Filler(*plain, fill).run() : std::nullopt;
}

}  // namespace weir::router
