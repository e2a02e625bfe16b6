// What the command says to people, on stderr, as long as it serves one stream.
//
// The service has a log instead (service_log.h). Thread-safe.
#pragma once

#include <string_view>

#include "line_writer.h"

namespace fnrun::tools {

// stderr is a terminal, and nobody asked for plain text (no-color.org).
[[nodiscard]] bool use_colour();

class Voice {
 public:
  void say(std::string_view line) { lines_.write(line); }
  void complain(std::string_view message);

 private:
  bool colour_ = use_colour();
  LineWriter lines_{2};
};

}  // namespace fnrun::tools
