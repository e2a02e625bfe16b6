// A handler that keeps things: each line of stdin says what is to stay behind its answer, a line on
// stdout tells that it does. Static, so that what it has is its own doing.
#include <fcntl.h>
#include <sys/ipc.h>
#include <sys/msg.h>
#include <sys/prctl.h>
#include <sys/sem.h>
#include <sys/shm.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <iostream>
#include <sstream>
#include <string>
#include <thread>

namespace {

[[noreturn]] void pause_for_ever() {
  for (;;) pause();
}

// A child of ours, or nobody's.
bool keep_process(bool orphan) {
  const pid_t child = fork();
  if (child == 0) {
    if (orphan && fork() > 0) _exit(0);
    pause_for_ever();
  }
  if (orphan) waitpid(child, nullptr, 0);
  return child > 0;
}

// One that never comes to rest.
bool keep_spinner() {
  const pid_t child = fork();
  if (child == 0) {
    for (volatile unsigned turns = 0;;) turns = turns + 1;
  }
  return child > 0;
}

bool keep_file(const char* name, bool open_only) {
  const int fd = open(name, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
  const bool wrote = write(fd, "kept", 4) == 4;
  if (open_only) return wrote && unlink(name) == 0;
  return close(fd) == 0 && wrote;
}

// Named to mislead whoever reads the process's line in /proc, or shows it on a terminal.
bool keep_tricky_process() {
  const pid_t child = fork();
  if (child == 0) {
    prctl(PR_SET_NAME, "a) Z 1 (\n\x1b[2J");
    pause_for_ever();
  }
  return child > 0;
}

// Deeper than any path is long.
bool keep_deep_folders() {
  for (int i = 0; i < 3000; ++i)
    if (mkdir("deep", 0700) != 0 || chdir("deep") != 0) return false;
  return chdir("/tmp") == 0;
}

bool keep(const std::string& what) {
  if (what == "nothing") return true;
  if (what == "process") return keep_process(false);
  if (what == "spinner") return keep_spinner();
  if (what == "orphan") return keep_process(true);
  if (what == "descriptor") return open("/dev/null", O_RDONLY | O_CLOEXEC) >= 0;
  if (what == "file") return keep_file("/tmp/kept-file", false);
  if (what == "tricky_file") return keep_file("/tmp/\x1b[2J\n\xff\xc0", false);
  if (what == "tricky_process") return keep_tricky_process();
  if (what == "deep_folders") return keep_deep_folders();
  if (what == "unlinked_file") return keep_file("/tmp/unlinked", true);
  if (what == "segment") return shmget(IPC_PRIVATE, 4096, IPC_CREAT | 0600) >= 0;
  if (what == "semaphores") return semget(IPC_PRIVATE, 1, IPC_CREAT | 0600) >= 0;
  if (what == "queue") return msgget(IPC_PRIVATE, IPC_CREAT | 0600) >= 0;
  return false;
}

// Everything that a call may do and undo.
bool use_and_tidy() {
  const bool wrote = keep_file("/tmp/scratch", false) && unlink("/tmp/scratch") == 0;
  const pid_t child = fork();
  if (child == 0) _exit(0);
  return wrote && child > 0 && waitpid(child, nullptr, 0) == child;
}

// A copy of our stderr; 0 or an errno.
int pass_descriptor(int through) {
  const int fd = 2;
  char byte = 'x';
  iovec data{&byte, 1};
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof fd)] = {};
  msghdr message{};
  message.msg_iov = &data;
  message.msg_iovlen = 1;
  message.msg_control = control;
  message.msg_controllen = sizeof control;
  cmsghdr* const header = CMSG_FIRSTHDR(&message);
  header->cmsg_level = SOL_SOCKET;
  header->cmsg_type = SCM_RIGHTS;
  header->cmsg_len = CMSG_LEN(sizeof fd);
  memcpy(CMSG_DATA(header), &fd, sizeof fd);
  return sendmsg(through, &message, MSG_DONTWAIT) == 1 ? 0 : errno;
}

// Through what we were given, and through a socket, where it must go.
std::string pass_descriptors() {
  int pair[2];
  if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) != 0) return "no socket to compare";
  const bool goes = pass_descriptor(pair[0]) == 0;
  close(pair[0]);
  close(pair[1]);
  if (!goes) return "not through a socket either";
  for (const int through : {0, 1, 2})
    if (pass_descriptor(through) != ENOTSOCK) return "not refused as no socket";
  return "through a socket only";
}

std::string await_signal() {
  sigset_t all;
  sigfillset(&all);
  int number = 0;
  sigwait(&all, &number);
  return "got " + std::to_string(number);
}

// Behind the answer, and behind the look at what it left: when a signal tells.
bool keep_on_signal(const std::string& what) {
  std::thread([what] {
    (void)await_signal();
    (void)keep(what);
    pause_for_ever();
  }).detach();
  return true;
}

// What an earlier call may have changed for a later one.
std::string look_around() {
  char folder[256] = "";
  (void)!getcwd(folder, sizeof folder);
  return std::string(access("/tmp/kept-file", F_OK) == 0 ? "a file" : "no file") + " in /tmp, at " +
         folder + ", " + (getenv("KEPT") != nullptr ? "a variable" : "no variable");
}

std::string answer_to(std::istringstream& words) {
  std::string verb;
  std::string what;
  words >> verb >> what;
  if (verb == "keep") return keep(what) ? "kept" : "failed";
  if (verb == "keep_on_signal") return keep_on_signal(what) ? "ready" : "failed";
  if (verb == "tidy") return use_and_tidy() ? "tidy" : "failed";
  if (verb == "pass_descriptors") return pass_descriptors();
  if (verb == "await_signal") return await_signal();
  if (verb == "look") return look_around();
  if (verb == "move") return chdir("/") == 0 && setenv("KEPT", "1", 1) == 0 ? "moved" : "failed";
  if (verb == "pid") return std::to_string(getpid());
  return "unknown: " + verb;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc > 1 && std::string(argv[1]) == "restless" && !keep_spinner()) return 1;
  // A signal is to wait until somebody asks for it.
  sigset_t all;
  sigfillset(&all);
  sigprocmask(SIG_BLOCK, &all, nullptr);
  for (std::string line; std::getline(std::cin, line);) {
    std::istringstream words(line);
    std::cout << answer_to(words) << std::endl;  // NOLINT(performance-avoid-endl): a reply.
  }
}
