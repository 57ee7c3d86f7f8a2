// Message bodies: every reader on any bytes; what they give must lie inside the body.
#include <functional>

#include "tests/fuzz/check.hpp"
#include "wire/messages.hpp"

namespace {

using namespace weir;
using namespace weir::wire;

void check_inside(ByteView body, std::string_view part) {
  if (part.empty()) return;
  const auto* p = reinterpret_cast<const std::uint8_t*>(part.data());
  WEIR_FUZZ_CHECK(!std::less<>()(p, body.data()) &&
                  part.size() <= static_cast<std::size_t>(body.data() + body.size() - p));
}

void check_bind(ByteView body) {
  const auto bind = read_bind(body);
  if (!bind.ok()) return;
  std::size_t n = 0;
  for_each_parameter(*bind, [&](std::size_t i, const BindParameter& p) {
    WEIR_FUZZ_CHECK(i == n++ && (!p.is_null || p.value.empty()));
    check_inside(body, as_text(p.value));
    (void)bind->binary(i);
  });
  ByteBuffer out;
  write_bind_renamed(out, *bind, bind->statement);
  const Frame f = next_message(out.view());
  WEIR_FUZZ_CHECK(f.status == FrameStatus::message && as_text(f.message.body) == as_text(body));
}

void check_parse(ByteView body) {
  const auto parse = read_parse(body);
  if (!parse.ok()) return;
  std::vector<std::uint32_t> types;
  for (std::size_t i = 0; i < parse->types; ++i) types.push_back(parse->type(i));
  ByteBuffer out;
  write_parse(out, parse->statement, parse->query, types);
  const Frame f = next_message(out.view());
  WEIR_FUZZ_CHECK(f.status == FrameStatus::message && as_text(f.message.body) == as_text(body));
}

void check_error(ByteView body) {
  const auto error = read_error(body);
  if (!error.ok()) return;
  for (const std::string_view part : {error->severity, error->code, error->message, error->detail, error->hint})
    check_inside(body, part);
}

void check_others(ByteView body) {
  if (const auto r = read_query(body); r.ok()) check_inside(body, *r);
  if (const auto r = read_named(body, "Describe"); r.ok()) check_inside(body, r->name);
  if (const auto r = read_execute(body); r.ok()) check_inside(body, r->portal);
  if (const auto r = read_command_complete(body); r.ok()) check_inside(body, *r);
  if (const auto r = read_parameter_status(body); r.ok()) check_inside(body, r->value);
  if (const auto r = read_backend_key_data(body); r.ok()) {
    ByteBuffer out;
    write_backend_key_data(out, *r);
    WEIR_FUZZ_CHECK(as_text(next_message(out.view()).message.body) == as_text(body));
  }
  if (const auto r = read_sasl_initial(body); r.ok()) {
    check_inside(body, r->mechanism);
    check_inside(body, r->data);
  }
  (void)read_ready_for_query(body);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const ByteView body(data, size);
  check_bind(body);
  check_parse(body);
  check_error(body);
  check_others(body);
  return 0;
}
