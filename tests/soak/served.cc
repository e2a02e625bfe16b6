#include "tests/soak/served.h"

#include <unistd.h>

#include <boost/asio/post.hpp>
#include <csignal>
#include <filesystem>
#include <fstream>

namespace fnrun::soak {
namespace {

namespace fs = std::filesystem;

// Nothing that a run of whatever length would reach: a service that hangs is ended by ctest.
constexpr std::chrono::hours kLimit{24};
constexpr std::string_view kListening = "listening on http://127.0.0.1:";

}  // namespace

Served::Served(const std::vector<std::string>& argv, boost::asio::io_context& loop,
               std::function<void()> on_end)
    : command_(argv, {}, kLimit), pid_(command_.pid()) {
  if (!command_.wait_for_stderr(kListening)) return;
  const std::string& said = command_.stderr_so_far();
  port_ = static_cast<std::uint16_t>(
      std::strtoul(said.c_str() + said.find(kListening) + kListening.size(), nullptr, 10));
  // Somebody has to read what it says, or it would have to drop it.
  end_ = std::async(std::launch::async, [this, &loop, told = std::move(on_end)] {
    test::Finished finished = command_.finish();
    boost::asio::post(loop, told);
    return finished;
  });
}

Held Served::held() const {
  const std::string proc = "/proc/" + std::to_string(pid_);
  std::ifstream statm(proc + "/statm");
  long pages = 0;
  statm >> pages >> pages;
  Held held{0, pages * (::sysconf(_SC_PAGESIZE) / 1024)};
  for (const auto& entry : fs::directory_iterator(proc + "/fd")) {
    std::error_code gone;
    const fs::path what = fs::read_symlink(entry, gone);
    if (!gone && what.filename() != "cpu.stat") ++held.descriptors;
  }
  return held;
}

void Served::terminate() const {
  ::kill(pid_, SIGTERM);
}

}  // namespace fnrun::soak
