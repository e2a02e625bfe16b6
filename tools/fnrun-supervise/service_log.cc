#include "service_log.h"

#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include <array>
#include <charconv>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <nlohmann/json.hpp>

#include "line_writer.h"
#include "supervisor/stderr_log.h"

// Where in our source a record was made is nothing to whoever runs the service.
#define SD_JOURNAL_SUPPRESS_LOCATION
#include <systemd/sd-journal.h>

namespace fnrun::tools {
namespace {

struct KindInfo {
  std::string_view name;
  std::string_view message_id;  // Never changed: filters of others name it.
};
constexpr std::array kKinds{
    KindInfo{"service", "7ba45905c49f4bc9bffdf2809490a722"},
    KindInfo{"invocation", "a177186490744e9b91ada2e5e0c547b7"},
    KindInfo{"handler_line", "27428bd1d1b3470084160e059ecb1be5"},
};
constexpr const KindInfo& info_of(LogKind kind) {
  return kKinds[static_cast<std::size_t>(kind)];
}

constexpr std::string_view name_of(LogLevel level) {
  constexpr std::array<std::string_view, 8> kNames{"",        "",       "",     "error",
                                                   "warning", "notice", "info", "debug"};
  return kNames[static_cast<std::size_t>(level)];
}

// Between the fields of a record in the queue. No text holds it once it is printable.
constexpr char kSeparator = '\0';

std::string printable(std::string_view text) {
  if (text.size() <= kLogTextMax) return supervisor::escape_for_terminal(text);
  return supervisor::escape_for_terminal(text.substr(0, kLogTextMax)) + "…";
}

// "2026-11-22T14:03:07.042Z"
std::string rfc3339(std::chrono::system_clock::time_point now) {
  using std::chrono::milliseconds;
  const auto whole = std::chrono::floor<milliseconds>(now.time_since_epoch());
  const auto seconds = std::chrono::floor<std::chrono::seconds>(whole);
  const auto since_epoch = static_cast<std::time_t>(seconds.count());
  std::tm utc{};
  ::gmtime_r(&since_epoch, &utc);
  std::array<char, 64> text{};
  const std::size_t length = std::strftime(text.data(), text.size(), "%Y-%m-%dT%H:%M:%S", &utc);
  const auto fraction = static_cast<int>((whole - seconds).count());
  std::snprintf(text.data() + length, text.size() - length, ".%03dZ", fraction);
  return text.data();
}

std::string tag(const LogRecord& record) {
  std::string tag = "[" + (record.function.empty() ? "handler" : printable(record.function));
  if (record.invocation != 0) tag += " " + std::to_string(record.invocation);
  return tag + "] ";
}

std::string text_line(LogForm form, const LogRecord& record, bool colour) {
  if (form == LogForm::kText) return to_text(record, colour);
  if (form == LogForm::kJson) return to_json(record, std::chrono::system_clock::now());
  std::string joined;
  for (const std::string& field : to_journal(record)) joined += field + kSeparator;
  return joined;
}

bool send_to_journal(std::string_view joined) {
  std::vector<iovec> fields;
  while (!joined.empty()) {
    const std::string_view field = joined.substr(0, joined.find(kSeparator));
    fields.push_back({const_cast<char*>(field.data()), field.size()});
    joined.remove_prefix(field.size() + 1);
  }
  return ::sd_journal_sendv(fields.data(), static_cast<int>(fields.size())) >= 0;
}

bool use_colour(LogForm form, int fd) {
  const char* no_color = std::getenv("NO_COLOR");  // NOLINT(concurrency-mt-unsafe): nobody sets it
  return form == LogForm::kText && (no_color == nullptr || *no_color == '\0') && ::isatty(fd) == 1;
}

}  // namespace

LogForm choose_log_form(int fd, std::string_view journal_stream) {
  struct stat info {};
  const auto colon = journal_stream.find(':');
  if (colon != std::string_view::npos && ::fstat(fd, &info) == 0 &&
      journal_stream == std::to_string(info.st_dev) + ":" + std::to_string(info.st_ino))
    return LogForm::kJournal;
  return ::isatty(fd) == 1 ? LogForm::kText : LogForm::kJson;
}

std::string to_text(const LogRecord& record, bool colour) {
  if (record.kind == LogKind::kHandlerLine) return tag(record) + printable(record.message);
  std::string line = colour ? "\x1b[1mfnrun-supervise:\x1b[0m " : "fnrun-supervise: ";
  if (record.kind == LogKind::kInvocation || !record.function.empty()) line += tag(record);
  if (!record.outcome.empty()) line += printable(record.outcome) + ": ";
  return line + printable(record.message);
}

std::string to_json(const LogRecord& record, std::chrono::system_clock::time_point now) {
  nlohmann::ordered_json line{{"time", rfc3339(now)},
                              {"level", name_of(record.level)},
                              {"kind", info_of(record.kind).name},
                              {"message", printable(record.message)}};
  if (!record.function.empty()) line["function"] = printable(record.function);
  if (!record.request_id.empty()) line["request_id"] = printable(record.request_id);
  if (record.invocation != 0) line["invocation"] = record.invocation;
  if (record.sandbox_pid != 0) line["sandbox_pid"] = record.sandbox_pid;
  if (!record.outcome.empty()) line["outcome"] = printable(record.outcome);
  return line.dump(-1, ' ', false, nlohmann::ordered_json::error_handler_t::replace);
}

std::vector<std::string> to_journal(const LogRecord& record) {
  std::vector<std::string> fields{
      "MESSAGE=" + printable(record.message),
      "PRIORITY=" + std::to_string(static_cast<int>(record.level)),
      "MESSAGE_ID=" + std::string(info_of(record.kind).message_id),
      "SYSLOG_IDENTIFIER=fnrun-supervise",
  };
  if (!record.function.empty()) fields.push_back("FNRUN_FUNCTION=" + printable(record.function));
  if (!record.request_id.empty())
    fields.push_back("FNRUN_REQUEST_ID=" + printable(record.request_id));
  if (record.invocation != 0)
    fields.push_back("FNRUN_INVOCATION=" + std::to_string(record.invocation));
  if (record.sandbox_pid != 0)
    fields.push_back("FNRUN_SANDBOX_PID=" + std::to_string(record.sandbox_pid));
  if (!record.outcome.empty()) fields.push_back("FNRUN_OUTCOME=" + printable(record.outcome));
  return fields;
}

struct ServiceLog::State {
  State(LogForm log_form, int fd)
      : form(log_form),
        colour(use_colour(log_form, fd)),
        lines(log_form == LogForm::kJournal ? send_to_journal : LineWriter::to_descriptor(fd),
              [log_form, coloured = colour](std::size_t dropped) {
                const std::string message =
                    std::to_string(dropped) + " log records dropped: nobody read them";
                return text_line(log_form, {.level = LogLevel::kWarning, .message = message},
                                 coloured);
              }) {}
  const LogForm form;
  const bool colour;
  LineWriter lines;
};

ServiceLog::ServiceLog(LogForm form, int fd) : state_(std::make_unique<State>(form, fd)) {}
ServiceLog::~ServiceLog() = default;

void ServiceLog::write(const LogRecord& record) {
  state_->lines.write(text_line(state_->form, record, state_->colour));
}

std::size_t ServiceLog::lost() const {
  return state_->lines.lost();
}

}  // namespace fnrun::tools
