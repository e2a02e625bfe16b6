#include "tests/bench/cases.h"

#include <fcntl.h>
#include <linux/mount.h>
#include <poll.h>
#include <spawn.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cstring>
#include <stdexcept>

#include "isolation/launcher.h"
#include "isolation/sandbox.h"
#include "tests/bench/raw_launcher.h"
#include "tests/bench/results.h"

namespace fnrun::bench {
namespace {

using isolation::Plan;
using isolation::RootEntry;
using isolation::UniqueFd;
using Clock = std::chrono::steady_clock;

constexpr const char* kBwrapPath = "/usr/bin/bwrap";
constexpr int kFilterFd = 9;  // Where bwrap finds the seccomp program.

double since(Clock::time_point began) {
  return std::chrono::duration<double, std::micro>(Clock::now() - began).count();
}

UniqueFd open_null() {
  UniqueFd fd(::open("/dev/null", O_RDWR | O_CLOEXEC));
  if (!fd) throw std::runtime_error(std::string("/dev/null: ") + std::strerror(errno));
  return fd;
}

class FnrunCase : public Case {
 public:
  explicit FnrunCase(const Plan& plan)
      : Case(kFnrun), plan_(plan), launcher_(isolation::Launcher::make(plan.host).value()) {}

  Launch launch() override {
    isolation::Stdio stdio{open_null(), open_null(), open_null()};
    const auto began = Clock::now();
    Launch result;
    {
      auto sandbox = launcher_.launch(plan_, std::move(stdio));
      if (!sandbox) return {0, sandbox.error().to_string()};
      pollfd gone{sandbox->pidfd(), POLLIN, 0};
      while (::poll(&gone, 1, -1) < 0 && errno == EINTR) {
      }
      const auto exit = sandbox->reap();
      if (!exit) return {0, exit.error().to_string()};
      if (exit->wait_status != 0) result.problem = "the handler did not end with 0";
    }  // The lease of the uid is given back here; that is part of it.
    result.us = since(began);
    return result;
  }

 private:
  const Plan& plan_;
  isolation::Launcher launcher_;
};

class RawCase : public Case {
 public:
  RawCase(std::string name, const Plan& plan, ChildMemory memory)
      : Case(std::move(name)), launcher_(plan, memory), null_(open_null()) {}

  Launch launch() override {
    const auto began = Clock::now();
    std::string problem = launcher_.run(null_.get());
    return {since(began), std::move(problem)};
  }

 private:
  RawLauncher launcher_;
  UniqueFd null_;
};

// A program started by posix_spawn(3), waited for and reaped.
class SpawnCase : public Case {
 public:
  SpawnCase(std::string name, std::vector<std::string> argv, std::vector<std::string> environment)
      : Case(std::move(name)), argv_(std::move(argv)), environment_(std::move(environment)) {
    ::posix_spawn_file_actions_init(&actions_);
    null_ = open_null();
    for (int fd = 0; fd <= 2; ++fd) ::posix_spawn_file_actions_adddup2(&actions_, null_.get(), fd);
  }
  ~SpawnCase() override { ::posix_spawn_file_actions_destroy(&actions_); }

  Launch launch() override {
    std::vector<char*> argv = pointers(argv_);
    std::vector<char*> envp = pointers(environment_);
    const auto began = Clock::now();
    pid_t pid = -1;
    if (const int error =
            ::posix_spawn(&pid, argv[0], &actions_, nullptr, argv.data(), envp.data());
        error != 0)
      return {0, argv_[0] + ": " + std::strerror(error)};
    int status = -1;
    while (::waitpid(pid, &status, 0) < 0 && errno == EINTR) {
    }
    return {since(began), status == 0 ? "" : argv_[0] + " ended with " + std::to_string(status)};
  }

 protected:
  posix_spawn_file_actions_t actions_{};

