#include "proxy/log_spdlog.hpp"

#include <spdlog/sinks/stdout_sinks.h>
#include <spdlog/spdlog.h>

#include <string>

#include "base/log.hpp"

namespace weir::proxy {

namespace {

std::string json_escape(std::string_view text) {
  std::string out;
  for (const char c : text) {
    if (c == '"' || c == '\\') {
      out += '\\';
      out += c;
    } else if (static_cast<unsigned char>(c) < 0x20) {
      out += ' ';   // a log line is one line
    } else {
      out += c;
    }
  }
  return out;
}

class SpdlogSink final : public log::Sink {
 public:
  explicit SpdlogSink(bool json) : json_(json), logger_(spdlog::stderr_logger_mt("weir")) {
    logger_->set_level(spdlog::level::debug);
    logger_->set_pattern(json ? R"({"time":"%Y-%m-%dT%H:%M:%S.%e%z","level":"%l","message":"%v"})" : "%Y-%m-%d %H:%M:%S.%e %l %v");
  }
  void write(log::Level level, std::string_view line) override {
    static constexpr spdlog::level::level_enum kLevels[] = {spdlog::level::debug, spdlog::level::info, spdlog::level::warn, spdlog::level::err};
    if (json_)
      logger_->log(kLevels[static_cast<int>(level)], json_escape(line));
    else
      logger_->log(kLevels[static_cast<int>(level)], line);
  }

 private:
  const bool json_;
  std::shared_ptr<spdlog::logger> logger_;
};

}  // namespace

void start_logging(const config::Log& settings) {
  static SpdlogSink sink(settings.format == config::LogFormat::json);
  static constexpr log::Level kLevels[] = {log::Level::debug, log::Level::info, log::Level::warning, log::Level::error};
  log::set_sink(&sink, kLevels[static_cast<int>(settings.level)]);
}

}  // namespace weir::proxy
