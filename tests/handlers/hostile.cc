// Handlers that break the rules, each in its own way: the first argument says which.
//
// Static, frames by hand: nothing of ours stands between the verb and the wire. What a verb wants a
// test to wait for it says on stderr. Those that answer or crash by event are in count_calls().
#include <fcntl.h>
#include <sys/mount.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>

#include "frames.h"

namespace {

// A Result whose body has exactly `size` bytes (from 4 on).
std::string result_of(size_t size) {
  size_t payload = size - 2;
  while (1 + varint(payload).size() + payload > size) --payload;
  return result(std::string(payload, 'x'));
}

// Until the file says "go". Handlers may poll: that the answer was taken, nobody tells them.
void await_go(const char* file) {
  for (char first = 0; first != 'g'; usleep(1'000)) {
    const int fd = open(file, O_RDONLY | O_CLOEXEC);
    if (fd < 0 || read(fd, &first, 1) < 0) _exit(kBroken);
    close(fd);
  }
}

// Answers each call with its number; an event "crash" ends it, "twice" is answered twice.
// "allowed" is answered when the file allows it, "late" and "background" write once more then.
void count_calls(const char* file) {
  for (int calls = 1;; ++calls) {
    const std::string event = data_of(take_request().event);
    if (event == "crash") abort();
    if (event == "allowed") await_go(file);
    const std::string answer = result(std::to_string(calls));
    put(1, event == "twice" ? answer + result("stolen") : answer);
    if (event == "late") {
      await_go(file);
      put(1, result("stolen"));
      say("wrote after the answer");
    }
    if (event == "background" && fork() == 0) {
      await_go(file);
      put(1, result("stolen"));
      say("wrote from the background");
      pause_for_ever();
    }
  }
}

// Speaks before it was asked as long as the file says so.
void early_reply(const char* file) {
  const int fd = open(file, O_RDONLY | O_CLOEXEC);
  char mode = 0;
  if (fd < 0 || read(fd, &mode, 1) != 1) _exit(kBroken);
  if (mode == 'e') {
    put(1, result("stolen"));
    say("wrote before the request");
  }
  count_calls(file);
}

// Children that try to get away, keep every descriptor and wait.
[[noreturn]] void fork_and_hold() {
  take_request();
  for (int i = 0; i < 8; ++i) {
    if (fork() != 0) continue;
    setsid();
    if (fork() > 0) _exit(0);
    signal(SIGTERM, SIG_IGN);
    say("holding");
    pause_for_ever();
  }
  pause_for_ever();
}

// Each forks and ends, for ever: whoever kills them one by one comes too late.
[[noreturn]] void fork_storm() {
  take_request();
  say("storming");
  for (int i = 0; i < 8; ++i) {
    if (fork() != 0) continue;
    for (;;)
      if (fork() > 0) _exit(0);
  }
  pause_for_ever();
}

void forbidden_call(const std::string& which) {
  if (which == "ptrace") ptrace(PTRACE_TRACEME, 0, nullptr, nullptr);
  if (which == "unshare") syscall(SYS_unshare, 0x10000000);
  if (which == "mount") mount("none", "/tmp", "tmpfs", MS_NOSUID, "size=1m");
  if (which == "9999") syscall(9999, 1, 2, 3, 4, 5, ~0UL);
  if (which == "in_child" || which == "in_child_and_hang") {
    if (fork() == 0) {
      forbidden_call("ptrace");
      _exit(0);
    }
    int status = 0;
    wait(&status);
    if (which == "in_child_and_hang") pause_for_ever();
    _exit(WIFSIGNALED(status) ? 3 : 4);
  }
  if (which == "int80") {
    int got = 20;  // getpid of the 32-bit table.
    asm volatile("int $0x80" : "+a"(got) : : "memory");
  }
}

void after_request(const std::string& verb, const char* argument) {
  if (verb == "reply_twice") return put(1, result("once") + result("stolen"));
  if (verb == "negative_length") return put(1, length(0xFFFFFFFF) + "x");
  if (verb == "huge_length") return put(1, length(0x7FFFFFFF) + std::string(1 << 20, 'x'));
  if (verb == "garbage") return put(1, length(3) + "\x12\x7F\xFF");
  if (verb == "text") return put(1, "This is no protocol.\n");
  if (verb == "half_reply_exit") {
    put(1, result("half").substr(0, 7));
    _exit(0);
  }
  if (verb == "half_reply_hang") return put(1, result("half").substr(0, 7));
  if (verb == "claim") return put(1, length(static_cast<uint32_t>(strtoul(argument, nullptr, 0))));
  if (verb == "half_length_hang") return put(1, std::string(2, '\0'));
  if (verb == "body_of") return put(1, result_of(strtoul(argument, nullptr, 10)));
  if (verb == "close_stdout") {
    close(1);
    return say("closed stdout");
  }
  if (verb == "close_stdin") {
    close(0);
    return put(1, result("deaf"));
  }
  if (verb == "stop_self") {
    raise(SIGSTOP);
    return;
  }
  if (verb == "stop_group") {
    kill(0, SIGSTOP);
    return;
  }
  if (verb == "leave") _exit(atoi(argument));
  if (verb == "crash_signal") {
    signal(atoi(argument), SIG_DFL);
    raise(atoi(argument));
    return;
  }
  if (verb == "forbidden_call") {
    forbidden_call(argument);
    return put(1, result("the call came back"));
  }
  if (verb == "stderr_escapes") {
    put(2, "\x1b[31mred\x1b[0m\r\x07 and \xff\nsecond line\n");
    return put(1, result("written"));
  }
  if (verb == "stderr_flood") {
    for (int i = 0; i < 20'000; ++i) say("flood " + std::to_string(i));
    return put(1, result("flooded"));
  }
  say("unknown verb " + verb);
  _exit(kBroken);
}

}  // namespace

int main(int argc, char** argv) {
  const std::string verb = argc > 1 ? argv[1] : "";
  const char* argument = argc > 2 ? argv[2] : "0";
  if (verb == "never_read") {
    say("not reading");
    pause_for_ever();
  }
  if (verb == "leave_unread") return atoi(argument);
  if (verb == "count_calls") count_calls(argument);
  if (verb == "early_reply") early_reply(argument);
  if (verb == "fork_and_hold") fork_and_hold();
  if (verb == "fork_storm") fork_storm();
  const Request request = take_request();
  if (verb == "echo_context") {
    put(1, result(request.context));
    take(1);
  }
  after_request(verb, argument);
  pause_for_ever();
}
