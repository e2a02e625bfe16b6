// An application that uses each room of the installed libraries a little: enough to need its
// headers and to link its archive.
#include <cstdio>

#include "policies/policy_json.h"

int main() {
  const auto bad = fnrun::policies::parse_policy(R"({"version": 1, "no such key": 0})");
  if (bad.has_value()) return 1;
  std::printf("policies: %s\n", bad.error().to_string().c_str());
  return 0;
}
