// A handler that takes what it can get: each line of stdin says what, a line on stdout tells when
// it has. Lines so that any front end of the project can ask it; static, so that what it uses is
// its own doing.
#include <fcntl.h>
#include <pthread.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <iostream>
#include <sstream>
#include <string>

namespace {

constexpr size_t kMiB = 1024 * 1024;

[[noreturn]] void pause_for_ever() {
  for (;;) pause();
}

// Touched, so that it is there. Told first: endless taking leaves no time for words.
char* take_memory(size_t bytes) {
  void* const memory =
      mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) return nullptr;
  memset(memory, 1, bytes);
  return static_cast<char*>(memory);
}

void take_all_memory() {
  while (take_memory(kMiB) != nullptr) {
  }
}

// Until the disk, or the kernel, says no.
void fill(const char* path) {
  static char block[kMiB];
  memset(block, 1, sizeof block);
  const int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
  while (write(fd, block, sizeof block) > 0) {
  }
}

// Over the same megabyte again and again.
[[noreturn]] void rewrite(const char* path) {
  static char block[kMiB];
  const int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
  for (;;)
    if (pwrite(fd, block, sizeof block, 0) < 0) pause_for_ever();
}

size_t read_all(const char* path, int flags) {
  alignas(4096) static char block[64 * 1024];
  const int fd = open(path, O_RDONLY | O_CLOEXEC | flags);
  size_t total = 0;
  for (ssize_t n; (n = read(fd, block, sizeof block)) > 0;) total += static_cast<size_t>(n);
  return total;
}

// Every one of them forks on; those that may not, wait.
[[noreturn]] void fork_bomb() {
  for (;;)
    if (fork() < 0) pause_for_ever();
}

void* wait_in_thread(void*) {
  pause_for_ever();
}

// How many were had.
int start_threads(int most) {
  int had = 0;
  pthread_attr_t small;
  pthread_attr_init(&small);
  pthread_attr_setstacksize(&small, 64 * 1024);
  for (pthread_t thread; had < most; ++had)
    if (pthread_create(&thread, &small, wait_in_thread, nullptr) != 0) break;
  return had;
}

long cpu_ms() {
  timespec used{};
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &used);
  return used.tv_sec * 1000 + used.tv_nsec / 1'000'000;
}

void burn(long milliseconds) {
  for (const long end = cpu_ms() + milliseconds; cpu_ms() < end;) {
  }
}

void* burn_in_thread(void*) {
  burn(3'600'000);
  return nullptr;
}

void* take_in_thread(void* megabytes) {
  take_memory(*static_cast<size_t*>(megabytes) * kMiB);
  pause_for_ever();
}

// The first thread ends, and with it what /proc says of the process's memory.
[[noreturn]] void hide_in_thread(size_t megabytes) {
  static size_t amount = megabytes;
  pthread_t thread;
  pthread_create(&thread, nullptr, take_in_thread, &amount);
  for (;;) syscall(SYS_exit, 0);
}

// 4 KiB of page table for every 2 MiB of zeroes that are only read.
[[noreturn]] void hide_in_page_tables(size_t gibibytes) {
  constexpr size_t kPerTable = 2 * kMiB;
  for (size_t i = 0; i < gibibytes; ++i) {
    const auto* zeroes = static_cast<volatile char*>(
        mmap(nullptr, kMiB * 1024, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0));
    if (zeroes == MAP_FAILED) break;
    for (size_t at = 0; at < kMiB * 1024; at += kPerTable) (void)zeroes[at];
  }
  pause_for_ever();
}

void sleep_ms(long milliseconds) {
  usleep(static_cast<useconds_t>(milliseconds) * 1000);
}

// Its memory is its child's as well, until the child is done.
void vfork_and_wait(long milliseconds) {
  const pid_t child = vfork();
  if (child == 0) {
    sleep_ms(milliseconds);
    _exit(0);
  }
  waitpid(child, nullptr, 0);
}

void share_with_forks(int forks, long milliseconds) {
  for (int i = 0; i < forks; ++i)
    if (fork() == 0) {
      sleep_ms(milliseconds);
      _exit(0);
    }
  while (wait(nullptr) > 0) {
  }
}

std::string answer_to(std::istringstream& words) {
  std::string verb;
  std::string path;
  long amount = 0;
  long milliseconds = 0;
  int threads = 0;
  words >> verb;
  if (verb == "hello") return "hello";
  if (verb == "memory_all") take_all_memory();
  if (verb == "memory_child") {  // A child takes it all; we live to tell.
    const pid_t child = fork();
    if (child == 0) {
      take_all_memory();
      _exit(0);
    }
    int status = 0;
    waitpid(child, &status, 0);
    return WIFSIGNALED(status) ? "signal " + std::to_string(WTERMSIG(status)) : "lived";
  }
  if (verb == "fill" && words >> path) {
    fill(path.c_str());
    return "full";
  }
  if (verb == "rewrite" && words >> path) rewrite(path.c_str());
  if (verb == "read" && words >> path) return std::to_string(read_all(path.c_str(), 0));
  if (verb == "read_direct" && words >> path)
    return std::to_string(read_all(path.c_str(), O_DIRECT));
  if (verb == "fork_bomb") fork_bomb();
  if (verb == "thread_bomb") {
    start_threads(1'000'000);
    pause_for_ever();
  }
  if (verb == "threads" && words >> threads) return std::to_string(start_threads(threads));
  if (verb == "burn" && words >> milliseconds) {
    burn(milliseconds);
    return "burnt";
  }
  if (verb == "burn_on") {  // Answers, and goes on behind the answer.
    pthread_t thread;
    pthread_create(&thread, nullptr, burn_in_thread, nullptr);
    return "burning";
  }
  if (verb == "use" && words >> amount >> milliseconds >> threads) {
    char* const memory = take_memory(static_cast<size_t>(amount) * kMiB);
    start_threads(threads);
    burn(milliseconds);
    return std::to_string(memory[0]);
  }
  if (verb == "hide_in_thread" && words >> amount) hide_in_thread(static_cast<size_t>(amount));
  if (verb == "hide_in_page_tables" && words >> amount)
    hide_in_page_tables(static_cast<size_t>(amount));
  if (verb == "vfork" && words >> amount >> milliseconds) {
    take_memory(static_cast<size_t>(amount) * kMiB);
    vfork_and_wait(milliseconds);
    return "done";
  }
  if (verb == "share_with_forks" && words >> amount >> threads >> milliseconds) {
    take_memory(static_cast<size_t>(amount) * kMiB);
    share_with_forks(threads, milliseconds);
    return "done";
  }
  return "unknown: " + verb;
}

}  // namespace

int main() {
  for (std::string line; std::getline(std::cin, line);) {
    std::istringstream words(line);
    std::cout << answer_to(words) << std::endl;  // NOLINT(performance-avoid-endl): a reply.
  }
}
