// Framing: the cost of finding message boundaries, which the proxy pays for every byte it forwards.
#include <benchmark/benchmark.h>

#include <string>

#include "wire/frame.hpp"
#include "wire/messages.hpp"

namespace weir::wire {
namespace {

// What a server answers to an extended-protocol SELECT of one row.
std::string one_reply() {
  ByteBuffer out;
  write_message(out, '1', ByteView{});
  write_message(out, '2', ByteView{});
  write_row_description(out, std::vector<ColumnDescription>{{"abalance", 23, 4}});
  write_data_row(out, std::vector<std::optional<std::string>>{"-1234"});
  write_command_complete(out, "SELECT 1");
  write_ready_for_query(out, 'I');
  return std::string(as_text(out.view()));
}

std::string many(const std::string& once, std::size_t bytes) {
  std::string all;
  while (all.size() < bytes) all += once;
  return all;
}

std::string data_rows(std::size_t width) {
  ByteBuffer out;
  write_data_row(out, std::vector<std::optional<std::string>>{std::string(width, 'x')});
  return std::string(as_text(out.view()));
}

void count(benchmark::State& state, std::size_t messages, std::size_t bytes) {
  state.SetItemsProcessed(static_cast<std::int64_t>(messages));
  state.SetBytesProcessed(state.iterations() * static_cast<std::int64_t>(bytes));
}

void next_message_over(benchmark::State& state, const std::string& stream) {
  std::size_t messages = 0;
  for (auto _ : state) {
    ByteView rest = as_bytes(stream);
    for (Frame f = next_message(rest); f.status == FrameStatus::message; f = next_message(rest)) {
      benchmark::DoNotOptimize(f.message.type);
      rest = rest.subspan(f.needed);
      ++messages;
    }
  }
  count(state, messages, stream.size());
}

void scan_over(benchmark::State& state, const std::string& stream, std::size_t chunk) {
  std::size_t messages = 0;
  FrameScanner scanner;
  for (auto _ : state) {
    for (ByteView rest = as_bytes(stream); !rest.empty();) {
      ByteView part = rest.first(std::min(chunk, rest.size()));
      rest = rest.subspan(part.size());
      while (true) {
        const FrameScanner::Item item = scanner.next(part);
        if (item.step != FrameScanner::Step::header && item.step != FrameScanner::Step::body) break;
        messages += item.step == FrameScanner::Step::header;
        benchmark::DoNotOptimize(item.part.data());
      }
    }
  }
  count(state, messages, stream.size());
}

void BM_NextMessageOneReply(benchmark::State& state) { next_message_over(state, one_reply()); }
BENCHMARK(BM_NextMessageOneReply);

// The argument is the width of a row; the stream fills a 32 KB receive buffer.
void BM_NextMessageRows(benchmark::State& state) {
  next_message_over(state, many(data_rows(static_cast<std::size_t>(state.range(0))), 32768));
}
BENCHMARK(BM_NextMessageRows)->Arg(8)->Arg(100)->Arg(1000);

void BM_ScannerOneReply(benchmark::State& state) { scan_over(state, one_reply(), 32768); }
BENCHMARK(BM_ScannerOneReply);

void BM_ScannerRows(benchmark::State& state) {
  scan_over(state, many(data_rows(static_cast<std::size_t>(state.range(0))), 32768), 32768);
}
BENCHMARK(BM_ScannerRows)->Arg(8)->Arg(100)->Arg(1000);

// Every header is cut somewhere: the slow path.
void BM_ScannerSmallChunks(benchmark::State& state) { scan_over(state, many(one_reply(), 32768), 7); }
BENCHMARK(BM_ScannerSmallChunks);

void BM_ReadBind(benchmark::State& state) {
  using namespace std::string_literals;
  const std::string body = "\0stmt_7\0\0\1\0\1\0\2\0\0\0\4\0\0\0\x2a\0\0\0\5hello\0\1\0\0"s;
  for (auto _ : state) benchmark::DoNotOptimize(read_bind(as_bytes(body)).ok());
  state.SetItemsProcessed(state.iterations());
}
BENCHMARK(BM_ReadBind);

void BM_ReadParse(benchmark::State& state) {
  using namespace std::string_literals;
  const std::string body = "stmt_7\0SELECT abalance FROM pgbench_accounts WHERE aid = $1\0\0\1\0\0\0\x17"s;
  for (auto _ : state) benchmark::DoNotOptimize(read_parse(as_bytes(body)).ok());
  state.SetItemsProcessed(state.iterations());
}
BENCHMARK(BM_ReadParse);

}  // namespace
}  // namespace weir::wire
