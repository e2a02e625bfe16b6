// The channel in peace: frames, lines and bytes over pipes and sockets, in whatever pieces.
#include "protocol/channel.h"

#include <sys/stat.h>

#include <thread>
#include <vector>

#include "channel_fixture.h"

namespace fnrun::protocol {
namespace {

class Channels : public ChannelTest {};
INSTANTIATE_TEST_SUITE_P(Over, Channels, ::testing::Values(Kind::kPipes, Kind::kSockets),
                         kind_name);

TEST_P(Channels, FrameArrivesWhateverTheCut) {
  const std::string stream = framed("hello");
  for (std::size_t cut = 0; cut <= stream.size(); ++cut) {
    Running<ErrorOr<std::string>> reading(io, channel->read_frame(100, far_off()));
    ends.peer_writes(stream.substr(0, cut));
    reading.poll();
    ASSERT_EQ(reading.done(), cut == stream.size());
    ends.peer_writes(stream.substr(cut));
    ASSERT_EQ(text(reading.get()), "hello");
    ASSERT_FALSE(channel->unsolicited());
  }
}

TEST_P(Channels, FramesThatCameTogetherAreReadOneByOne) {
  ends.peer_writes(framed("one") + framed("") + framed("three"));
  EXPECT_EQ(frame(far_off()), "one");
  EXPECT_EQ(frame(far_off()), "");
  EXPECT_EQ(frame(far_off()), "three");
  EXPECT_FALSE(channel->unsolicited());
}

TEST_P(Channels, EndOfStreamIsCleanOnlyBetweenFrames) {
  ends.peer_writes(framed("one"));
  ends.peer_closes();
  EXPECT_EQ(frame(far_off()), "one");
  EXPECT_EQ(frame(far_off()), "[end_of_stream]");
  EXPECT_EQ(frame(far_off()), "[end_of_stream]");
}

TEST_P(Channels, EndOfStreamInsideAFrameIsTruncated) {
  ends.peer_writes(framed("hello").substr(0, 6));
  ends.peer_closes();
  EXPECT_EQ(frame(far_off()), "[truncated]");
  EXPECT_EQ(frame(far_off()), "[truncated]");
}

TEST_P(Channels, PeerThatDiesWithOurRequestUnreadIsEndOfStream) {
  EXPECT_EQ(write("never read", far_off()), "ok");
  ends.peer_closes();
  EXPECT_EQ(frame(far_off()), "[end_of_stream]");
}

TEST_P(Channels, ScatterWriteArrivesInOrderAndWhole) {
  const std::string big(8 << 20, 'b');
  std::vector<std::string> small;
  for (int i = 0; i < 40; ++i) small.push_back(std::to_string(i));
  std::string expected = "head" + big;
  std::vector<asio::const_buffer> buffers{asio::buffer("head", 4), {}, asio::buffer(big)};
  for (const std::string& one : small) {
    buffers.push_back(asio::buffer(one));
    expected += one;
  }
  std::string received;
  std::thread reader([&] {
    std::vector<char> buffer(100'000);
    for (ssize_t n = 1; n > 0 && received.size() < expected.size();) {
      n = ::read(ends.peer_in.get(), buffer.data(), buffer.size());
      if (n > 0) received.append(buffer.data(), static_cast<std::size_t>(n));
    }
  });
  EXPECT_EQ(outcome(run(io, channel->write(buffers, far_off()))), "ok");
  reader.join();
  EXPECT_TRUE(received == expected);
}

TEST_P(Channels, LargeFrameArrivesWhole) {
  const std::string body(5'000'000, 'x');
  const std::string stream = framed(body);
  std::thread writer([&] {
    for (std::size_t sent = 0; sent < stream.size();) {
      const ssize_t n = ::write(ends.peer_out.get(), stream.data() + sent, stream.size() - sent);
      if (n <= 0) return;
      sent += static_cast<std::size_t>(n);
    }
  });
  EXPECT_TRUE(frame(far_off(), body.size()) == body);
  writer.join();
}

TEST_P(Channels, ReaderAndWriterMayBothBeUnderWay) {
  const std::string big(4 << 20, 'w');
  const asio::const_buffer buffer = asio::buffer(big);
  Running<ErrorOr<std::string>> reading(io, channel->read_frame(100, far_off()));
  Running<ErrorOr<void>> writing(io, channel->write(std::span(&buffer, 1), soon()));
  EXPECT_EQ(outcome(writing.get()), "deadline");  // Nobody reads it; the reader is not disturbed.
  EXPECT_FALSE(reading.done());
  ends.peer_writes(framed("answer"));
  EXPECT_EQ(text(reading.get()), "answer");
}

TEST_P(Channels, LinesComeWithoutTheirEnd) {
  ends.peer_writes("first\n\nthird\r\nla");
  EXPECT_EQ(line(far_off()), "first");
  EXPECT_EQ(line(far_off()), "");
  EXPECT_EQ(line(far_off()), "third\r");
  ends.peer_writes("st");
  ends.peer_closes();
  EXPECT_EQ(line(far_off()), "last");
  EXPECT_EQ(line(far_off()), "[end_of_stream]");
}

TEST_P(Channels, LineMayBeAsLongAsTheLimitAndNoLonger) {
  ends.peer_writes("12345\n123456\n");
  EXPECT_EQ(line(far_off(), 5), "12345");
  EXPECT_EQ(line(far_off(), 5), "[too_large]");
  EXPECT_EQ(line(far_off(), 100), "[too_large]");  // The place in the stream is lost.
}

TEST_P(Channels, WholeInputIsReadUpToTheLimit) {
  ends.peer_writes("all of it");
  ends.peer_closes();
  EXPECT_EQ(text(run(io, channel->read_to_end(9, far_off()))), "all of it");
  EXPECT_EQ(text(run(io, channel->read_to_end(9, far_off()))), "");
}

TEST_P(Channels, WholeInputOverTheLimitIsRefused) {
  ends.peer_writes("all of it");
  ends.peer_closes();
  EXPECT_EQ(text(run(io, channel->read_to_end(8, far_off()))), "[too_large]");
}

TEST_P(Channels, SomeIsWhatIsThere) {
  ends.peer_writes("abcdef");
  EXPECT_EQ(text(run(io, channel->read_some(4, far_off()))), "abcd");
  EXPECT_EQ(text(run(io, channel->read_some(4, far_off()))), "ef");
  ends.peer_closes();
  EXPECT_EQ(text(run(io, channel->read_some(4, far_off()))), "[end_of_stream]");
}

TEST_P(Channels, ClosedWriteSideIsThePeersEndOfInput) {
  EXPECT_EQ(write("x", far_off()), "ok");
  channel->close_write();
  char buffer[8];
  EXPECT_EQ(::read(ends.peer_in.get(), buffer, sizeof buffer), 1);
  EXPECT_EQ(::read(ends.peer_in.get(), buffer, sizeof buffer), 0);
  EXPECT_EQ(write("x", far_off()), "peer_closed");
  ends.peer_writes(framed("still"));
  EXPECT_EQ(frame(far_off()), "still");
}

TEST_P(Channels, DrainedIsWhatThePeerHasRead) {
  EXPECT_EQ(outcome(run(io, channel->drain(far_off()))), "ok") << "nothing was written";
  EXPECT_EQ(write("abc", far_off()), "ok");
  Running<ErrorOr<void>> drained(io, channel->drain(far_off()));
  char buffer[2];
  EXPECT_EQ(::read(ends.peer_in.get(), buffer, sizeof buffer), 2);
  drained.poll();
  EXPECT_FALSE(drained.done()) << "one byte is left";
  EXPECT_EQ(::read(ends.peer_in.get(), buffer, sizeof buffer), 1);
  EXPECT_EQ(outcome(drained.get()), "ok");
}

TEST_P(Channels, DrainEndsWithItsDeadlineThePeerOrTheCaller) {
  EXPECT_EQ(write("abc", far_off()), "ok");
  EXPECT_EQ(outcome(run(io, channel->drain(soon()))), "deadline");
  Running<ErrorOr<void>> drained(io, channel->drain(far_off()));
  drained.poll();
  channel->cancel();
  EXPECT_EQ(outcome(drained.get()), "cancelled");
  ends.peer_closes();
  EXPECT_EQ(outcome(run(io, channel->drain(far_off()))), "peer_closed");
}

TEST_P(Channels, DescriptorsGetTheirModeBackAndAreClosed) {
  Ends other(kind());
  const int in = other.channel_in.release();
  const int shared = ::dup(in);
  {
    auto second = Channel::adopt(io.get_executor(), in, other.channel_out.release()).value();
    EXPECT_NE(::fcntl(shared, F_GETFL) & O_NONBLOCK, 0);
  }
  EXPECT_EQ(::fcntl(shared, F_GETFL) & O_NONBLOCK, 0);
  EXPECT_EQ(::fcntl(in, F_GETFD), -1);
  ::close(shared);
}

TEST(Channel, PipesGrow) {
  asio::io_context io;
  Ends ends(Kind::kPipes);
  const int out = ends.channel_out.get();
  const auto channel =
      Channel::adopt(io.get_executor(), ends.channel_in.release(), ends.channel_out.release());
  ASSERT_TRUE(channel.has_value());
  EXPECT_GE(::fcntl(out, F_GETPIPE_SZ), 64 * 1024);
}

TEST(Channel, DirectionThatIsNotWantedIsAtItsEnd) {
  asio::io_context io;
  auto channel = Channel::adopt(io.get_executor(), Channel::kNoFd, Channel::kNoFd).value();
  EXPECT_EQ(outcome(run(io, channel.read_line(10, far_off()))), "end_of_stream");
  const asio::const_buffer buffer = asio::buffer("x", 1);
  EXPECT_EQ(outcome(run(io, channel.write(std::span(&buffer, 1), far_off()))), "peer_closed");
  EXPECT_FALSE(channel.unsolicited());
  channel.close_write();
  channel.cancel();
}

TEST(Channel, DescriptorThatIsNotOpenIsAnErrorAndTheOtherIsClosed) {
  asio::io_context io;
  Ends ends(Kind::kPipes);
  const int out = ends.channel_out.release();
  const int closed = ends.channel_in.get();
  ends.channel_in.close();
  const auto channel = Channel::adopt(io.get_executor(), closed, out);
  ASSERT_TRUE(channel.has_error());
  EXPECT_EQ(channel.error().code, ErrorCode::kIo);
  EXPECT_EQ(::fcntl(out, F_GETFD), -1);
}

// epoll refuses regular files and /dev/null: a command's stdin and stdout are often just that.
TEST(Channel, FilesAreReadAndWritten) {
  asio::io_context io;
  std::string path = ::testing::TempDir() + "fnrun-channel-XXXXXX";
  const Fd file(::mkstemp(path.data()));
  ASSERT_GE(file.get(), 0);
  ASSERT_EQ(::unlink(path.c_str()), 0);
  {
    auto writer = Channel::adopt(io.get_executor(), Channel::kNoFd, ::dup(file.get())).value();
    const std::array buffers{asio::buffer("line\n", 5), asio::buffer("rest", 4)};
    EXPECT_EQ(outcome(run(io, writer.write(buffers, far_off()))), "ok");
  }
  ASSERT_EQ(::lseek(file.get(), 0, SEEK_SET), 0);
  auto reader = Channel::adopt(io.get_executor(), ::dup(file.get()), Channel::kNoFd).value();
  EXPECT_FALSE(reader.unsolicited());
  EXPECT_EQ(run(io, reader.read_line(100, far_off())).value(), "line");
  EXPECT_EQ(run(io, reader.read_to_end(100, far_off())).value(), "rest");
  EXPECT_EQ(outcome(run(io, reader.read_line(100, expired()))), "deadline");
}

TEST(Channel, DevNullIsEmptyAndSwallows) {
  asio::io_context io;
  auto channel = Channel::adopt(io.get_executor(), ::open("/dev/null", O_RDONLY | O_CLOEXEC),
                                ::open("/dev/null", O_WRONLY | O_CLOEXEC))
                     .value();
  EXPECT_EQ(run(io, channel.read_to_end(100, far_off())).value(), "");
  const asio::const_buffer buffer = asio::buffer("x", 1);
  EXPECT_EQ(outcome(run(io, channel.write(std::span(&buffer, 1), far_off()))), "ok");
}

}  // namespace
}  // namespace fnrun::protocol
