// One attempt at what a sandbox must prevent, or must allow: `attempt VERB [ARGS…]`.
//
// Says `ok [detail]` or `errno NAME [detail]`; being killed shows in the wait status. Static,
// without sanitizers, and the attempts are raw system calls: nothing emulates, caches or tries
// again. The tests run it outside and inside; it does not know where it is. Verbs: see the table at
// the end.
#include <asm/unistd.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <netinet/in.h>
#include <pthread.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/un.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <string>
#include <vector>

#include "isolation/child/raw_syscall.h"

extern char** environ;

namespace {

using fnrun::child::as_arg;
using fnrun::child::raw_syscall;

char buffer[65536];

std::string word(long result) {
  if (result >= 0) return "ok " + std::to_string(result);
  const char* name = strerrorname_np(int(-result));
  return std::string("errno ") + (name != nullptr ? name : std::to_string(-result).c_str());
}

void say(const std::string& text) {
  const std::string line = text + "\n";
  for (std::size_t at = 0; at < line.size();) {
    const long n = raw_syscall(__NR_write, 1, as_arg(line.data() + at), long(line.size() - at));
    if (n <= 0) _exit(99);
    at += std::size_t(n);
  }
}

// Arguments of a call: a number of any base, s:TEXT for its address, b: for a buffer's.
long argument(char* text) {
  if (strncmp(text, "s:", 2) == 0) return as_arg(text + 2);
  if (strcmp(text, "b:") == 0) return as_arg(buffer);
  return long(text[0] == '-' ? strtoll(text, nullptr, 0) : (long long)strtoull(text, nullptr, 0));
}

void call(char** args) {
  long values[7] = {};
  for (int i = 0; i < 7 && args[i] != nullptr; ++i) values[i] = argument(args[i]);
  say(word(
      raw_syscall(values[0], values[1], values[2], values[3], values[4], values[5], values[6])));
}

// Each number in a child of its own, all arguments zero. The child leaves by exit(2): the call may
// have been seccomp(2), after which nothing else is allowed.
void calls(char** args) {
  for (; *args != nullptr; ++args) {
    const long number = argument(*args);
    int pair[2];
    if (pipe(pair) != 0) _exit(98);
    const pid_t child = fork();
    if (child < 0) _exit(97);
    if (child == 0) {
      const long result = raw_syscall(number);
      raw_syscall(__NR_write, pair[1], as_arg(&result), sizeof result);
      // What an unprivileged user could leave behind on the host, where the attempt succeeds.
      if (number == __NR_msgget && result >= 0) raw_syscall(__NR_msgctl, result, /*IPC_RMID=*/0);
      for (;;) raw_syscall(__NR_exit, 0);
    }
    close(pair[1]);
    long result = 0;
    const bool told = read(pair[0], &result, sizeof result) == ssize_t(sizeof result);
    close(pair[0]);
    int status = 0;
    waitpid(child, &status, 0);
    say(std::to_string(number) + " " +
        (told                  ? word(result)
         : WIFSIGNALED(status) ? std::string("signal ") + sigabbrev_np(WTERMSIG(status))
                               : "silence"));
  }
}

void read_file(char** args) {
  const long fd = raw_syscall(__NR_openat, AT_FDCWD, as_arg(args[0]), O_RDONLY);
  if (fd < 0) return say(word(fd));
  std::string text;
  for (long n; (n = raw_syscall(__NR_read, fd, as_arg(buffer), sizeof buffer)) != 0;) {
    if (n < 0) return say(word(n));
    text.append(buffer, std::size_t(n));
  }
  say("ok\n" + text);
}

std::vector<std::pair<std::string, unsigned char>> entries(const std::string& path) {
  std::vector<std::pair<std::string, unsigned char>> found;
  DIR* dir = opendir(path.c_str());
  if (dir == nullptr) return found;
  while (const dirent* entry = readdir(dir)) {
    const std::string name = entry->d_name;
    if (name != "." && name != "..") found.emplace_back(name, entry->d_type);
  }
  closedir(dir);
  std::sort(found.begin(), found.end());
  return found;
}

void list(char** args) {
  const long fd = raw_syscall(__NR_openat, AT_FDCWD, as_arg(args[0]), O_RDONLY | O_DIRECTORY);
  if (fd < 0) return say(word(fd));
  std::string text = "ok";
  for (const auto& [name, type] : entries(args[0])) text += " " + name;
  say(text);
}

struct Walk {
  bool create;  // A new file in each folder; else each file opened for writing.
  unsigned long tried = 0;
  std::string succeeded{};
};

void walk(const std::string& path, Walk& w) {
  const std::string slash = path.back() == '/' ? path : path + "/";
  if (w.create) {
    ++w.tried;
    const std::string file = slash + "fnrun-attempt";
    const long fd = raw_syscall(__NR_openat, AT_FDCWD, as_arg(file.c_str()),
                                O_CREAT | O_EXCL | O_WRONLY | O_NOFOLLOW, 0600);
    if (fd >= 0) {
      w.succeeded += " " + path;
      raw_syscall(__NR_close, fd);
      raw_syscall(__NR_unlink, as_arg(file.c_str()));
    }
  }
  for (const auto& [name, type] : entries(path)) {
    const std::string at = slash + name;
    if (type == DT_DIR) {
      walk(at, w);
    } else if (!w.create && type != DT_LNK) {
      ++w.tried;
      const long fd = raw_syscall(__NR_openat, AT_FDCWD, as_arg(at.c_str()),
                                  O_WRONLY | O_NONBLOCK | O_NOFOLLOW);
      if (fd < 0) continue;
      w.succeeded += " " + at;
      raw_syscall(__NR_close, fd);
    }
  }
}

void walk_create(char** args) {
  Walk w{.create = true};
  walk(args[0], w);
  say("ok " + std::to_string(w.tried) + w.succeeded);
}
void walk_write(char** args) {
  Walk w{.create = false};
  walk(args[0], w);
  say("ok " + std::to_string(w.tried) + w.succeeded);
}

// Files of 64 KiB until something says no, or `limit` bytes are there.
void fill(char** args) {
  const long limit = argument(args[1]);
  long bytes = 0;
  for (int i = 0; bytes < limit; ++i) {
    const std::string file = std::string(args[0]) + "/fill" + std::to_string(i);
    const long fd =
        raw_syscall(__NR_openat, AT_FDCWD, as_arg(file.c_str()), O_CREAT | O_WRONLY, 0600);
    if (fd < 0) return say(word(fd) + " " + std::to_string(bytes));
    const long n = raw_syscall(__NR_write, fd, as_arg(buffer), sizeof buffer);
    raw_syscall(__NR_close, fd);
    if (n <= 0) return say(word(n) + " " + std::to_string(bytes));
    bytes += n;
  }
  say("ok " + std::to_string(bytes));
}

void inodes(char** args) {
  const long limit = argument(args[1]);
  for (long i = 0; i < limit; ++i) {
    const std::string file = std::string(args[0]) + "/inode" + std::to_string(i);
    const long fd =
        raw_syscall(__NR_openat, AT_FDCWD, as_arg(file.c_str()), O_CREAT | O_WRONLY, 0600);
    if (fd < 0) return say(word(fd) + " " + std::to_string(i));
    raw_syscall(__NR_close, fd);
  }
  say("ok " + std::to_string(limit));
}

// This program, written to a folder and started from there.
void exec_copy(char** args) {
  const std::string file = std::string(args[0]) + "/copy";
  const long from = raw_syscall(__NR_openat, AT_FDCWD, as_arg("/proc/self/exe"), O_RDONLY);
  const long to =
      raw_syscall(__NR_openat, AT_FDCWD, as_arg(file.c_str()), O_CREAT | O_WRONLY, 0755);
  if (from < 0 || to < 0) return say("cannot copy: " + word(std::min(from, to)));
  for (long n; (n = raw_syscall(__NR_read, from, as_arg(buffer), sizeof buffer)) > 0;)
    if (raw_syscall(__NR_write, to, as_arg(buffer), n) != n) return say("cannot copy: write");
  raw_syscall(__NR_close, to);
  char name[] = "attempt", verb[] = "say", text[] = "ran";
  char* const argv[] = {name, verb, text, nullptr};
  say(word(raw_syscall(__NR_execve, as_arg(file.c_str()), as_arg(argv), as_arg(environ))));
}

void map_exec(char** args) {
  const std::string file = std::string(args[0]) + "/code";
  const long fd = raw_syscall(__NR_openat, AT_FDCWD, as_arg(file.c_str()), O_CREAT | O_RDWR, 0700);
  if (fd < 0) return say("cannot make: " + word(fd));
  raw_syscall(__NR_write, fd, as_arg(buffer), 4096);
  const long at = raw_syscall(__NR_mmap, 0, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE, fd, 0);
  say(at < 0 && at > -4096 ? word(at) : "ok");
}

void identity(char**) {
  unsigned id[6] = {};
  raw_syscall(__NR_getresuid, as_arg(id), as_arg(id + 1), as_arg(id + 2));
  raw_syscall(__NR_getresgid, as_arg(id + 3), as_arg(id + 4), as_arg(id + 5));
  std::string text = "ok";
  for (const unsigned value : id) text += " " + std::to_string(value);
  say(text);
}

void descriptors(char**) {
  std::string text = "ok";
  for (long fd = 0; fd < 4096; ++fd)
    if (raw_syscall(__NR_fcntl, fd, F_GETFD) >= 0) text += " " + std::to_string(fd);
  say(text);
}

void say_lines(char** lines) {
  std::string text = "ok";
  for (; *lines != nullptr; ++lines) text += std::string("\n") + *lines;
  say(text);
}

void int80(char**) {
  long result;
  // SAFETY: getpid(2) by its 32-bit number; the kernel may clobber r8 to r11.
  asm volatile("int $0x80" : "=a"(result) : "a"(20) : "r8", "r9", "r10", "r11", "memory");
  say(word(result));
}

// Children that wait until all of them are there.
void fork_bomb(char** args) {
  const long limit = argument(args[0]);
  int hold[2];
  if (pipe(hold) != 0) _exit(98);
  long made = 0, result = 0;
  for (; made < limit; ++made) {
    result = raw_syscall(__NR_fork);
    if (result < 0) break;
    if (result == 0) {
      close(hold[1]);
      raw_syscall(__NR_read, hold[0], as_arg(buffer), 1);
      for (;;) raw_syscall(__NR_exit_group, 0);
    }
  }
  close(hold[1]);
  while (raw_syscall(__NR_wait4, -1, 0, 0, 0) > 0) {
  }
  say(result < 0 ? word(result) + " " + std::to_string(made) : "ok " + std::to_string(made));
}

int thread_gate[2];
void* wait_at_gate(void*) {
  char byte;
  raw_syscall(__NR_read, thread_gate[0], as_arg(&byte), 1);
  return nullptr;
}
void thread_bomb(char** args) {
  const long limit = argument(args[0]);
  if (pipe(thread_gate) != 0) _exit(98);
  pthread_attr_t small;
  pthread_attr_init(&small);
  pthread_attr_setstacksize(&small, 65536);
  long made = 0;
  int error = 0;
  pthread_t ignored;
  for (; made < limit && error == 0; ++made)
    error = pthread_create(&ignored, &small, wait_at_gate, nullptr);
  say(error != 0 ? word(-error) + " " + std::to_string(made - 1) : "ok " + std::to_string(made));
  _exit(0);
}

// What a crash leaves in the folder.
void dump(char** args) {
  if (chdir(args[0]) != 0) return say("cannot chdir");
  const pid_t child = fork();
  if (child == 0) abort();
  int status = 0;
  waitpid(child, &status, 0);
  std::string text = WCOREDUMP(status) ? "ok dumped" : "ok not-dumped";
  for (const auto& [name, type] : entries(".")) text += " " + name;
  say(text);
}

void clocks(char**) {
  timespec boot{}, monotonic{};
  raw_syscall(__NR_clock_gettime, CLOCK_BOOTTIME, as_arg(&boot));
  raw_syscall(__NR_clock_gettime, CLOCK_MONOTONIC, as_arg(&monotonic));
  say("ok " + std::to_string(boot.tv_sec) + " " + std::to_string(monotonic.tv_sec));
}

void settings(char**) {
  std::string text = "ok\numask " + std::to_string(raw_syscall(__NR_umask, 0));
  text += "\nnice " + std::to_string(20 - raw_syscall(__NR_getpriority, PRIO_PROCESS, 0));
  raw_syscall(__NR_getcwd, as_arg(buffer), sizeof buffer);
  text += "\ncwd " + std::string(buffer);
  utsname names{};
  raw_syscall(__NR_uname, as_arg(&names));
  text += "\nhostname " + std::string(names.nodename);
  text += "\ndomainname " + std::string(names.domainname);
  text += "\nscheduler " + std::to_string(raw_syscall(__NR_sched_getscheduler, 0));
  text += "\nsession " + std::to_string(raw_syscall(__NR_getsid, 0));
  for (int resource = 0; resource < 16; ++resource) {
    unsigned long pair[2] = {};
    raw_syscall(__NR_prlimit64, 0, resource, 0, as_arg(pair));
    text += "\nlimit " + std::to_string(resource) + " " + std::to_string(pair[0]) + " " +
            std::to_string(pair[1]);
  }
  say(text);
}

void connect_to(int domain, const void* address, std::size_t size) {
  const long fd = raw_syscall(__NR_socket, domain, SOCK_STREAM, 0);
  if (fd < 0) return say(word(fd) + " socket");
  say(word(raw_syscall(__NR_connect, fd, as_arg(address), long(size))));
}
void connect_inet(char** args) {
  sockaddr_in to{};
  to.sin_family = AF_INET;
  to.sin_port = htons(static_cast<unsigned short>(argument(args[0])));
  to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  connect_to(AF_INET, &to, sizeof to);
}
void connect_abstract(char** args) {
  sockaddr_un to{};
  to.sun_family = AF_UNIX;
  const std::size_t length = std::min(strlen(args[0]), sizeof to.sun_path - 1);
  memcpy(to.sun_path + 1, args[0], length);
  connect_to(AF_UNIX, &to, offsetof(sockaddr_un, sun_path) + 1 + length);
}

void interfaces(char**) {
  const long fd = raw_syscall(__NR_socket, AF_INET, SOCK_DGRAM, 0);
  if (fd < 0) return say(word(fd));
  std::string text = "ok";
  for (int index = 1; index < 64; ++index) {
    ifreq request{};
    request.ifr_ifindex = index;
    if (raw_syscall(__NR_ioctl, fd, SIOCGIFNAME, as_arg(&request)) < 0) continue;
    raw_syscall(__NR_ioctl, fd, SIOCGIFFLAGS, as_arg(&request));
    text += std::string(" ") + request.ifr_name + ((request.ifr_flags & IFF_UP) ? "-up" : "-down");
  }
  say(text);
}

// Until the end of stdin, for who looks from outside.
void stay(char**) {
  say("ok");
  while (raw_syscall(__NR_read, 0, as_arg(buffer), sizeof buffer) > 0) {
  }
}

void perform(char** words);

std::string end_of(pid_t child) {
  int status = 0;
  while (waitpid(child, &status, 0) < 0 && errno == EINTR) {
  }
  return WIFSIGNALED(status) ? std::string("signal ") + sigabbrev_np(WTERMSIG(status))
                             : "exit " + std::to_string(WEXITSTATUS(status));
}

// The rest of the words in another thread, process or state.
void in_child(char** words) {
  const pid_t child = fork();
  if (child < 0) _exit(97);
  if (child == 0) perform(words), _exit(0);
  say("child " + end_of(child));
}

// Both in one memory, the parent waiting until the child is gone.
void in_vfork_child(char** words) {
  const pid_t child = vfork();
  if (child < 0) _exit(97);
  if (child == 0) perform(words), _exit(0);
  say("child " + end_of(child));
}

// Nobody waits for it but the init; here it shows by its end of a pipe.
void in_grandchild(char** words) {
  int held[2];
  if (pipe(held) != 0) _exit(98);
  const pid_t child = fork();
  if (child == 0) {
    if (fork() == 0) perform(words);
    _exit(0);
  }
  close(held[1]);
  const std::string middle = end_of(child);
  while (read(held[0], buffer, 1) > 0) {
  }
  say("child " + middle + ", grandchild gone");
}

void* perform_in_thread(void* words) {
  perform(static_cast<char**>(words));
  return nullptr;
}
void in_thread(char** words) {
  pthread_t thread;
  if (pthread_create(&thread, nullptr, perform_in_thread, words) != 0) _exit(96);
  pthread_join(thread, nullptr);
}
// The process goes on without its first thread, which is a zombie with the process's pid.
void in_last_thread(char** words) {
  pthread_t thread;
  if (pthread_create(&thread, nullptr, perform_in_thread, words) != 0) _exit(96);
  for (;;) raw_syscall(__NR_exit, 0);
}

void* perform_behind_gate(void* words) {
  wait_at_gate(nullptr);
  return perform_in_thread(words);
}
// All at once.
void in_threads(char** args) {
  const long count = argument(args[0]);
  if (pipe(thread_gate) != 0) _exit(98);
  pthread_attr_t small;
  pthread_attr_init(&small);
  pthread_attr_setstacksize(&small, 131072);
  std::vector<pthread_t> threads(static_cast<std::size_t>(count));
  for (pthread_t& thread : threads)
    if (pthread_create(&thread, &small, perform_behind_gate, args + 1) != 0) _exit(96);
  close(thread_gate[1]);
  for (const pthread_t thread : threads) pthread_join(thread, nullptr);
}

void hearing_no_signal(char** words) {
  for (int signal = 1; signal <= 64; ++signal) ::signal(signal, SIG_IGN);
  const unsigned long all = ~0UL;
  raw_syscall(__NR_rt_sigprocmask, /*SIG_SETMASK=*/2, as_arg(&all), 0, 8);
  perform(words);
}

// A signal every 20 us interrupts whatever waits; the call is made until it says something else.
void interrupted(char** args) {
  struct sigaction action {};
  action.sa_handler = [](int) {};
  sigaction(SIGALRM, &action, nullptr);
  const itimerval often{{0, 20}, {0, 20}};
  setitimer(ITIMER_REAL, &often, nullptr);
  long result;
  do {
    result = raw_syscall(argument(args[0]));
  } while (result == -EINTR);
  say(word(result));
}

// Children that make a call and are killed by us at the same time.
void racing(char** args) {
  const long count = argument(args[0]), number = argument(args[1]);
  for (long i = 0; i < count; ++i) {
    const pid_t child = fork();
    if (child < 0) _exit(97);
    if (child == 0) {
      raw_syscall(number);
      say("the call came back");
      _exit(0);
    }
    kill(child, SIGKILL);
    if (end_of(child) != "signal KILL") say("a child lives");
  }
  say("ok " + std::to_string(count));
}

struct Verb {
  const char* name;
  int arguments;  // At least.
  void (*attempt)(char** args);
};
const Verb kVerbs[] = {
    {"call", 1, call},                          // NUMBER [ARG…]: the call and nothing else
    {"calls", 1, calls},                        // NUMBER…: each in a child, with zeroes
    {"read", 1, read_file},                     // PATH
    {"list", 1, list},                          // FOLDER
    {"walk-create", 1, walk_create},            // FOLDER: folders below that take a new file
    {"walk-write", 1, walk_write},              // FOLDER: files below that open for writing
    {"fill", 2, fill},                          // FOLDER BYTES
    {"inodes", 2, inodes},                      // FOLDER COUNT
    {"exec-copy", 1, exec_copy},                // FOLDER
    {"map-exec", 1, map_exec},                  // FOLDER
    {"identity", 0, identity},                  //
    {"descriptors", 0, descriptors},            //
    {"say", 0, say_lines},                      // TEXT…
    {"int80", 0, int80},                        //
    {"fork-bomb", 1, fork_bomb},                // COUNT
    {"thread-bomb", 1, thread_bomb},            // COUNT
    {"dump", 1, dump},                          // FOLDER
    {"clocks", 0, clocks},                      //
    {"settings", 0, settings},                  //
    {"connect-inet", 1, connect_inet},          // PORT
    {"connect-abstract", 1, connect_abstract},  // NAME
    {"interfaces", 0, interfaces},
    {"stay", 0, stay},
    {"interrupted", 1, interrupted},        // NUMBER
    {"racing", 2, racing},                  // COUNT NUMBER
    {"in-child", 1, in_child},              // VERB [ARGS…], as the following
    {"in-vfork-child", 1, in_vfork_child},  //
    {"in-grandchild", 1, in_grandchild},    //
    {"in-thread", 1, in_thread},            //
    {"in-last-thread", 1, in_last_thread},  //
    {"in-threads", 2, in_threads},          // COUNT VERB [ARGS…]
    {"hearing-no-signal", 1, hearing_no_signal},
};

void perform(char** words) {
  int count = 0;
  while (words[count] != nullptr) ++count;
  for (const Verb& verb : kVerbs)
    if (count >= 1 + verb.arguments && strcmp(words[0], verb.name) == 0)
      return verb.attempt(words + 1);
  say("no such attempt");
  _exit(64);
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 2) return 64;
  if (strcmp(argv[1], "environment") == 0) return say_lines(environ), 0;
  perform(argv + 1);
}
