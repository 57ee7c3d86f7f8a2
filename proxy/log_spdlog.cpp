#include "proxy/log_spdlog.hpp"

#include <spdlog/async.h>
#include <spdlog/sinks/base_sink.h>
#include <unistd.h>

#include <atomic>
#include <string>
#include <thread>

#include "base/log.hpp"
#include "proxy/log_format.hpp"

namespace weir::proxy {

namespace {

constexpr std::size_t kQueuedLines = 2048;

// One write(2) a line, so that lines of several processes do not mix. Counts them, for flush_logging().
class StderrSink final : public spdlog::sinks::base_sink<std::mutex> {
 public:
  [[nodiscard]] std::uint64_t written() const { return written_.load(std::memory_order_acquire); }

 private:
  void sink_it_(const spdlog::details::log_msg& message) override {
    spdlog::memory_buf_t line;
    formatter_->format(message, line);
    for (std::size_t at = 0; at < line.size();) {
      const ssize_t n = ::write(STDERR_FILENO, line.data() + at, line.size() - at);
      if (n < 0 && errno != EINTR) break;
      if (n > 0) at += static_cast<std::size_t>(n);
    }
    written_.fetch_add(1, std::memory_order_release);
  }
  void flush_() override {}

  std::atomic<std::uint64_t> written_{0};
};

class SpdlogSink final : public log::Sink {
 public:
  explicit SpdlogSink(bool json)
      : json_(json),
        queue_(std::make_shared<spdlog::details::thread_pool>(kQueuedLines, 1)),
        stderr_(std::make_shared<StderrSink>()),
        logger_(std::make_shared<spdlog::async_logger>("weir", stderr_, queue_, spdlog::async_overflow_policy::overrun_oldest)) {
    logger_->set_level(spdlog::level::debug);
    logger_->set_pattern(json ? R"({"time":"%Y-%m-%dT%H:%M:%S.%e%z","level":"%l",%v})" : "%Y-%m-%d %H:%M:%S.%e %l %v");
  }

  void write(log::Level level, std::string_view line, std::span<const log::Field> fields) override {
    static constexpr spdlog::level::level_enum kLevels[] = {spdlog::level::debug, spdlog::level::info, spdlog::level::warn, spdlog::level::err};
    accepted_.fetch_add(1, std::memory_order_relaxed);
    logger_->log(kLevels[static_cast<int>(level)], json_ ? json_members(line, fields) : text_line(line, fields));
  }

  [[nodiscard]] std::uint64_t dropped() const { return queue_->overrun_counter(); }
  [[nodiscard]] bool drained() const { return stderr_->written() + dropped() >= accepted_.load(std::memory_order_relaxed); }

 private:
  const bool json_;
  std::atomic<std::uint64_t> accepted_{0};
  std::shared_ptr<spdlog::details::thread_pool> queue_;
  std::shared_ptr<StderrSink> stderr_;
  std::shared_ptr<spdlog::async_logger> logger_;
};

// Never destroyed: its thread may hang in a write that nobody takes, and the process must end all the same.
SpdlogSink* the_sink = nullptr;

}  // namespace

void start_logging(const config::Log& settings) {
  the_sink = new SpdlogSink(settings.format == config::LogFormat::json);
  static constexpr log::Level kLevels[] = {log::Level::debug, log::Level::info, log::Level::warning, log::Level::error};
  log::set_sink(the_sink, kLevels[static_cast<int>(settings.level)]);
}

void flush_logging(Deadline until) {
  while (the_sink && !the_sink->drained() && !until.passed(Clock::now())) std::this_thread::sleep_for(std::chrono::milliseconds(1));
}

std::uint64_t dropped_log_lines() { return the_sink ? the_sink->dropped() : 0; }

}  // namespace weir::proxy
