// A handler that does what C programs do: each event names a job, the answer is its result.
//
// What goes wrong is answered as "failed: …", so that a test sees what a policy refuses. The jobs
// from `read` on are those that no policy lets a handler do. Static, and nothing but libc.
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { kMiB = 1 << 20, kThreads = 8, kTextMax = 4096 };

static char answer[kTextMax];

static void say(const char* text) {
  snprintf(answer, sizeof answer, "%s", text);
}
static void say_number(unsigned long number) {
  snprintf(answer, sizeof answer, "%lu", number);
}
static void fail(const char* what) {
  snprintf(answer, sizeof answer, "failed: %s: %s", what, strerrorname_np(errno));
}

// The same number in every language of this folder.
static void* work(void* seed) {
  uint32_t value = (uint32_t)(uintptr_t)seed;
  for (int i = 0; i < 100000; ++i) value = (value * 1103515245U + 12345U) & 0x7fffffffU;
  return (void*)(uintptr_t)value;
}

static void threads(void) {
  pthread_t running[kThreads];
  for (uintptr_t i = 0; i < kThreads; ++i)
    if ((errno = pthread_create(&running[i], NULL, work, (void*)(i + 1))) != 0)
      return fail("pthread_create");
  unsigned long sum = 0;
  for (int i = 0; i < kThreads; ++i) {
    void* value = NULL;
    pthread_join(running[i], &value);
    sum += (uintptr_t)value;
  }
  say_number(sum);
}

