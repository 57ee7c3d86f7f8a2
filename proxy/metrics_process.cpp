// What every Prometheus client tells of its process, under the names they all use; and which Weir this is.
#include <dirent.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <memory>
#include <sstream>
#include <string>

#include "proxy/metric_families.hpp"
#include "proxy/metrics.hpp"

namespace weir::proxy {

namespace {

// Fields of /proc/self/stat behind the name; https://man7.org/linux/man-pages/man5/proc.5.html counts them from 3.
struct ProcessStat {
  double virtual_bytes = 0, resident_bytes = 0, start_ticks = 0, threads = 0;
};

ProcessStat read_stat() {
  std::ifstream file("/proc/self/stat");
  std::string text((std::istreambuf_iterator<char>(file)), {});
  ProcessStat stat;
  const auto name_end = text.rfind(')');
  if (name_end == std::string::npos) return stat;
  std::istringstream fields(text.substr(name_end + 1));
  std::string field;
  for (int number = 3; fields >> field; ++number) {
    const double value = std::strtod(field.c_str(), nullptr);
    if (number == 20) stat.threads = value;
    if (number == 22) stat.start_ticks = value;
    if (number == 23) stat.virtual_bytes = value;
    if (number == 24) stat.resident_bytes = value * static_cast<double>(::sysconf(_SC_PAGESIZE));
  }
  return stat;
}

double open_descriptors() {
  std::unique_ptr<DIR, int (*)(DIR*)> folder(::opendir("/proc/self/fd"), &::closedir);
  if (!folder) return 0;
  double count = 0;
  while (const dirent* entry = ::readdir(folder.get())) count += entry->d_name[0] == '.' ? 0 : 1;
  return count - 1;   // the folder's own
}

double boot_time() {
  std::ifstream file("/proc/stat");
  std::string line;
  while (std::getline(file, line))
    if (line.starts_with("btime ")) return std::strtod(line.c_str() + 6, nullptr);
  return 0;
}

double cpu_seconds() {
  timespec t{};
  ::clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
  return static_cast<double>(t.tv_sec) + static_cast<double>(t.tv_nsec) / 1e9;
}

}  // namespace

void collect_process(std::vector<prometheus::MetricFamily>& families) {
  MetricFamilies m(families);
  m.gauge("weir_build_info", "Which Weir this is; always 1.").add({{"version", "0.1.0"}}, 1);
  const ProcessStat stat = read_stat();
  m.counter("process_cpu_seconds_total", "Processor time used, user and system.").add({}, cpu_seconds());
  m.gauge("process_resident_memory_bytes", "Resident memory.").add({}, stat.resident_bytes);
  m.gauge("process_virtual_memory_bytes", "Virtual memory.").add({}, stat.virtual_bytes);
  m.gauge("process_threads", "Threads.").add({}, stat.threads);
  m.gauge("process_open_fds", "Open file descriptors.").add({}, open_descriptors());
  rlimit limit{};
  ::getrlimit(RLIMIT_NOFILE, &limit);
  m.gauge("process_max_fds", "Bound of open file descriptors.").add({}, limit.rlim_cur);
  m.gauge("process_start_time_seconds", "When the process started, in Unix time.")
      .add({}, boot_time() + stat.start_ticks / static_cast<double>(::sysconf(_SC_CLK_TCK)));
}

}  // namespace weir::proxy
