// The table of probes is whole, and its judge says yes and no. Nothing is attempted here.
#include <gtest/gtest.h>

#include <cerrno>
#include <csignal>
#include <set>

#include "tools/fnrun-probe/judge.h"
#include "tools/fnrun-probe/probe_table.h"
#include "tools/fnrun-probe/report.h"

namespace fnrun::probe {
namespace {

constexpr Policy kPolicies[] = {Policy::kParanoid, Policy::kStrict, Policy::kCompat,
                                Policy::kNative,   Policy::kGo,     Policy::kPython,
                                Policy::kNode,     Policy::kBare};

std::vector<const Probe*> all_probes() {
  std::vector<const Probe*> all;
  for (const Family& family : probe_table())
    for (const Probe& probe : family.probes) all.push_back(&probe);
  return all;
}

Saw saw_errno(int code) {
  Saw saw;
  saw.word = Word::kBlocked;
  saw.os_errno = code;
  return saw;
}
Saw saw_signal(int signal) {
  Saw saw;
  saw.word = Word::kBlocked;
  saw.signal = signal;
  return saw;
}
Saw saw_word(Word word, long value = 0) {
  Saw saw;
  saw.word = word;
  saw.value = value;
  return saw;
}
Verdict strictly(const Saw& saw, const Expectation& promised) {
  return judge(saw, promised, Policy::kStrict);
}

TEST(ProbeTable, IsWhole) {
  const auto all = all_probes();
  EXPECT_GE(all.size(), 120U);
  std::set<std::string_view> ids;
  for (const Probe* probe : all) {
    EXPECT_TRUE(ids.insert(probe->id).second) << probe->id << " is there twice";
    EXPECT_FALSE(probe->title.empty()) << probe->id;
    EXPECT_FALSE(probe->reference.empty()) << probe->id;
    EXPECT_EQ(probe->reference.find("..."), std::string_view::npos) << probe->id;
    EXPECT_NE(probe->attempt, nullptr) << probe->id;
    for (const Policy policy : kPolicies)
      EXPECT_NE(promised_of(*probe, policy).words, 0) << probe->id << " " << name_of(policy);
  }
}

TEST(ProbeTable, HoldsTheFloor) {
  std::set<std::string_view> ids;
  for (const Probe* probe : all_probes()) ids.insert(probe->id);
  for (const char* id :
       {"N01", "N03", "N04", "N05", "N06", "N07", "N08", "N09", "N11", "N12", "N13", "N14",
        "N17", "N18", "K01", "K02", "K03", "K04", "K05", "K06", "K08", "K09", "K10", "K11",
        "K13", "K15", "K16", "K17", "K18", "K19", "K20", "K21", "K22", "K24", "K25", "P01",
        "P02", "P04", "P05", "P06", "P07", "P08", "P09", "C01", "C02", "C03", "C04", "C06",
        "C07", "F01", "F02", "F03", "F06", "F07", "F08", "F09", "F10", "F11", "F12", "F13",
        "F14", "F15", "F16", "F17", "F19", "I01", "I02", "I03", "I04", "I05", "I06", "I07",
        "I08", "R01", "R02", "R03", "R04", "R05", "R07", "R11", "R13", "S12"})
    EXPECT_EQ(ids.count(id), 1U) << id;
}

TEST(ProbeTable, PromisesSomethingOfNearlyEveryProbe) {
  // A table of "anything" would always be green.
  for (const Policy policy : {Policy::kParanoid, Policy::kStrict, Policy::kNative, Policy::kGo,
                              Policy::kPython, Policy::kNode}) {
    std::size_t judged = 0;
    for (const Probe* probe : all_probes())
      judged += promised_of(*probe, policy).words == kMay.words ? 0U : 1U;
    EXPECT_GE(judged * 100, all_probes().size() * 95) << name_of(policy);
  }
}

TEST(ProbeTable, PresetsPromiseWhatStrictDoesButForWhatTheySay) {
  using Ids = std::set<std::string_view>;
  const auto differs = [](Policy preset) {
    Ids ids;
    for (const Probe* probe : all_probes())
      if (to_string(promised_of(*probe, preset)) != to_string(promised_of(*probe, Policy::kStrict)))
        ids.insert(probe->id);
    return ids;
  };
  EXPECT_EQ(differs(Policy::kNative), (Ids{"C07", "C07b", "K11c", "K15", "K15b", "K15c"}));
  EXPECT_EQ(differs(Policy::kGo), (Ids{"K15", "K15b", "K15c"}));
  EXPECT_EQ(differs(Policy::kNode), (Ids{"C07", "C07b", "K11c"}));
  EXPECT_EQ(differs(Policy::kPython), (Ids{"C07f", "C07g", "F10c", "F11e", "K11c"}));
}

TEST(Judge, HoldsAnswersAgainstPromises) {
  EXPECT_EQ(strictly(saw_errno(EPERM), refused(EPERM)), Verdict::kHeld);
  EXPECT_EQ(strictly(saw_errno(ENOSYS), refused(EPERM)), Verdict::kBroken);
  EXPECT_EQ(strictly(saw_signal(SIGSYS), refused(EPERM)), Verdict::kBroken);
  EXPECT_EQ(strictly(saw_signal(SIGSYS), kKilled), Verdict::kHeld);
  EXPECT_EQ(strictly(saw_signal(SIGKILL), kKilled), Verdict::kHeld);
  EXPECT_EQ(strictly(saw_errno(EPERM), kKilled), Verdict::kBroken);
  EXPECT_EQ(strictly(saw_errno(EPERM), kStopped), Verdict::kHeld);
  EXPECT_EQ(strictly(saw_word(Word::kInvisible), kStopped), Verdict::kHeld);
  EXPECT_EQ(strictly(saw_errno(EPERM), kHidden), Verdict::kBroken);
  EXPECT_EQ(strictly(saw_word(Word::kLimited, 64), at_most(64)), Verdict::kHeld);
  EXPECT_EQ(strictly(saw_word(Word::kLimited, 65), at_most(64)), Verdict::kBroken);
  EXPECT_EQ(strictly(saw_word(Word::kOpen), kWorks), Verdict::kHeld);
  EXPECT_EQ(strictly(saw_word(Word::kOpen), kMay), Verdict::kHeld);
}

TEST(Judge, NoPromiseIsKeptByWhatIsOpenOrNotKnown) {
  for (const Expectation& promised : {kStopped, kKilled, kHidden, refused(EPERM), at_most(8)}) {
    EXPECT_EQ(strictly(saw_word(Word::kOpen), promised), Verdict::kBroken) << to_string(promised);
    EXPECT_EQ(strictly(saw_word(Word::kInconclusive), promised), Verdict::kBroken)
        << to_string(promised);
    EXPECT_EQ(strictly(saw_word(Word::kSkipped), promised), Verdict::kUntested)
        << to_string(promised);
  }
  EXPECT_EQ(strictly(saw_word(Word::kSkipped), kWorks), Verdict::kBroken);
  EXPECT_EQ(strictly(saw_errno(EPERM), kWorks), Verdict::kBroken);
}

TEST(Judge, WhatIsStoppedWithoutASandboxIsVacuous) {
  EXPECT_EQ(judge(saw_errno(EPERM), kMay, Policy::kBare), Verdict::kVacuous);
  EXPECT_EQ(judge(saw_word(Word::kOpen), kMay, Policy::kBare), Verdict::kHeld);
  EXPECT_EQ(judge(saw_word(Word::kInvisible), kHidden, Policy::kBare), Verdict::kHeld);
}

TEST(Judge, SeventyOfAHundredMustBeOpenWithoutASandbox) {
  std::vector<Row> rows(100);
  for (std::size_t i = 0; i < rows.size(); ++i)
    rows[i] = {nullptr, "", i < 70 ? saw_word(Word::kOpen) : saw_errno(EPERM), Verdict::kVacuous};
  EXPECT_TRUE(holds(rows, Policy::kBare, true));
  rows[0].saw = saw_errno(EPERM);
  EXPECT_FALSE(holds(rows, Policy::kBare, true));
  EXPECT_TRUE(holds(rows, Policy::kBare, false));
  EXPECT_TRUE(holds(rows, Policy::kStrict, true));
  rows[1].verdict = Verdict::kBroken;
  EXPECT_FALSE(holds(rows, Policy::kStrict, true));
}

TEST(Judge, NamesALayerOnlyWhereTheAnswerTells) {
  EXPECT_EQ(layer_of(saw_signal(SIGSYS)), "seccomp");
  EXPECT_EQ(layer_of(saw_signal(SIGKILL)), "");
  EXPECT_EQ(layer_of(saw_errno(EROFS)), "mounts");
  EXPECT_EQ(layer_of(saw_errno(EPERM)), "");
  EXPECT_EQ(layer_of(saw_word(Word::kOpen)), "");
  EXPECT_EQ(to_string(saw_signal(SIGSYS)), "blocked(SIGSYS, seccomp)");
  EXPECT_EQ(to_string(saw_errno(EPERM)), "blocked(EPERM)");
  EXPECT_EQ(to_string(saw_word(Word::kLimited, 64)), "limited(64)");
}

TEST(ProbeReport, ShowsNoControlCharacters) {
  const Probe probe{"X01", "title", "reference", nullptr, everywhere(kStopped)};
  Report report;
  report.expected = Policy::kStrict;
  report.rows.push_back({&probe, "family", saw_word(Word::kOpen), Verdict::kBroken});
  std::snprintf(report.rows[0].saw.detail, sizeof report.rows[0].saw.detail, "a\x1b[2Jb\n");
  const std::string table = to_table(report, false);
  EXPECT_EQ(table.find('\x1b'), std::string::npos);
  EXPECT_NE(table.find("promised: blocked or invisible; why: reference"), std::string::npos);
  EXPECT_EQ(to_json(report).find('\x1b'), std::string::npos);
}

}  // namespace
}  // namespace fnrun::probe
