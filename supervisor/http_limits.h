// What clients of the HTTP server may take of it: connections, bytes, time.
//
// Bounds only; the server keeps to them. How many calls may run and wait is each function's own
// (service_config.h). A value; any thread.
#pragma once

#include <chrono>
#include <cstddef>

namespace fnrun::supervisor {

// Bounds are those of the config file's "limits"; service.schema.json and README.md say them again,
// and a test holds the three together.
struct HttpLimits {
  // Open at a time, 1 … 100'000. Each costs a descriptor and at most header_max of memory beside
  // its body; 1'024 of them fit any host.
  std::size_t connections_max = 1'024;
  // Bytes of a request's line and header fields, 1 KiB … 1 MiB. 16 KiB is what most HTTP servers
  // take, and twice the 8 KiB that most proxies send at the most.
  std::size_t header_max = std::size_t{16} * 1'024;
  // Bytes of all request bodies together that are being received, 1 KiB … 1 TiB. 256 MiB are 42 of
  // the largest requests under strict, 4 under compat.
  std::size_t bodies_max = std::size_t{256} * 1'024 * 1'024;
  // Each 1 ms … a day; there is no "for ever", which is what a slow client would ask for.
  // From the first byte of a request to the end of its header: one packet, for honest clients.
  std::chrono::milliseconds header_timeout{10'000};
  // For the whole body: the largest of strict at 105 KB a second, of compat at 1.1 MB.
  std::chrono::milliseconds body_timeout{60'000};
  // Between two requests of a connection: longer than the 60 s after which load balancers close it
  // from their side, so that none of them sends a request into a connection that we just closed.
  std::chrono::milliseconds idle_timeout{75'000};
  // For the client to take an answer; as body_timeout, the other way.
  std::chrono::milliseconds write_timeout{60'000};
  friend bool operator==(const HttpLimits&, const HttpLimits&) = default;
};

}  // namespace fnrun::supervisor
