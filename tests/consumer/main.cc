// An application that uses each room of the installed libraries a little: enough to need its
// headers and to link its archives.
#include <cstdio>

#include "policies/policy_json.h"
#include "protocol/channel.h"
#include "protocol/message.h"

int main() {
  const auto bad = fnrun::policies::parse_policy(R"({"no such key": 0})");
  if (bad.has_value()) return 1;
  std::printf("policies: %s\n", bad.error().to_string().c_str());

  const auto frame = fnrun::protocol::encode_event({.data = "x"});
  if (!frame.has_value() || fnrun::protocol::parse_event("\xff").has_value()) return 1;
  std::printf("protocol: an event in a frame of %zu bytes\n", frame->size());
  return 0;
}
