// How the running service logs: lines for people, JSON lines, or journald's own records.
//
// The same records in each form, and the same text in them: made printable, and bounded, whoever
// wrote it. Writing never waits for who reads: a thread does that (line_writer.h), and what it
// could not keep up with is counted in a record of its own. Knows no levels to leave out and no
// files to turn over: the service manager has both. Thread-safe.
#pragma once

#include <sys/types.h>

#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace fnrun::tools {

// The numbers are syslog(3)'s.
enum class LogLevel : std::uint8_t { kError = 3, kWarning = 4, kNotice = 5, kInfo = 6, kDebug = 7 };

// journald finds each by a MESSAGE_ID of its own.
enum class LogKind : std::uint8_t {
  kService,      // Of the service itself.
  kInvocation,   // A call has ended.
  kHandlerLine,  // A line of a handler's stderr.
};

struct LogRecord {
  LogLevel level = LogLevel::kInfo;
  LogKind kind = LogKind::kService;
  std::string_view message{};
  std::string_view
      function{};  // "" for this and the next, 0 for numbers: not of any, or not known.
  std::string_view request_id{};
  std::uint64_t invocation = 0;
  pid_t sandbox_pid = 0;
  std::string_view outcome{};
};

enum class LogForm : std::uint8_t {
  kText,
  kJson,     // One object a line.
  kJournal,  // By journald's socket, with FNRUN_… fields.
};

// `--log auto`: kJournal where `journal_stream`, the variable JOURNAL_STREAM, says that `fd` leads
// to journald; else text on a terminal; else JSON.
[[nodiscard]] LogForm choose_log_form(int fd, std::string_view journal_stream);

inline constexpr std::size_t kLogTextMax = 8 * 1024;  // Bytes of one text, before it is escaped.

// The three forms, pure. Without line ends: a record is one line, whatever its texts hold.
//
//   fnrun-supervise: <message>                                         of the service
//   fnrun-supervise: [<function> <number>] <outcome>: <message>        of a call
//   [<function> <number>] <message>                                    of a handler
[[nodiscard]] std::string to_text(const LogRecord& record, bool colour);
// Keys, in this order; what is not known is left out: time (RFC 3339, UTC, milliseconds), level,
// kind, message, function, request_id, invocation, sandbox_pid, outcome.
[[nodiscard]] std::string to_json(const LogRecord& record,
                                  std::chrono::system_clock::time_point now);
// "NAME=value": MESSAGE, PRIORITY, MESSAGE_ID, SYSLOG_IDENTIFIER, and, where known, FNRUN_FUNCTION,
// FNRUN_REQUEST_ID, FNRUN_INVOCATION, FNRUN_SANDBOX_PID, FNRUN_OUTCOME.
[[nodiscard]] std::vector<std::string> to_journal(const LogRecord& record);

class ServiceLog {
 public:
  // `fd` is borrowed, until the process ends; kJournal does not use it.
  ServiceLog(LogForm form, int fd);
  ServiceLog(const ServiceLog&) = delete;
  ServiceLog& operator=(const ServiceLog&) = delete;
  // As LineWriter's: waits until all is written, at most a second.
  ~ServiceLog();

  // Never blocks.
  void write(const LogRecord& record);
  // Records that were not written, ever: dropped, or refused by who was to take them.
  [[nodiscard]] std::size_t lost() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace fnrun::tools
