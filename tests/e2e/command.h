// A program run as a user runs it: bytes to its stdin, stdout and stderr apart, its exit code.
//
// Everything waits by poll(2), and nothing for longer than the limit: then the program is killed
// and the test fails. One thread; the program does not outlive its Command.
#pragma once

#include <sys/types.h>

#include <chrono>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "isolation/unique_fd.h"

namespace fnrun::test {

inline constexpr std::chrono::seconds kHardLimit{60};

struct Finished {
  int code = -1;  // 128+n when signal n ended the program itself.
  std::string out;
  std::string err;
  long max_rss_kib = 0;  // The greatest of the program and of whom it waited for.
};

class Command {
 public:
  // `environment`: "NAME=value", beside a PATH and nothing else.
  explicit Command(const std::vector<std::string>& argv,
                   const std::vector<std::string>& environment = {},
                   std::chrono::seconds limit = kHardLimit);
  Command(const Command&) = delete;
  Command& operator=(const Command&) = delete;
  ~Command();

  [[nodiscard]] pid_t pid() const { return pid_; }
  void feed(std::string_view bytes) { input_ += bytes; }  // Sent while somebody waits below.
  void close_stdin() { close_when_sent_ = true; }         // Once all is sent.
  // The next line of stdout, without its end. A failure of the test if there is none.
  std::string next_line();
  // False, and a failure of the test, if the program ends or the limit passes first.
  bool wait_for_stderr(std::string_view text);
  // What came while somebody waited above.
  [[nodiscard]] const std::string& stderr_so_far() const { return seen_.err; }
  void signal(int number) const;
  // Waits for the end of both streams and of the program; stdin stays as it is.
  Finished finish();

 private:
  bool pump(const std::function<bool()>& enough);
  void take(isolation::UniqueFd& from, std::string& into) const;
  void send();

  pid_t pid_ = -1;
  isolation::UniqueFd stdin_;
  isolation::UniqueFd stdout_;
  isolation::UniqueFd stderr_;
  std::string input_;
  bool close_when_sent_ = false;
  Finished seen_;
  std::size_t lines_taken_to_ = 0;
  std::chrono::steady_clock::time_point limit_;
};

[[nodiscard]] Finished run(const std::vector<std::string>& argv, std::string_view input = "",
                           const std::vector<std::string>& environment = {});

// Where the programs of the build are: the build's own folder, or what FNRUN_TEST_BIN names.
[[nodiscard]] std::string bin_dir();
[[nodiscard]] std::string handler(const std::string& name);
// fnrun-supervise, these options, "--", this handler with its arguments.
[[nodiscard]] std::vector<std::string> supervise(std::vector<std::string> options,
                                                 const std::vector<std::string>& of_handler);

}  // namespace fnrun::test
