// The benchmark's handler: answers each event with its own data, by the fnrun protocol.
//
// Not an example (that is tests/handlers/greeter.cc): it trusts its peer and does the least that a
// handler can, so that what is measured is the supervisor. An event that begins with "hang" is
// never answered.
#include <stdint.h>
#include <string.h>
#include <unistd.h>

enum { kHeader = 4, kRoom = 2 * 1024 * 1024 };

static unsigned char in[kRoom];
static size_t have;

// Until `count` bytes are there. 0 at the end of the input.
static int need(size_t count) {
  while (have < count) {
    const ssize_t n = read(0, in + have, sizeof in - have);
    if (n <= 0) return 0;
    have += (size_t)n;
  }
  return 1;
}

static uint32_t length_at(const unsigned char* at) {
  return (uint32_t)at[0] << 24 | (uint32_t)at[1] << 16 | (uint32_t)at[2] << 8 | at[3];
}

// Turned into the answer where it lies: the frames differ only in the number of the field.
int main(void) {
  for (;;) {
    have = 0;
    if (!need(kHeader)) return 0;
    const size_t event = kHeader + length_at(in);
    if (!need(event + kHeader)) return 1;
    if (!need(event + kHeader + length_at(in + event))) return 1;
    const size_t look = event < 16 ? event : 16;
    for (size_t i = kHeader; i + 4 <= look; ++i)
      if (memcmp(in + i, "hang", 4) == 0) pause();
    if (event > kHeader) in[kHeader] = 0x12;  // Field 2, bytes: Result.data.
    for (size_t sent = 0; sent < event;) {
      const ssize_t n = write(1, in + sent, event - sent);
      if (n <= 0) return 1;
      sent += (size_t)n;
    }
  }
}
