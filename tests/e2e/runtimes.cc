#include "tests/e2e/runtimes.h"

#include <cstdint>
#include <stdexcept>

#include "tests/e2e/command.h"

namespace fnrun::test {
namespace {

// What eight threads of each handler find together.
std::string work_of_eight() {
  std::uint64_t sum = 0;
  for (std::uint32_t seed = 1; seed <= 8; ++seed) {
    std::uint32_t value = seed;
    for (int i = 0; i < 100'000; ++i) value = (value * 1103515245U + 12345U) & 0x7fffffffU;
    sum += value;
  }
  return std::to_string(sum);
}

std::string file(const std::string& name) {
  return bin_dir() + "/runtimes/" + name;
}

// A handler that is one file; its interpreter, if it is a script.
Runtime of_one_file(std::string name, std::string policy, const std::string& handler,
                    std::string package) {
  Runtime made;
  made.name = std::move(name);
  made.policy = std::move(policy);
  made.outside = made.inside = made.files = {file(handler)};
  made.package = std::move(package);
  return made;
}

Runtime c() {
  Runtime made = of_one_file("C", "strict", "worker_c", "g++");
  made.jobs = {{"threads", work_of_eight()},   {"files", "1048576"},  {"memory", "200"},
               {"signals", "fault and timer"}, {"recursion", "5500"}, {"subprocess", "HELLO"}};
  made.attack = made.call = "ptrace";
  return made;
}

Runtime cpp() {
  Runtime made = of_one_file("Cpp", "native", "worker_cpp", "g++");
  made.jobs = {{"threads", work_of_eight()},
               {"futures", work_of_eight()},
               {"exceptions", "4000 from below"},
               {"files", "1048576 3"},
               {"copy", "3"},
               {"memory", "200"},
               {"recursion", "5500"},
               {"subprocess", "HELLO"}};
  made.beyond_strict = {"copy"};
  made.attack = made.call = "ptrace";
  return made;
}

Runtime go() {
  Runtime made = of_one_file("Go", "go", "worker_go", "golang-go");
  made.jobs = {
      {"threads", work_of_eight()},
      {"goroutines", "499500"},
      {"gc", "300"},
      {"panics",
       "runtime error: invalid memory address or nil pointer dereference; runtime error: index out "
       "of range [64] with length 0"},
      {"files", "1048576 4"},
      {"memory", "200"},
      {"recursion", "1000000"},
      {"subprocess", "HELLO"},
      {"crypto", "e3b0c442"},
      {"zone", "2026-07-01T12:00:00+02:00"}};
  made.beyond_strict = {"gc"};
  made.attack = "read_process";
  made.call = "process_vm_readv";
  return made;
}

Runtime python() {
  Runtime made = of_one_file("Python", "python", "worker.py", "python3");
  made.files.emplace_back("/usr/bin/python3");
  made.jobs = {{"threads", work_of_eight()},
               {"asyncio", "over a socket"},
               {"subprocess", "HELLO"},
               {"multiprocessing", "[0, 1, 4, 9]"},
               {"pool", "140"},
               {"shared_memory", "hello"},
               {"gc", "collected"},
               {"callback", "42"},
               {"files", "1048576 4 45"},
               {"copy", "3 640"},
               {"memory", "200"},
               {"recursion", "20000"},
               {"crypto", "e3b0c442"},
               {"zone", "2026-07-01T12:00:00+02:00"}};
  made.beyond_strict = {"pool", "shared_memory", "copy"};
  made.attack = made.call = "ptrace";
  return made;
}

Runtime node() {
  Runtime made = of_one_file("Node", "node", "worker.mjs", "nodejs");
  made.files.emplace_back("/usr/bin/node");
  made.jobs = {{"workers", work_of_eight()},
               {"subprocess", "HELLO"},
               {"forked", "49"},
               {"gc", "220000"},
               {"files", "1048576 3"},
               {"copy", "640"},
               {"memory", "200"},
               {"recursion", "5000"},
               {"crypto", "e3b0c442"},
               {"loop", "20"},
               {"zone", "1.7.2026, 12:00:00"}};
  made.beyond_strict = {"copy"};
  made.attack = "unshare";
  return made;
}

Runtime java() {
  Runtime made;
  made.name = "Java";
  made.policy = "jvm";
  made.outside = {"/usr/bin/java", "-cp", file("java"), "Worker"};
  made.inside = {"java", "-cp", "/app", "Worker"};
  made.options = {"--bind", file("java") + ":/app"};
  made.files = {"/usr/bin/java", file("java/Worker.class")};
  made.package = "openjdk-17-jdk-headless";
  made.jobs = {{"threads", work_of_eight()},
               {"parallel", work_of_eight()},
               {"exceptions", "null stack memory"},
               {"recursion", "20000"},
               {"files", "1048576 3"},
               {"copy", "rw-------"},
               {"memory", "192"},
               {"subprocess", "HELLO"},
               {"crypto", "e3b0c442"},
               {"zone", "2026-07-01T12:00+02:00"},
               {"logging", "1"},
               {"gc", "1000"}};
  made.beyond_strict = {"files", "copy", "crypto", "logging"};
  made.attack = "unshare";
  return made;
}

}  // namespace

const std::vector<Runtime>& runtimes() {
  static const std::vector<Runtime> kAll{c(), cpp(), go(), python(), node(), java()};
  return kAll;
}

const Runtime& runtime(const std::string& name) {
  for (const Runtime& one : runtimes())
    if (one.name == name) return one;
  throw std::invalid_argument("no runtime " + name);
}

}  // namespace fnrun::test
