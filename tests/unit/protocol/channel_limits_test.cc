// The channel under attack: deadlines that end everything, peers that hang, die, flood and chatter.
#include <boost/asio/bind_cancellation_slot.hpp>
#include <boost/asio/cancellation_signal.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <csignal>
#include <thread>

#include "channel_fixture.h"
#include "protocol/channel.h"

namespace fnrun::protocol {
namespace {

class HostilePeers : public ChannelTest {};
INSTANTIATE_TEST_SUITE_P(Over, HostilePeers, ::testing::Values(Kind::kPipes, Kind::kSockets),
                         kind_name);

TEST_P(HostilePeers, SilentPeerEndsAtTheDeadline) {
  EXPECT_EQ(frame(soon()), "[deadline]");
  EXPECT_EQ(line(soon()), "[deadline]");
}

TEST_P(HostilePeers, PeerThatNeverReadsEndsAtTheDeadline) {
  const std::string big(16 << 20, 'f');
  EXPECT_EQ(write(big, soon()), "deadline");
}

TEST_P(HostilePeers, AfterHalfAWriteEveryWriteIsRefused) {
  const std::string big(16 << 20, 'f');
  const asio::const_buffer buffer = asio::buffer(big);
  Running<ErrorOr<void>> writing(io, channel->write(std::span(&buffer, 1), far_off()));
  writing.poll();
  channel->cancel();
  EXPECT_EQ(outcome(writing.get()), "cancelled");
  EXPECT_EQ(write("x", far_off()), "cancelled");
}

TEST_P(HostilePeers, AfterTheDeadlineNothingIsReadEvenIfItIsThere) {
  ends.peer_writes(framed("late"));
  EXPECT_EQ(frame(expired()), "[deadline]");
  EXPECT_EQ(frame(far_off()), "late");  // Not a byte of it was lost.
}

TEST_P(HostilePeers, AfterTheDeadlineNothingIsWritten) {
  EXPECT_EQ(write("late", expired()), "deadline");
  EXPECT_EQ(write("new", far_off()), "ok");
  char buffer[8];
  EXPECT_EQ(::read(ends.peer_in.get(), buffer, sizeof buffer), 3);
}

TEST_P(HostilePeers, GivingUpInsideAFrameLosesTheStream) {
  ends.peer_writes(framed("hello").substr(0, 5));
  Running<ErrorOr<std::string>> reading(io, channel->read_frame(100, far_off()));
  reading.poll();
  channel->cancel();
  EXPECT_EQ(text(reading.get()), "[cancelled]");
  ends.peer_writes(framed("hello").substr(5));
  EXPECT_EQ(frame(far_off()), "[cancelled]");
}

TEST_P(HostilePeers, PeerThatDribblesDoesNotExtendTheDeadline) {
  ends.peer_writes(framed(std::string(1 << 20, 'd')).substr(0, 4));
  std::jthread dribbler([fd = ends.peer_out.get()](const std::stop_token& stop) {
    ::fcntl(fd, F_SETFL, O_NONBLOCK);
    while (!stop.stop_requested()) {
      const ssize_t ignored = ::write(fd, "d", 1);
      static_cast<void>(ignored);
      std::this_thread::yield();
    }
  });
  EXPECT_EQ(frame(soon(), 1 << 20), "[deadline]");
}

TEST_P(HostilePeers, SoonerDeadlineAfterALaterOneIsKept) {
  ends.peer_writes(framed("one"));
  Running<ErrorOr<std::string>> first(io, channel->read_frame(100, far_off()));
  EXPECT_EQ(text(first.get()), "one");
  Running<ErrorOr<std::string>> waits(io, channel->read_frame(100, far_off()));
  waits.poll();  // Now the timer is set, for long.
  ends.peer_writes(framed("two"));
  EXPECT_EQ(text(waits.get()), "two");
  EXPECT_EQ(frame(soon()), "[deadline]");
}

TEST_P(HostilePeers, TimerOfAnEarlierReadDoesNotEndALaterOne) {
  const Channel::Deadline first_deadline = soon();
  Running<ErrorOr<std::string>> first(io, channel->read_frame(100, first_deadline));
  first.poll();
  ends.peer_writes(framed("one"));
  const std::string one = text(first.get());
  if (one != "one") GTEST_SKIP() << "the machine was too slow for the first deadline";
  Running<ErrorOr<std::string>> second(io, channel->read_frame(100, far_off()));
  asio::steady_timer past(io, first_deadline + std::chrono::milliseconds(5));
  bool rang = false;
  past.async_wait([&](const boost::system::error_code&) { rang = true; });
  while (!rang) io.run_one();
  EXPECT_FALSE(second.done());
  ends.peer_writes(framed("two"));
  EXPECT_EQ(text(second.get()), "two");
}

TEST_P(HostilePeers, NoDeadlineWaits) {
  Running<ErrorOr<std::string>> reading(io, channel->read_frame(100, Channel::kNoDeadline));
  reading.poll();
  EXPECT_FALSE(reading.done());
  ends.peer_writes(framed("one"));
  EXPECT_EQ(text(reading.get()), "one");
}

TEST_P(HostilePeers, WritingToADeadPeerIsAnErrorAndNotOurDeath) {
  ASSERT_NE(std::signal(SIGPIPE, SIG_DFL), SIG_ERR);
  Ends other(kind());
  auto second =
      Channel::adopt(io.get_executor(), other.channel_in.release(), other.channel_out.release())
          .value();
  other.peer_closes();
  const asio::const_buffer buffer = asio::buffer("x", 1);
  EXPECT_EQ(outcome(run(io, second.write(std::span(&buffer, 1), far_off()))), "peer_closed");
}

TEST(Sigpipe, HandlerOfTheProgramIsLeftAlone) {
  const auto handler = [](int) {};
  ASSERT_NE(std::signal(SIGPIPE, handler), SIG_ERR);
  ignore_sigpipe();
  EXPECT_EQ(std::signal(SIGPIPE, SIG_DFL), static_cast<sighandler_t>(handler));
  ignore_sigpipe();
  EXPECT_EQ(std::signal(SIGPIPE, SIG_IGN), SIG_IGN);
}

TEST_P(HostilePeers, PeerThatDiesWhileWeWriteIsPeerClosed) {
  const std::string big(16 << 20, 'w');
  const asio::const_buffer buffer = asio::buffer(big);
  Running<ErrorOr<void>> writing(io, channel->write(std::span(&buffer, 1), far_off()));
  writing.poll();
  EXPECT_FALSE(writing.done());
  ends.peer_closes();
  EXPECT_EQ(outcome(writing.get()), "peer_closed");
}

TEST_P(HostilePeers, BadLengthsAreNamedAndFinal) {
  ends.peer_writes("\xff\xff\xff\xff");
  EXPECT_EQ(frame(far_off()), "[negative_length]");
  ends.peer_writes(framed("good"));
  EXPECT_EQ(frame(far_off()), "[negative_length]");
}

TEST_P(HostilePeers, FrameOverTheLimitIsRefusedAtItsHeader) {
  ends.peer_writes(framed(std::string(11, 'x')).substr(0, 4));
  EXPECT_EQ(frame(far_off(), 10), "[too_large]");
}

TEST_P(HostilePeers, SilenceIsNotUnsolicited) {
  EXPECT_FALSE(channel->unsolicited());
  EXPECT_EQ(write("request", far_off()), "ok");
  EXPECT_FALSE(channel->unsolicited());
  ends.peer_closes();
  EXPECT_FALSE(channel->unsolicited());
  EXPECT_EQ(frame(far_off()), "[end_of_stream]");
}

TEST_P(HostilePeers, OutputBeforeTheRequestIsUnsolicited) {
  ends.peer_writes("boo");
  EXPECT_TRUE(channel->unsolicited());
  EXPECT_TRUE(channel->unsolicited());
}

TEST_P(HostilePeers, OutputAfterTheResultIsUnsolicited) {
  ends.peer_writes(framed("result") + "x");
  EXPECT_EQ(frame(far_off()), "result");
  EXPECT_TRUE(channel->unsolicited());
}

TEST_P(HostilePeers, LookingForUnsolicitedOutputLosesNoByte) {
  ends.peer_writes(framed("answer"));
  EXPECT_TRUE(channel->unsolicited());
  EXPECT_EQ(frame(far_off()), "answer");
  EXPECT_FALSE(channel->unsolicited());
}

TEST_P(HostilePeers, CancelEndsAReadInFlight) {
  Running<ErrorOr<std::string>> reading(io, channel->read_frame(100, far_off()));
  reading.poll();
  channel->cancel();
  EXPECT_EQ(text(reading.get()), "[cancelled]");
  ends.peer_writes(framed("next"));
  EXPECT_EQ(frame(far_off()), "next");
}

TEST_P(HostilePeers, CancelEndsAWriteInFlight) {
  const std::string big(16 << 20, 'w');
  const asio::const_buffer buffer = asio::buffer(big);
  Running<ErrorOr<void>> writing(io, channel->write(std::span(&buffer, 1), far_off()));
  writing.poll();
  channel->cancel();
  EXPECT_EQ(outcome(writing.get()), "cancelled");
}

TEST_P(HostilePeers, ClosingTheWriteSideEndsAWriteInFlight) {
  const std::string big(16 << 20, 'w');
  const asio::const_buffer buffer = asio::buffer(big);
  Running<ErrorOr<void>> writing(io, channel->write(std::span(&buffer, 1), far_off()));
  writing.poll();
  channel->close_write();
  EXPECT_EQ(outcome(writing.get()), "cancelled");
}

TEST_P(HostilePeers, CancelWithNothingInFlightHasNoEffect) {
  channel->cancel();
  ends.peer_writes(framed("one"));
  EXPECT_EQ(frame(far_off()), "one");
}

TEST_P(HostilePeers, CancellationOfTheCoroutineIsAnOutcomeNotAnException) {
  asio::cancellation_signal signal;
  std::string how;
  asio::co_spawn(io, channel->read_frame(100, far_off()),
                 asio::bind_cancellation_slot(
                     signal.slot(), [&](const std::exception_ptr& thrown, ErrorOr<std::string> r) {
                       how = thrown ? "thrown" : outcome(r);
                     }));
  io.poll();
  EXPECT_EQ(how, "");
  signal.emit(asio::cancellation_type::terminal);
  while (how.empty()) {
    io.restart();
    io.run_one();
  }
  EXPECT_EQ(how, "cancelled");
}

TEST_P(HostilePeers, DestroyingAnIdleChannelLeavesNothingBehind) {
  ends.peer_writes(framed("one"));
  EXPECT_EQ(frame(far_off()), "one");
  Running<ErrorOr<std::string>> reading(io, channel->read_frame(100, far_off()));
  reading.poll();
  channel->cancel();
  EXPECT_EQ(text(reading.get()), "[cancelled]");
  channel.reset();
  io.restart();
  io.run();  // Would last until far_off() if the timer were still set.
  EXPECT_LT(std::chrono::steady_clock::now(), far_off());
}

}  // namespace
}  // namespace fnrun::protocol
