#include "tests/security/attempts.h"

#include <fcntl.h>
#include <grp.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <csignal>
#include <cstring>
#include <fstream>
#include <iterator>
#include <sstream>
#include <stdexcept>

namespace fnrun::test {
namespace {

constexpr unsigned kNobody = 65534;

std::string in_words(std::string said, int status) {
  if (WIFSIGNALED(status)) return std::string("signal ") + ::sigabbrev_np(WTERMSIG(status));
  if (said.ends_with('\n')) said.pop_back();
  return WEXITSTATUS(status) == 0 ? said : said + " exit " + std::to_string(WEXITSTATUS(status));
}

// The program is opened before anything is given up: nobody need not be able to walk to it.
[[noreturn]] void become_attempt(int program, int out, const Outside& how,
                                 const std::vector<char*>& argv) {
  ::dup2(out, 1);
  for (const auto& [resource, value] : how.limits) {
    const rlimit limit{value, value};
    if (::setrlimit(static_cast<__rlimit_resource>(resource), &limit) != 0) ::_exit(90);
  }
  if (how.as == As::kNobody && ::geteuid() == 0 &&
      (::setgroups(0, nullptr) != 0 || ::setresgid(kNobody, kNobody, kNobody) != 0 ||
       ::setresuid(kNobody, kNobody, kNobody) != 0))
    ::_exit(91);
  ::fexecve(program, argv.data(), environ);
  ::_exit(92);
}

}  // namespace

Words attempt(Words words) {
  words.insert(words.begin(), handlers_dir() + "/attempt");
  return words;
}

Words call(long number, Words arguments) {
  arguments.insert(arguments.begin(), {"call", std::to_string(number)});
  return arguments;
}

Words open_file(const std::string& path, int flags) {
  return call(SYS_openat, {"-100", "s:" + path, std::to_string(flags), "0600"});
}

std::string outside(const Words& words, const Outside& how) {
  Words full = attempt(words);
  std::vector<char*> argv;
  for (std::string& text : full) argv.push_back(text.data());
  argv.push_back(nullptr);
  const isolation::UniqueFd program(::open(full[0].c_str(), O_RDONLY | O_CLOEXEC));
  std::array<int, 2> pair{};
  if (!program || ::pipe2(pair.data(), O_CLOEXEC) != 0) throw std::runtime_error(full[0]);
  const isolation::UniqueFd ours(pair[0]);
  isolation::UniqueFd theirs(pair[1]);
  const pid_t child = ::fork();
  if (child == 0) become_attempt(program.get(), theirs.get(), how, argv);
  theirs.reset();
  const std::string said = read_to_end(ours.get());
  int status = 0;
  while (::waitpid(child, &status, 0) < 0 && errno == EINTR) {
  }
  return in_words(said, status);
}

std::string verdict(const Ran& ran) {
  if (!ran.exit.wait_status) return "the sandbox was killed";
  const int status = *ran.exit.wait_status;
  const auto& call = ran.exit.forbidden;
  if (call && call->by == isolation::ForbiddenCall::By::kHandler && WIFSIGNALED(status) &&
      WTERMSIG(status) == SIGKILL)
    return "forbidden " + call->name();
  return in_words(ran.out, status);
}

Words split(const std::string& text, char at) {
  Words parts;
  std::istringstream stream(text);
  for (std::string part; std::getline(stream, part, at);) parts.push_back(part);
  return parts;
}

std::string field(const std::string& status, const std::string& name) {
  for (const std::string& line : split(status, '\n'))
    if (line.starts_with(name + ":")) {
      const auto value = line.find_first_not_of(" \t", name.size() + 1);
      return value == std::string::npos ? "" : line.substr(value);
    }
  return "no " + name;
}

std::string read_text(const std::string& path) {
  std::ifstream file(path);
  return {std::istreambuf_iterator<char>(file), {}};
}

Attempts::Staying Attempts::stay(const isolation::Plan& plan) {
  Staying staying{launch(plan), 0};
  std::array<char, 3> ok{};
  for (std::size_t got = 0; got < ok.size();) {
    const int fd = staying.running.ends.from_stdout.get();
    const ssize_t n = wait_readable(fd) ? ::read(fd, ok.data() + got, ok.size() - got) : 0;
    if (n <= 0) throw std::runtime_error("the attempt does not stay");
    got += static_cast<std::size_t>(n);
  }
  const std::string init = std::to_string(staying.running.sandbox.pid());
  const std::string children = read_text("/proc/" + init + "/task/" + init + "/children");
  staying.handler_pid = children.empty() ? 0 : std::stol(children);
  return staying;
}

std::string Attempts::held_by_tmp() {
  constexpr std::string_view kTmp = "/tmp/";
  const std::string way = handlers_dir();
  if (!way.starts_with(kTmp)) return "";
  return " " + way.substr(kTmp.size(), way.find('/', kTmp.size()) - kTmp.size());
}

}  // namespace fnrun::test
