// What the process says of itself, held against what the test knows of it.
#include "supervisor/http/process_use.h"

#include <gmock/gmock.h>

#include <cstdio>
#include <ctime>
#include <memory>

namespace fnrun::supervisor::http {
namespace {

TEST(ProcessUse, CountsItsDescriptors) {
  const auto before = process_use();
  ASSERT_TRUE(before.open_fds);
  const std::unique_ptr<std::FILE, int (*)(std::FILE*)> file(std::tmpfile(), &std::fclose);
  ASSERT_TRUE(file);
  EXPECT_EQ(process_use().open_fds, *before.open_fds + 1);
}

TEST(ProcessUse, HasMemoryAndTime) {
  const auto use = process_use();
  EXPECT_GT(use.cpu_seconds, 0);
  ASSERT_TRUE(use.resident_bytes);
  EXPECT_GT(*use.resident_bytes, 1U << 20U);
}

TEST(ProcessUse, BeganBeforeNow) {
  const auto began = process_start_time();
  ASSERT_TRUE(began);
  const auto now = static_cast<double>(std::time(nullptr));
  EXPECT_LE(*began, now + 1);
  EXPECT_GT(*began, now - 24.0 * 3600);
}

}  // namespace
}  // namespace fnrun::supervisor::http
