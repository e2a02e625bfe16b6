// The greeter: the smallest whole handler. Built twice, dynamic and static.
#include "protocol/handler.h"

using fnrun::protocol::Context;
using fnrun::protocol::Event;
using fnrun::protocol::Result;

int main() {
  return fnrun::protocol::serve([](const Event& event, const Context&) {
    return Result{.status = 0, .data = "Hello, " + event.data + "!", .env = {}};
  });
}
