// A handler that does what C++ programs do: each event names a job, the answer is its result.
//
// What goes wrong is answered as "failed: …", so that a test sees what a policy refuses. The jobs
// from `read` on are those that no policy lets a handler do. Dynamic, and nothing but libstdc++.
#include <arpa/inet.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <barrier>
#include <cerrno>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <exception>
#include <filesystem>
#include <fstream>
#include <functional>
#include <future>
#include <map>
#include <memory>
#include <memory_resource>
#include <numeric>
#include <regex>
#include <sstream>
#include <string>
#include <system_error>
#include <thread>
#include <vector>

#include "tests/handlers/frames.h"

namespace {

namespace fs = std::filesystem;
constexpr std::size_t kMiB = 1U << 20;

[[noreturn]] void fail(const char* what) {
  throw std::system_error(errno, std::generic_category(), what);
}

// The same number in every language of this folder.
std::uint64_t work(std::uint32_t seed) {
  std::uint32_t value = seed;
  for (int i = 0; i < 100'000; ++i) value = (value * 1103515245U + 12345U) & 0x7fffffffU;
  return value;
}

std::string threads() {
  std::array<std::uint64_t, 8> sums{};
  std::barrier together(std::ssize(sums));
  {
    std::vector<std::jthread> running;
    for (std::uint32_t i = 0; i < sums.size(); ++i)
      running.emplace_back([&, i] {
        together.arrive_and_wait();
        sums[i] = work(i + 1);
      });
  }
  return std::to_string(std::accumulate(sums.begin(), sums.end(), std::uint64_t{0}));
}

std::string futures() {
  std::vector<std::future<std::uint64_t>> all;
  for (std::uint32_t i = 1; i <= 8; ++i) all.push_back(std::async(std::launch::async, work, i));
  std::uint64_t sum = 0;
  for (auto& one : all) sum += one.get();
  return std::to_string(sum);
}

struct Unwound {
  explicit Unwound(std::atomic<int>& count) : count(count) {}
  Unwound(const Unwound&) = delete;
  Unwound& operator=(const Unwound&) = delete;
  ~Unwound() { ++count; }
  std::atomic<int>& count;
};
void throw_below(int left, std::atomic<int>& count) {
  const Unwound here(count);
  if (left == 0) throw std::runtime_error("from below");
  throw_below(left - 1, count);
}
// Thrown through many frames in many threads, and carried from one thread to another.
std::string exceptions() {
  std::atomic<int> unwound = 0;
  std::vector<std::future<void>> all;
  for (int i = 0; i < 4; ++i)
    all.push_back(std::async(std::launch::async, [&] { throw_below(999, unwound); }));
  std::string caught;
  for (auto& one : all) try {
      one.get();
    } catch (const std::runtime_error& error) {
      caught = error.what();
    }
  return std::to_string(unwound) + " " + caught;
}

// A folder of its own, removed with what is in it.
struct Scratch {
  Scratch() {
    std::string name = (fs::temp_directory_path() / "workerXXXXXX").string();
    if (::mkdtemp(name.data()) == nullptr) fail("mkdtemp");
    path = name;
  }
  Scratch(const Scratch&) = delete;
  Scratch& operator=(const Scratch&) = delete;
  ~Scratch() {
    std::error_code ignored;
    fs::remove_all(path, ignored);
  }
  fs::path path;
};

std::string files() {
  const Scratch scratch;
  std::ofstream(scratch.path / "a") << std::string(kMiB, 'x');
  fs::rename(scratch.path / "a", scratch.path / "b");
  fs::create_hard_link(scratch.path / "b", scratch.path / "c");
  fs::create_symlink("b", scratch.path / "d");
  const auto entries = std::distance(fs::directory_iterator(scratch.path), {});
  return std::to_string(fs::file_size(scratch.path / "d")) + " " + std::to_string(entries);
}

std::string copy() {
  const Scratch scratch;
  std::ofstream(scratch.path / "a") << "one";
  fs::copy_file(scratch.path / "a", scratch.path / "b");
  return std::to_string(fs::file_size(scratch.path / "b"));
}

std::string memory() {
  std::pmr::monotonic_buffer_resource arena;
  std::pmr::vector<char> taken(200 * kMiB, 1, &arena);
  std::uint64_t sum = 0;
  for (std::size_t at = 0; at < taken.size(); at += 4096) sum += std::uint64_t(taken[at]);
  return std::to_string(sum * 4096 / kMiB);
}

int deeper(int left) {
  volatile char frame[1024];
  frame[0] = static_cast<char>(left);
  return left == 0 ? 0 : 1 + deeper(left - 1) + (frame[0] == static_cast<char>(left) ? 0 : 1);
}
std::string recursion() {
  return std::to_string(deeper(5500));
}

std::string subprocess() {
  const std::unique_ptr<FILE, int (*)(FILE*)> said(::popen("echo hello | tr a-z A-Z", "re"),
                                                   ::pclose);
  std::array<char, 64> line{};
  if (!said || std::fgets(line.data(), line.size(), said.get()) == nullptr) fail("popen");
  return std::regex_replace(std::string(line.data()), std::regex("\\s+$"), "");
}

std::string read_path(const std::string& path) {
  std::ifstream file(path);
  std::string line;
  if (!std::getline(file, line)) fail("open");
  return line;
}

std::string write_path(const std::string& path) {
  std::ofstream file(path);
  if (!(file << "written" << std::flush)) fail("open");
  return "7";
}

std::string connect_to(const std::string& port) {
  const int fd = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (fd < 0) fail("socket");
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(static_cast<std::uint16_t>(std::stoi(port)));
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  const int result = ::connect(fd, reinterpret_cast<const sockaddr*>(&address), sizeof address);
  ::close(fd);
  if (result != 0) fail("connect");
  return "connected";
}

std::string trace() {
  if (::ptrace(PTRACE_TRACEME, 0, nullptr, nullptr) != 0) fail("ptrace");
  return "0";
}

std::string answer_to(const std::string& event) {
  static const std::map<std::string, std::function<std::string()>> kJobs{
      {"threads", threads},     {"futures", futures}, {"exceptions", exceptions},
      {"files", files},         {"copy", copy},       {"memory", memory},
      {"recursion", recursion}, {"ptrace", trace},    {"subprocess", subprocess},
  };
  static const std::map<std::string, std::function<std::string(const std::string&)>> kJobsWith{
      {"read", read_path}, {"write", write_path}, {"connect", connect_to}};
  std::istringstream words(event);
  std::string job;
  std::string argument;
  words >> job >> argument;
  try {
    if (const auto found = kJobs.find(job); found != kJobs.end()) return found->second();
    return kJobsWith.at(job)(argument);
  } catch (const std::exception& failure) {  // Whatever it is, the test is to read it.
    return std::string("failed: ") + failure.what();
  }
}

}  // namespace

int main() {
  for (;;) {
    const Request request = take_request();
    put(1, result(answer_to(data_of(request.event))));
  }
}
