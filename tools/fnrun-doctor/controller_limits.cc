#include "controller_limits.h"

#include <filesystem>
#include <system_error>

#include "kernel_files.h"

namespace fnrun::doctor {
namespace {

constexpr std::size_t kDevicesMax = 64;

// io.max is by whole disk, and not every disk takes it.
std::vector<LimitTrial> io_limits() {
  std::vector<LimitTrial> trials;
  std::error_code error;
  std::filesystem::directory_iterator disk("/sys/block", error);
  for (; !error && disk != std::filesystem::directory_iterator() && trials.size() < kDevicesMax;
       disk.increment(error)) {
    const std::string number = trimmed(read_file(disk->path().string() + "/dev"));
    if (!number.empty()) trials.push_back({"io.max", number + " rbps=max wbps=1048576"});
  }
  return trials;
}

}  // namespace

std::vector<LimitTrial> limits_to_try(std::string_view controller, const std::string& cgroup_dir) {
  if (controller == "memory") return {{"memory.max", "16777216"}};
  if (controller == "pids") return {{"pids.max", "8"}};
  if (controller == "cpu") return {{"cpu.max", "50000 100000"}};
  if (controller == "io") return io_limits();
  if (controller == "cpuset") {
    const std::string cpus = trimmed(read_file(cgroup_dir + "/cpuset.cpus.effective"));
    if (!cpus.empty()) return {{"cpuset.cpus", cpus}};
  }
  return {};
}

}  // namespace fnrun::doctor
