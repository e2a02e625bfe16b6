// The handler of the process tests: does what its first argument says. Static, without sanitizers,
// so that it runs in an empty root and under the narrowest profile.
//
//   exit N        signal N       echo (stdin to stdout)      say TEXT...   environment
//   descriptors   (the open ones)     pause   tree   flee     trace (forbidden)
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

extern char** environ;

namespace {

void say(const char* text) {
  if (write(1, text, strlen(text)) < 0) _exit(99);
}

[[noreturn]] void pause_for_ever() {
  for (;;) pause();
}

// Every kind of descendant that ordinary ways of killing miss. Each says a letter once it is what
// it wants to be; then the handler itself says ".".
void grow_tree() {
  const char* const kinds = "sigod";  // session, ignoring, group, orphan, stopped ("down")
  for (const char* kind = kinds; *kind != '\0'; ++kind) {
    int ready[2];
    if (pipe(ready) != 0) _exit(98);
    const pid_t child = fork();
    if (child < 0) _exit(97);
    if (child > 0) {
      char byte;
      close(ready[1]);
      if (read(ready[0], &byte, 1) != 1) _exit(96);
      close(ready[0]);
      if (*kind == 'd') {  // Stopping is asynchronous: wait until it is.
        int status = 0;
        kill(child, SIGSTOP);
        waitpid(child, &status, WUNTRACED);
        if (!WIFSTOPPED(status)) _exit(95);
      }
      continue;
    }
    if (*kind == 's') setsid();  // EPERM under strict; the tree does not depend on it.
    if (*kind == 'g') setpgid(0, 0);
    if (*kind == 'i')
      for (int signal = 1; signal <= 64; ++signal) ::signal(signal, SIG_IGN);
    if (*kind == 'o' && fork() > 0) _exit(0);
    if (write(1, kind, 1) != 1) _exit(92);
    if (write(ready[1], "r", 1) != 1) _exit(94);
    close(ready[0]);
    close(ready[1]);
    pause_for_ever();
  }
  say(".");
  pause_for_ever();
}

// For the killing of supervisors: children that detach and stay, in the middle of being made.
[[noreturn]] void flee() {
  for (int i = 0; i < 8; ++i) {
    if (fork() != 0) continue;
    setsid();
    if (fork() > 0) _exit(0);
    pause_for_ever();
  }
  pause_for_ever();
}

void echo() {
  char buffer[4096];
  for (ssize_t n; (n = read(0, buffer, sizeof buffer)) > 0;)
    if (write(1, buffer, static_cast<size_t>(n)) != n) _exit(93);
}

void list_descriptors() {
  for (int fd = 0; fd < 1024; ++fd)
    if (fcntl(fd, F_GETFD) >= 0) printf("%d ", fd);
}

}  // namespace

int main(int argc, char** argv) {
  const char* what = argc > 1 ? argv[1] : "";
  const int number = argc > 2 ? atoi(argv[2]) : 0;
  if (strcmp(what, "exit") == 0) return number;
  if (strcmp(what, "signal") == 0) return kill(getpid(), number);
  if (strcmp(what, "trace") == 0) return ptrace(PTRACE_TRACEME, 0, nullptr, nullptr) == 0 ? 0 : 1;
  if (strcmp(what, "echo") == 0) return echo(), 0;
  if (strcmp(what, "pause") == 0) say("."), pause_for_ever();
  if (strcmp(what, "tree") == 0) grow_tree();
  if (strcmp(what, "flee") == 0) flee();
  if (strcmp(what, "descriptors") == 0) return list_descriptors(), 0;
  if (strcmp(what, "environment") == 0)
    for (char** variable = environ; *variable != nullptr; ++variable) puts(*variable);
  if (strcmp(what, "say") == 0)
    for (int i = 2; i < argc; ++i) fprintf(stderr, "%s\n", argv[i]);
  return 0;
}