static void files(void) {
  char folder[] = "/tmp/workerXXXXXX";
  if (mkdtemp(folder) == NULL || chdir(folder) != 0) return fail("mkdtemp");
  static char block[kMiB];
  struct stat info;
  const int fd = open("a", O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
  if (write(fd, block, sizeof block) != kMiB || close(fd) != 0) return fail("write");
  if (rename("a", "b") != 0 || link("b", "c") != 0 || symlink("b", "d") != 0) return fail("rename");
  if (stat("d", &info) != 0) return fail("stat");
  if (unlink("b") != 0 || unlink("c") != 0 || unlink("d") != 0 || chdir("/tmp") != 0 ||
      rmdir(folder) != 0)
    return fail("unlink");
  say_number((unsigned long)info.st_size);
}

static void memory(void) {
  volatile char* taken = malloc(200UL * kMiB);
  if (taken == NULL) return fail("malloc");
  unsigned long sum = 0;
  for (size_t at = 0; at < 200UL * kMiB; at += 4096) sum += (unsigned long)(taken[at] = 1);
  free((void*)taken);
  say_number(sum * 4096 / kMiB);
}

// About 6 of the 8 MiB that the stack may have.
static int deeper(int left) {
  volatile char frame[1024];
  frame[0] = (char)left;
  return left == 0 ? 0 : 1 + deeper(left - 1) + (frame[0] == (char)left ? 0 : 1);
}
static void recursion(void) {
  say_number((unsigned long)deeper(5500));
}

static sigjmp_buf back;
static void jump(int signal) {
  siglongjmp(back, signal);
}
// A fault on a stack of its own for signals, and a timer that interrupts.
static void signals(void) {
  static char alternate[65536];
  const stack_t stack = {.ss_sp = alternate, .ss_size = sizeof alternate};
  struct sigaction caught = {.sa_handler = jump, .sa_flags = SA_ONSTACK};
  if (sigaltstack(&stack, NULL) != 0) return fail("sigaltstack");
  sigaction(SIGSEGV, &caught, NULL);
  if (sigsetjmp(back, 1) == 0) *(volatile int*)8 = 1;
  sigaction(SIGALRM, &caught, NULL);
  timer_t timer;
  if (timer_create(CLOCK_MONOTONIC, &(struct sigevent){.sigev_signo = SIGALRM}, &timer) != 0)
    return fail("timer_create");
  const struct itimerspec soon = {.it_value = {.tv_nsec = 10000000}};
  int seen = sigsetjmp(back, 1);
  if (seen == 0) {
    timer_settime(timer, 0, &soon, NULL);
    for (;;) pause();
  }
  timer_delete(timer);
  say(seen == SIGALRM ? "fault and timer" : "failed");
}

static void subprocess(void) {
  int ends[2];
  if (pipe2(ends, O_CLOEXEC) != 0) return fail("pipe2");
  const pid_t child = fork();
  if (child < 0) return fail("fork");
  if (child == 0) {
    dup2(ends[1], 1);
    execl("/bin/sh", "sh", "-c", "echo hello | tr a-z A-Z", (char*)NULL);
    _exit(127);
  }
  close(ends[1]);
  FILE* said = fdopen(ends[0], "r");
  if (fgets(answer, sizeof answer, said) == NULL) say("failed: nothing was said");
  answer[strcspn(answer, "\n")] = '\0';
  fclose(said);
  waitpid(child, NULL, 0);
}

static void read_file(const char* path) {
  const int fd = open(path, O_RDONLY | O_CLOEXEC);
  if (fd < 0) return fail("open");
  const ssize_t size = read(fd, answer, sizeof answer - 1);
  if (size < 0) return fail("read");
  answer[size] = '\0';
  answer[strcspn(answer, "\n")] = '\0';
  close(fd);
}

static void write_file(const char* path) {
  const int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
  if (fd < 0) return fail("open");
  const ssize_t size = write(fd, "written", 7);
  if (size < 0) return fail("write");
  say_number((unsigned long)size);
  close(fd);
}

static void connect_to(const char* port) {
  const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (fd < 0) return fail("socket");
  const struct sockaddr_in address = {.sin_family = AF_INET,
                                      .sin_port = htons((uint16_t)atoi(port)),
                                      .sin_addr = {htonl(INADDR_LOOPBACK)}};
  if (connect(fd, (const struct sockaddr*)&address, sizeof address) != 0)
    fail("connect");
  else
    say("connected");
  close(fd);
}

static void trace(void) {
  if (ptrace(PTRACE_TRACEME, 0, NULL, NULL) != 0) return fail("ptrace");
  say("0");
}

static void do_job(char* event) {
  static const struct {
    const char* name;
    void (*run)(void);
    void (*run_with)(const char*);
  } kJobs[] = {
      {"threads", threads, NULL},     {"files", files, NULL},      {"memory", memory, NULL},
      {"recursion", recursion, NULL}, {"signals", signals, NULL},  {"subprocess", subprocess, NULL},
      {"read", NULL, read_file},      {"write", NULL, write_file}, {"connect", NULL, connect_to},
      {"ptrace", trace, NULL},
  };
  const char* job = strtok(event, " ");
  const char* argument = strtok(NULL, " ");
  for (size_t i = 0; job != NULL && i < sizeof kJobs / sizeof kJobs[0]; ++i) {
    if (strcmp(job, kJobs[i].name) != 0) continue;
    if (kJobs[i].run != NULL) return kJobs[i].run();
    if (argument != NULL) return kJobs[i].run_with(argument);
  }
  say("failed: unknown");
}

// ---- The protocol; greeter.py explains it. Events and answers here are short: one byte of length.

static void take(void* into, size_t size) {
  for (size_t got = 0; got < size;) {
    const ssize_t n = read(0, (char*)into + got, size - got);
    if (n <= 0) exit(n == 0 ? 0 : 1);
    got += (size_t)n;
  }
}

static size_t take_frame(unsigned char* into, size_t room) {
  uint32_t size;
  take(&size, sizeof size);
  size = ntohl(size);
  if (size >= room) exit(1);
  take(into, size);
  into[size] = '\0';
  return size;
}

static void put_result(void) {
  unsigned char frame[6 + 127] = {0, 0, 0, 0, 0x12};
  const size_t size = strnlen(answer, 127);
  frame[3] = (unsigned char)(2 + size);
  frame[5] = (unsigned char)size;
  memcpy(frame + 6, answer, size);
  if (write(1, frame, 6 + size) != (ssize_t)(6 + size)) exit(1);
}

int main(void) {
  static unsigned char event[kTextMax], context[1 << 16];
  for (;;) {
    take_frame(event, sizeof event);
    take_frame(context, sizeof context);
    do_job((char*)event + 2);
    put_result();
  }
}
