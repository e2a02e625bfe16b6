// The report file: a JSON object for each invocation, appended.
//
// Whatever the lines are for, a slow reader of a pipe is not waited for. Thread-safe.
#pragma once

#include <optional>
#include <string>

#include "isolation/unique_fd.h"
#include "line_writer.h"
#include "supervisor/report.h"

namespace fnrun::tools {

class ReportFile {
 public:
  // Not open where the file cannot be written; errno says why.
  explicit ReportFile(const std::string& path);
  [[nodiscard]] bool is_open() const { return lines_.has_value(); }
  void write(const supervisor::InvocationReport& report);
  [[nodiscard]] std::size_t lost() const { return lines_->lost(); }

 private:
  isolation::UniqueFd fd_;
  std::optional<LineWriter> lines_;
};

}  // namespace fnrun::tools