 private:
  static std::vector<char*> pointers(std::vector<std::string>& texts) {
    std::vector<char*> list;
    for (std::string& text : texts) list.push_back(text.data());
    list.push_back(nullptr);
    return list;
  }
  std::vector<std::string> argv_;
  std::vector<std::string> environment_;
  UniqueFd null_;
};

void add(std::vector<std::string>& argv, std::initializer_list<std::string> words) {
  argv.insert(argv.end(), words);
}

// The plan's root in bwrap's words. It makes the folders and files that mounts sit on by itself.
void add_bwrap_root(std::vector<std::string>& argv, const Plan& plan) {
  for (const RootEntry& entry : plan.root) {
    const std::string path = "/" + entry.path;
    const bool device = entry.path.starts_with("dev/");
    switch (entry.kind) {
      case RootEntry::Kind::kDirectory:
        add(argv, {"--dir", path});
        break;
      case RootEntry::Kind::kFile:
        break;
      case RootEntry::Kind::kSymlink:
        add(argv, {"--symlink", entry.source, path});
        break;
      case RootEntry::Kind::kMount:
        add(argv, {device ? "--dev-bind" : "--ro-bind", entry.source, path});
        break;
      case RootEntry::Kind::kTmpfs:
        add(argv, {"--perms", "1777", "--size", std::to_string(plan.policy.limits.tmp_max.bytes),
                   "--tmpfs", path});
        break;
      case RootEntry::Kind::kProc:
        add(argv, {"--proc", path});
        break;
    }
  }
  add(argv, {"--remount-ro", "/"});
}

std::vector<std::string> bwrap_argv(const Plan& plan) {
  const auto& identity = plan.policy.identity;
  // --as-pid-1: without an init of bwrap's own, its fastest form.
  std::vector<std::string> argv{kBwrapPath,         "--unshare-user", "--unshare-pid",
                                "--unshare-net",    "--unshare-ipc",  "--unshare-uts",
                                "--unshare-cgroup", "--new-session",  "--as-pid-1"};
  add(argv, {"--uid", std::to_string(identity.uid), "--gid", std::to_string(identity.gid),
             "--hostname", identity.hostname, "--cap-drop", "ALL"});
  add_bwrap_root(argv, plan);
  add(argv, {"--chdir", plan.policy.working_directory, "--seccomp", std::to_string(kFilterFd),
             plan.handler.path});
  return argv;
}

class BwrapCase : public SpawnCase {
 public:
  explicit BwrapCase(const Plan& plan) : SpawnCase(kBwrap, bwrap_argv(plan), plan.environment) {
    filter_ = UniqueFd(::memfd_create("filter", MFD_CLOEXEC));
    const std::size_t size = plan.seccomp.size() * sizeof plan.seccomp[0];
    if (::write(filter_.get(), plan.seccomp.data(), size) != static_cast<ssize_t>(size))
      throw std::runtime_error("the seccomp program for bwrap could not be written");
    ::posix_spawn_file_actions_adddup2(&actions_, filter_.get(), kFilterFd);
  }

  [[nodiscard]] std::string skipped() const override {
    return ::access(kBwrapPath, X_OK) == 0 ? "" : "bubblewrap is not installed";
  }

  Launch launch() override {
    ::lseek(filter_.get(), 0, SEEK_SET);  // bwrap reads it to the end, and the offset is shared.
    return SpawnCase::launch();
  }

 private:
  UniqueFd filter_;
};

}  // namespace

std::vector<std::unique_ptr<Case>> make_cases(const Plan& plan) {
  std::vector<std::unique_ptr<Case>> cases;
  cases.push_back(std::make_unique<FnrunCase>(plan));
  cases.push_back(std::make_unique<RawCase>(kRaw, plan, ChildMemory::kCopied));
  cases.push_back(std::make_unique<RawCase>("raw_full_vm", plan, ChildMemory::kShared));
  cases.push_back(std::make_unique<BwrapCase>(plan));
  cases.push_back(std::make_unique<SpawnCase>(
      "posix_spawn", std::vector<std::string>{plan.handler.path}, plan.environment));
  return cases;
}

}  // namespace fnrun::bench
