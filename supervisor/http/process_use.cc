#include "supervisor/http/process_use.h"

#include <sys/resource.h>
#include <unistd.h>

#include <ctime>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <string>

namespace fnrun::supervisor::http {
namespace {

// The one at `index`, from 0, of numbers that stand between spaces.
std::optional<std::uint64_t> number_at(const std::string& text, std::size_t index) {
  std::istringstream words(text);
  std::string word;
  for (std::size_t i = 0; i <= index; ++i)
    if (!(words >> word)) return {};
  std::istringstream digits(word);
  std::uint64_t value = 0;
  if (!(digits >> value) || !digits.eof()) return {};
  return value;
}

std::string first_line_of(const char* path) {
  std::ifstream file(path);
  std::string line;
  std::getline(file, line);
  return line;
}

double seconds(const timeval& time) {
  return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_usec) / 1e6;
}
double now_by(clockid_t clock) {
  timespec time{};
  ::clock_gettime(clock, &time);
  return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_nsec) / 1e9;
}

std::optional<std::uint64_t> open_fds() {
  std::error_code error;
  std::filesystem::directory_iterator fds("/proc/self/fd", error);
  std::uint64_t count = 0;
  for (; !error && fds != std::filesystem::directory_iterator(); fds.increment(error)) ++count;
  if (error || count == 0) return {};
  return count - 1;  // One of them was our looking.
}

}  // namespace

ProcessUse process_use() {
  ProcessUse use;
  rusage usage{};
  ::getrusage(RUSAGE_SELF, &usage);
  use.cpu_seconds = seconds(usage.ru_utime) + seconds(usage.ru_stime);
  if (const auto pages = number_at(first_line_of("/proc/self/statm"), 1))
    use.resident_bytes = *pages * static_cast<std::uint64_t>(::sysconf(_SC_PAGESIZE));
  use.open_fds = open_fds();
  rlimit limit{};
  if (::getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur != RLIM_INFINITY)
    use.max_fds = limit.rlim_cur;
  return use;
}

std::optional<double> process_start_time() {
  // Behind the name, which may hold anything: "123 (a) b) S 1 …". Field 22 of proc(5) is the 20th
  // from there.
  constexpr std::size_t kStart = 19;
  const std::string stat = first_line_of("/proc/self/stat");
  const std::size_t name_end = stat.rfind(')');
  if (name_end == std::string::npos) return {};
  const auto ticks = number_at(stat.substr(name_end + 1), kStart);
  if (!ticks) return {};
  const double since_boot =
      static_cast<double>(*ticks) / static_cast<double>(::sysconf(_SC_CLK_TCK));
  return now_by(CLOCK_REALTIME) - now_by(CLOCK_BOOTTIME) + since_boot;
}

}  // namespace fnrun::supervisor::http
