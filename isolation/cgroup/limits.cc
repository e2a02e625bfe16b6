#include "isolation/cgroup/limits.h"

#include <algorithm>
#include <bitset>
#include <charconv>

#include "isolation/cgroup/kernel_text.h"
#include "policies/policy_check.h"

namespace fnrun::isolation {
namespace {

using policies::Layer;
using policies::Limits;

constexpr std::uint64_t kPage = 4'096;  // x86_64; memory limits are rounded down to it.
constexpr std::uint64_t kCpuPeriodUs = 100'000;
constexpr std::uint64_t kKernelWeight = 100;

std::string pages_of(policies::ByteSize size) {
  return std::to_string(size.bytes / kPage * kPage);
}

void add_memory(const Limits& limits, std::vector<CgroupSetting>& settings) {
  settings.push_back({"memory.max", pages_of(limits.memory_max)});
  if (limits.memory_high.bytes != 0)
    settings.push_back({"memory.high", pages_of(limits.memory_high)});
  settings.push_back({"memory.swap.max", pages_of(limits.memory_swap_max)});
  settings.push_back({"memory.oom.group", limits.memory_oom_group ? "1" : "0"});
}

void add_cpu(const Limits& limits, std::vector<CgroupSetting>& settings) {
  if (limits.cpu_max_percent != 0)
    settings.push_back({"cpu.max", std::to_string(limits.cpu_max_percent * kCpuPeriodUs / 100) +
                                       ' ' + std::to_string(kCpuPeriodUs)});
  if (limits.cpu_weight != kKernelWeight)
    settings.push_back({"cpu.weight", std::to_string(limits.cpu_weight)});
}

// The kernel gives a device's line back with all four keys.
void add_io(const Limits& limits, const std::vector<std::string>& disks,
            std::vector<CgroupSetting>& settings) {
  const auto or_max = [](std::uint64_t value) {
    return value == 0 ? "max" : std::to_string(value);
  };
  for (const std::string& disk : disks)
    settings.push_back({"io.max", disk + " rbps=" + or_max(limits.io_read_per_second_max.bytes) +
                                      " wbps=" + or_max(limits.io_write_per_second_max.bytes) +
                                      " riops=" + or_max(limits.io_reads_per_second_max) +
                                      " wiops=" + or_max(limits.io_writes_per_second_max)});
}

}  // namespace

std::string canonical_cpus(std::string_view cpus) {
  std::bitset<policies::kCpusMax + 1> set;
  for (const auto range : split(cpus, ',')) {
    const auto dash = range.find('-');
    const auto first = to_number<unsigned>(range.substr(0, dash));
    const auto last =
        dash == std::string_view::npos ? first : to_number<unsigned>(range.substr(dash + 1));
    for (unsigned cpu = first.value_or(1);
         cpu <= std::min(last.value_or(0), policies::kCpusMax - 1); ++cpu)
      set.set(cpu);
  }
  std::string text;
  for (unsigned cpu = 0; cpu < policies::kCpusMax; ++cpu) {
    if (!set.test(cpu)) continue;
    unsigned last = cpu;
    while (set.test(last + 1)) ++last;
    if (!text.empty()) text += ',';
    text += std::to_string(cpu);
    if (last != cpu) text += '-' + std::to_string(last);
    cpu = last;
  }
  return text;
}

std::vector<CgroupSetting> cgroup_settings(const Limits& limits, const CgroupFacts& facts) {
  std::vector<CgroupSetting> settings;
  const auto wanted = [&](Layer controller) {
    return policies::needs_controller(limits, controller) && facts.has(controller);
  };
  if (wanted(Layer::kMemory)) add_memory(limits, settings);
  // The init is one too.
  if (wanted(Layer::kPids))
    settings.push_back({"pids.max", std::to_string(limits.processes_max + 1)});
  if (wanted(Layer::kCpu)) add_cpu(limits, settings);
  if (wanted(Layer::kIo)) add_io(limits, facts.disks, settings);
  if (wanted(Layer::kCpuset)) settings.push_back({"cpuset.cpus", canonical_cpus(limits.cpus)});
  return settings;
}

}  // namespace fnrun::isolation
