// A handler of one caller among many: each event says what becomes of it, and which call it is.
//
// The event: "VERB NONCE MICROSECONDS\n" and a payload. The answer: "NONCE SIZE SUM", with the
// payload's size and FNV-1a sum, so that a caller knows its own answer from everybody else's. An
// answer that nobody is entitled to begins with "stolen". Static, frames by hand.
#include <fcntl.h>

#include <cinttypes>
#include <cstdio>
#include <cstdlib>

#include "frames.h"

namespace {

struct Asked {
  std::string verb;
  std::string nonce;
  useconds_t delay = 0;
  std::string payload;
};

Asked parse(const std::string& event) {
  char verb[32] = "";
  char nonce[32] = "";
  unsigned delay = 0;
  int head = 0;
  if (std::sscanf(event.c_str(), "%31s %31s %u%n", verb, nonce, &delay, &head) != 3) _exit(kBroken);
  return {verb, nonce, delay, event.substr(static_cast<size_t>(head) + 1)};
}

std::string answer_to(const Asked& asked) {
  std::uint64_t sum = 0xcbf29ce484222325;
  for (const char byte : asked.payload)
    sum = (sum ^ static_cast<unsigned char>(byte)) * 0x100000001b3;
  char text[96];
  std::snprintf(text, sizeof text, "%s %zu %016" PRIx64, asked.nonce.c_str(), asked.payload.size(),
                sum);
  return text;
}

// Each of them speaks for this call after its time.
[[noreturn]] void answer_from_the_background(const Asked& asked) {
  usleep(asked.delay);
  put(1, result("stolen " + answer_to(asked)));
  pause_for_ever();
}
[[noreturn]] void read_from_the_background() {
  for (;;) put(1, result("stolen " + answer_to(parse(data_of(take_request().event)))));
}

// Until somebody opens the named pipe for writing.
void meet() {
  const int fd = open("/data/meet", O_RDONLY | O_CLOEXEC);
  if (fd < 0) _exit(kBroken);
  close(fd);
}

void serve(const Asked& asked) {
  const std::string& verb = asked.verb;
  if (verb == "crash") abort();
  if (verb == "leave") _exit(3);
  if (verb == "hang") pause_for_ever();
  if (verb == "garbage") return put(1, length(3) + "\x12\x7F\xFF");
  if (verb == "negative") return put(1, length(0xFFFFFFFF) + "x");
  if (verb == "text") return put(1, "This is no protocol.\n");
  if (verb == "half") {
    put(1, result(answer_to(asked)).substr(0, 7));
    _exit(0);
  }
  if (verb == "twice") return put(1, result(answer_to(asked)) + result("stolen"));
  if (verb == "meet") meet();
  if (verb == "late") usleep(asked.delay);
  put(1, result(answer_to(asked)));
  if (verb == "again") {
    usleep(asked.delay);
    put(1, result("stolen " + answer_to(asked)));
  }
  if (verb == "answerer" && fork() == 0) answer_from_the_background(asked);
  if (verb == "reader" && fork() == 0) read_from_the_background();
}

}  // namespace

int main() {
  for (;;) serve(parse(data_of(take_request().event)));
}
