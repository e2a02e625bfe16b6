// A client as tests want one: sends whatever bytes it is told to, reads answers one by one.
//
// Blocks, nothing longer than a minute: then the read fails like a connection that ended. One
// thread for each.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

namespace fnrun::test {

struct HttpAnswer {
  unsigned status = 0;
  std::map<std::string, std::string> fields;  // Names in lower case; of two, the last.
  std::string body;
  bool keep_alive = false;

  [[nodiscard]] std::string field(const std::string& name) const;
};

class HttpClient {
 public:
  explicit HttpClient(std::uint16_t port);            // Of 127.0.0.1.
  explicit HttpClient(const std::string& unix_path);  // Of a socket in the file system.
  HttpClient(const HttpClient&) = delete;
  HttpClient& operator=(const HttpClient&) = delete;
  ~HttpClient();

  void send(std::string_view bytes);
  // A whole request with the Host and Content-Length that it needs; `fields`: lines with their end.
  void request(std::string_view method, std::string_view target, std::string_view body = "",
               std::string_view fields = "");
  // The next answer; nothing where the connection ended without one. `to_head`: it has no body.
  std::optional<HttpAnswer> answer(bool to_head = false);
  std::optional<HttpAnswer> call(std::string_view method, std::string_view target,
                                 std::string_view body = "", std::string_view fields = "");
  // The other end has closed, and nothing more came before it did.
  [[nodiscard]] bool ended();
  void close();
  // So small a window that the other end soon cannot write any more. Before the first answer.
  void receive_little();

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace fnrun::test
