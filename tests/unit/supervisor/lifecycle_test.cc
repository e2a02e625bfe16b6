// The life of a sandbox, row by row: what each operation may do when, what follows, what comes
// next.
//
// The rows are in lifecycle_*_rows.cc. `original` names the tests of the emulator's rapidcore that
// show the same behaviour, where there are any. In brackets above a row: what ours does better.
#include "supervisor/lifecycle/lifecycle.h"

#include <gmock/gmock.h>

#include <set>

#include "lifecycle_rows.h"

namespace fnrun::supervisor::lifecycle {

void PrintTo(const Row& row, std::ostream* out) {
  *out << row.name << " (" << row.operation
       << "; original: " << (row.original[0] != '\0' ? row.original : "no test") << ")";
}

namespace {

using namespace input;
using testing::ElementsAreArray;

std::vector<Row> rows() {
  std::vector<Row> all;
  for (const auto& part : {init_rows(), suppressed_rows(), reserve_rows(), answer_rows(),
                           release_rows(), reset_rows(), end_rows()})
    all.insert(all.end(), part.begin(), part.end());
  return all;
}

class Lifecycle : public testing::TestWithParam<Row> {};
INSTANTIATE_TEST_SUITE_P(, Lifecycle, testing::ValuesIn(rows()),
                         [](const auto& test) { return std::string(test.param.name); });

TEST_P(Lifecycle, Row) {
  const Row& row = GetParam();
  RecordProperty("original", row.original);
  Machine machine;
  for (const Input& one : row.before)
    ASSERT_EQ(machine.step(one).refused, kOk) << "the row's own way there: " << text_of(one);
  const Step step = machine.step(row.what);
  EXPECT_EQ(name_of(step.refused), name_of(row.refused));
  EXPECT_THAT(texts_of(step.effects), ElementsAreArray(row.effects));
  EXPECT_EQ(name_of(machine.state()), name_of(row.after));
}

TEST(LifecycleTable, HasARowForEveryOperation) {
  std::set<std::string> shown;
  for (const Row& row : rows()) shown.insert(row.operation);
  EXPECT_THAT(shown,
              testing::IsSupersetOf({"Init", "InitContext.Wait", "Server.AwaitInitialized",
                                     "Reserve", "InvokeContext.SendRequest", "InvokeContext.Wait",
                                     "Server.FastInvoke", "Server.AwaitRelease", "Release",
                                     "Reset(timeout)", "Reset(failure)", "Reset(other)", "Shutdown",
                                     "Restore", "Clear", "SendResponse", "SendInitErrorResponse"}));
}

TEST(LifecycleTable, FirstFatalErrorIsKeptUntilTheReset) {
  Machine machine;
  for (const Input& one : from::running()) EXPECT_EQ(machine.step(one).refused, kOk);
  EXPECT_FALSE(machine.first_fatal());
  EXPECT_EQ(machine.step(Deadline{}).refused, kOk);
  EXPECT_EQ(machine.step(RuntimeExited{kExit}).refused, kOk);
  EXPECT_EQ(machine.first_fatal()->type, "Sandbox.Timedout");
  EXPECT_EQ(machine.step(ResetBy{}).refused, kOk);
  EXPECT_FALSE(machine.first_fatal());
}

TEST(LifecycleTable, NoTwoProcessesHaveTheSameGeneration) {
  Machine machine;
  for (const Input& one : from::up()) EXPECT_EQ(machine.step(one).refused, kOk);
  EXPECT_EQ(machine.generation(), 1U);
  for (const Input& one : Inputs{ResetBy{}, ProcessGone{}})
    EXPECT_EQ(machine.step(one).refused, kOk);
  EXPECT_EQ(machine.generation(), 2U);
  for (const Input& one : Inputs{Reserve{"b"}, SendRequest{}})
    EXPECT_EQ(machine.step(one).refused, kOk);
  EXPECT_EQ(machine.generation(), 3U);
}

}  // namespace
}  // namespace fnrun::supervisor::lifecycle
