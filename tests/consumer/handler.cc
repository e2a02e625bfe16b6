// A handler of somebody else's: it links what a handler needs and nothing of the supervisor.
#include "protocol/handler.h"

int main() {
  return fnrun::protocol::serve([](const auto& event, const auto&) {
    return fnrun::protocol::Result{.status = 200, .data = event.data};
  });
}
