#include "report_file.h"

#include <fcntl.h>

namespace fnrun::tools {

// O_NONBLOCK: opening a named pipe that nobody reads must fail, not wait.
ReportFile::ReportFile(const std::string& path)
    : fd_(::open(path.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NONBLOCK, 0644)) {
  if (fd_) lines_.emplace(fd_.get());
}

void ReportFile::write(const supervisor::InvocationReport& report) {
  lines_->write(supervisor::to_json(report));
}

}  // namespace fnrun::tools
