// Hostile stderr: nothing forges a line or steers a terminal, memory and rate are bounded, and how
// the bytes arrive makes no difference. The clock is the test's own.
#include "supervisor/stderr_log.h"

#include <gmock/gmock.h>

#include <random>
#include <string>
#include <vector>

namespace fnrun::supervisor {
namespace {

using namespace std::string_literals;
using namespace std::chrono_literals;
using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::SizeIs;
using Lines = std::vector<std::string>;

constexpr StderrLog::TimePoint kStart{1h};

// A log and what it said.
struct Said {
  explicit Said(StderrLog::Limits limits = {}) : log(limits) {}
  void feed(std::string_view bytes, StderrLog::TimePoint now = kStart) {
    log.feed(bytes, now, sink);
  }
  void finish(StderrLog::TimePoint now = kStart) { log.finish(now, sink); }

  Lines lines;
  StderrLog::Sink sink = [this](std::string_view line) { lines.emplace_back(line); };
  StderrLog log;
};

Lines lines_of(std::string_view bytes, StderrLog::Limits limits = {}) {
  Said said(limits);
  said.feed(bytes);
  said.finish();
  return said.lines;
}

TEST(EscapeForTerminal, LeavesWhatIsSafe) {
  for (const std::string& text :
       {""s, "plain"s, "tab\there"s, "back\\slash"s, "caf\u00e9 \u65e5\u672c \U0001f600"s,
        "\u00a0\u2027\u202f\u2065\u206a\ufffd\ue000\U0010ffff"s})
    EXPECT_EQ(escape_for_terminal(text), text);
}

TEST(EscapeForTerminal, WritesInWordsWhatIsNot) {
  const std::pair<std::string, const char*> rows[] = {
      {"\x1b[31m", "\\x1b[31m"},
      {"a\0b"s, "a\\x00b"},
      {"\n\r\b\a\x7f", "\\x0a\\x0d\\x08\\x07\\x7f"},
      {"\u0080\u009b\u009f", "\\u0080\\u009b\\u009f"},
      {"\u2028\u2029", "\\u2028\\u2029"},
      {"\u202a\u202b\u202c\u202d\u202e", "\\u202a\\u202b\\u202c\\u202d\\u202e"},
      {"\u2066\u2067\u2068\u2069", "\\u2066\\u2067\\u2068\\u2069"},
  };
  for (const auto& [text, escaped] : rows) EXPECT_EQ(escape_for_terminal(text), escaped);
}

TEST(EscapeForTerminal, BytesThatAreNotUtf8AreNamedOneByOne) {
  const std::pair<std::string, const char*> rows[] = {
      {"\x80", "\\x80"},           // Continues nothing.
      {"\x9b[2J", "\\x9b[2J"},     // CSI as terminals without UTF-8 read it.
      {"\xc0\xaf", "\\xc0\\xaf"},  // Overlong.
      {"\xc1\xbf", "\\xc1\\xbf"},
      {"\xe0\x80\x9b", "\\xe0\\x80\\x9b"},
      {"\xf0\x80\x80\x8a", "\\xf0\\x80\\x80\\x8a"},
      {"\xed\xa0\x80", "\\xed\\xa0\\x80"},           // A surrogate.
      {"\xf4\x90\x80\x80", "\\xf4\\x90\\x80\\x80"},  // Beyond U+10FFFF.
      {"\xf5\xff\xfe", "\\xf5\\xff\\xfe"},
      {"\xe2\x82", "\\xe2\\x82"},    // Unfinished.
      {"\xe2\x82z", "\\xe2\\x82z"},  // What follows is not swallowed.
      {"\xe2\x1b[m", "\\xe2\\x1b[m"},
      {"\xf0\x9f\x98", "\\xf0\\x9f\\x98"},
  };
  for (const auto& [text, escaped] : rows) EXPECT_EQ(escape_for_terminal(text), escaped);
}

TEST(EscapeForTerminal, EveryCodePointIsKeptOrNamed) {
  for (char32_t code = 1; code < 0x3000; ++code) {
    std::string text;
    if (code < 0x80) {
      text = {static_cast<char>(code)};
    } else if (code < 0x800) {
      text = {static_cast<char>(0xc0 | (code >> 6)), static_cast<char>(0x80 | (code & 0x3f))};
    } else {
      text = {static_cast<char>(0xe0 | (code >> 12)),
              static_cast<char>(0x80 | ((code >> 6) & 0x3f)),
              static_cast<char>(0x80 | (code & 0x3f))};
    }
    const bool unsafe = (code < 0x20 && code != '\t') || (code >= 0x7f && code < 0xa0) ||
                        (code >= 0x2028 && code <= 0x202e) || (code >= 0x2066 && code <= 0x2069);
    EXPECT_EQ(escape_for_terminal(text) != text, unsafe) << static_cast<unsigned>(code);
  }
}

TEST(StderrLog, SplitsAtLineFeedsAndKeepsEmptyLines) {
  EXPECT_THAT(lines_of("a\n\nb\n"), ElementsAre("a", "", "b"));
  EXPECT_THAT(lines_of(""), IsEmpty());
}

TEST(StderrLog, UnfinishedLastLineIsSaidOnceAtTheEnd) {
  Said said;
  said.feed("first\nlast");
  EXPECT_THAT(said.lines, ElementsAre("first"));
  said.finish();
  said.finish();
  EXPECT_THAT(said.lines, ElementsAre("first", "last"));
  EXPECT_EQ(said.log.emitted(), 2U);
}

TEST(StderrLog, GoesOnAfterFinish) {
  Said said;
  said.feed("one");
  said.finish();
  said.feed("two\n");
  EXPECT_THAT(said.lines, ElementsAre("one", "two"));
}

TEST(StderrLog, LineCannotForgeAnother) {
  for (const std::string& line : lines_of("x\r[INFO] fnrun: ok\n\x1b[1A\u2028root\v\f\u0085\n"))
    EXPECT_EQ(line.find_first_of("\r\n\v\f\x1b"), std::string::npos) << line;
}

TEST(StderrLog, CannotSayWhatOnlyTheLogSays) {
  EXPECT_THAT(lines_of("\u2026 9 lines dropped\n"), ElementsAre("\\u2026 9 lines dropped"));
  EXPECT_THAT(lines_of("Loading\u2026\n"), ElementsAre("Loading\u2026"));
}

TEST(StderrLog, LineOfExactlyTheLimitIsWholeAndOneMoreIsCut) {
  const StderrLog::Limits limits{.line_max = 8};
  EXPECT_THAT(lines_of("12345678\n", limits), ElementsAre("12345678"));
  EXPECT_THAT(lines_of("123456789\n", limits), ElementsAre("12345678\u2026 (1 bytes cut)"));
  EXPECT_THAT(lines_of("123456789\nnext\n", limits),
              ElementsAre("12345678\u2026 (1 bytes cut)", "next"));
}

TEST(StderrLog, CutFallsBetweenCharacters) {
  const StderrLog::Limits limits{.line_max = 4};
  // U+20AC takes 3 bytes, of which 1 or 2 would fit.
  EXPECT_THAT(lines_of("abc\u20ac\n", limits), ElementsAre("abc\u2026 (3 bytes cut)"));
  EXPECT_THAT(lines_of("ab\u20acd\n", limits), ElementsAre("ab\u2026 (4 bytes cut)"));
  EXPECT_THAT(lines_of("a\u20acd\n", limits), ElementsAre("a\u20ac\u2026 (1 bytes cut)"));
  EXPECT_THAT(lines_of("\U0001f600!\n", limits), ElementsAre("\U0001f600\u2026 (1 bytes cut)"));
  // Without a cut it is the handler's own half, and shown.
  EXPECT_THAT(lines_of("ab\xe2\x82\n", limits), ElementsAre("ab\\xe2\\x82"));
}

TEST(StderrLog, EndlessLineIsCountedAndNotKept) {
  Said said({.line_max = 64});
  const std::string block(1 << 20, 'x');
  for (int i = 0; i < 64; ++i) said.feed(block);
  EXPECT_THAT(said.lines, IsEmpty());
  said.finish();
  EXPECT_THAT(said.lines, ElementsAre(std::string(64, 'x') + "\u2026 (" +
                                      std::to_string((64 << 20) - 64) + " bytes cut)"));
}

TEST(StderrLog, EscapedLineIsAtMostFourTimesTheLimitAndAMarker) {
  const Lines lines = lines_of(std::string(1'000'000, '\x1b'), {.line_max = 100});
  ASSERT_THAT(lines, SizeIs(1));
  EXPECT_LE(lines[0].size(), 400U + 40U);
}

TEST(StderrLog, LinesOverTheRateAreDroppedAndSaidWhenTheWindowReopens) {
  Said said({.lines_per_second_max = 2});
  said.feed("a\nb\nc\nd\ne\n");
  EXPECT_THAT(said.lines, ElementsAre("a", "b"));
  said.feed("f\n", kStart + 999ms);
  EXPECT_THAT(said.lines, SizeIs(2));
  said.feed("g\n", kStart + 1s);
  EXPECT_THAT(said.lines, ElementsAre("a", "b", "\u2026 4 lines dropped", "g"));
  EXPECT_EQ(said.log.emitted(), 3U);
  EXPECT_EQ(said.log.dropped(), 4U);
}

TEST(StderrLog, DroppedLinesAreSaidWithoutAnyMoreBytes) {
  Said said({.lines_per_second_max = 1});
  said.feed("a\nb\n");
  said.feed("", kStart + 500ms);
  EXPECT_THAT(said.lines, ElementsAre("a"));
  said.feed("", kStart + 1s);
  EXPECT_THAT(said.lines, ElementsAre("a", "\u2026 1 line dropped"));
  said.feed("", kStart + 5s);
  EXPECT_THAT(said.lines, SizeIs(2));
}

TEST(StderrLog, DroppedLinesAreSaidAtTheEnd) {
  EXPECT_THAT(lines_of("a\nb\nc", {.lines_per_second_max = 1}),
              ElementsAre("a", "\u2026 2 lines dropped"));
  EXPECT_THAT(lines_of("a\nb\n", {.lines_per_second_max = 0}),
              ElementsAre("\u2026 2 lines dropped"));
}

TEST(StderrLog, FinishInALaterWindowStillTakesTheLastWords) {
  Said said({.lines_per_second_max = 1});
  said.feed("a\nb\nlast words");
  said.finish(kStart + 2s);
  EXPECT_THAT(said.lines, ElementsAre("a", "\u2026 1 line dropped", "last words"));
}

TEST(StderrLog, WindowOpensWithItsFirstLineNotWithItsFirstBytes) {
  Said said({.lines_per_second_max = 1});
  said.feed("slow ");
  said.feed("line\n", kStart + 900ms);
  said.feed("dropped\n", kStart + 1800ms);
  said.feed("next\n", kStart + 1900ms);
  EXPECT_THAT(said.lines, ElementsAre("slow line", "\u2026 1 line dropped", "next"));
}

TEST(StderrLog, FloodSaysNoMoreThanRateAndSummaries) {
  Said said({.line_max = 64, .lines_per_second_max = 10});
  const std::string flood(10'000, '\n');
  for (int i = 0; i < 50; ++i) said.feed(flood, kStart + i * 100ms);  // 5 seconds.
  said.finish(kStart + 5s);
  EXPECT_LE(said.lines.size(), 5U * 11U);
  EXPECT_EQ(said.log.emitted() + said.log.dropped(), 500'000U);
}

TEST(StderrLog, ClockThatStandsOrStepsBackIsTheSameWindow) {
  Said said({.lines_per_second_max = 1});
  said.feed("a\n");
  said.feed("b\n", kStart - 10s);
  EXPECT_THAT(said.lines, ElementsAre("a"));
}

TEST(StderrLog, HowTheBytesArriveMakesNoDifference) {
  std::mt19937 random(7);  // NOLINT(cert-msc51-cpp): the same inputs each time, on purpose.
  const std::string alphabet = "ab\n\n\r\t\x1b\0\x7f\x80\x9b\xc2\xe2\x80\xa6\xae\xf0\x9f\x98\xff "s;
  for (int round = 0; round < 500; ++round) {
    std::string bytes;
    while (bytes.size() < 60) bytes += alphabet[random() % alphabet.size()];
    const StderrLog::Limits limits{.line_max = 1 + random() % 12,
                                   .lines_per_second_max = random() % 6};
    const Lines whole = lines_of(bytes, limits);
    for (std::size_t step = 1; step < 8; ++step) {
      Said said(limits);
      for (std::size_t at = 0; at < bytes.size(); at += step)
        said.feed(std::string_view(bytes).substr(at, step));
      said.finish();
      ASSERT_EQ(said.lines, whole) << "round " << round << ", pieces of " << step;
    }
  }
}

}  // namespace
}  // namespace fnrun::supervisor
