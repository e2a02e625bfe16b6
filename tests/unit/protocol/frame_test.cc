// The frame codec on friendly and hostile bytes: every cut, every bad length, bounded memory.
#include "protocol/frame.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <random>
#include <string>
#include <vector>

#include "allocation_watch.h"

namespace fnrun::protocol {
namespace {

constexpr std::size_t kMax = 6 * 1024 * 1024;

std::string framed(std::string_view body) {
  const FrameHeader header = encode_frame_header(body.size()).value();
  return std::string(header.data(), header.size()).append(body);
}

// What a reader does with a stream that arrives in these pieces.
std::vector<std::string> decode(const std::vector<std::string_view>& pieces) {
  FrameDecoder decoder(kMax);
  std::vector<std::string> bodies;
  for (std::string_view piece : pieces) {
    do {
      const auto progress = decoder.feed(piece).value();
      piece.remove_prefix(progress.consumed);
      if (progress.complete) bodies.push_back(decoder.take());
    } while (!piece.empty());
  }
  EXPECT_TRUE(decoder.idle());
  return bodies;
}

TEST(Frame, LengthIsFourBytesBigEndian) {
  EXPECT_EQ(encode_frame_header(0).value(), (FrameHeader{0, 0, 0, 0}));
  EXPECT_EQ(encode_frame_header(0x01020304).value(), (FrameHeader{1, 2, 3, 4}));
  EXPECT_EQ(encode_frame_header(0x7fffffff).value(), (FrameHeader{0x7f, '\xff', '\xff', '\xff'}));
}

TEST(Frame, LengthThatTheHeaderCannotSayIsRefused) {
  EXPECT_EQ(encode_frame_header(0x80000000).error().code, ErrorCode::kTooLarge);
  EXPECT_EQ(encode_frame_header(SIZE_MAX).error().code, ErrorCode::kTooLarge);
}

TEST(Frame, EveryCutInThreeGivesTheSameFrames) {
  const std::vector<std::string> bodies{"", "a", "", "hello", std::string(40, 'x')};
  std::string stream;
  for (const auto& body : bodies) stream += framed(body);
  const std::string_view all = stream;
  for (std::size_t i = 0; i <= all.size(); ++i)
    for (std::size_t j = i; j <= all.size(); ++j)
      ASSERT_EQ(decode({all.substr(0, i), all.substr(i, j - i), all.substr(j)}), bodies)
          << i << ' ' << j;
}

TEST(Frame, BytesOneByOneGiveTheSameFrames) {
  const std::vector<std::string> bodies{"", "hello", "", std::string(300, 'y')};
  std::string stream;
  for (const auto& body : bodies) stream += framed(body);
  std::vector<std::string_view> pieces;
  for (std::size_t i = 0; i < stream.size(); ++i)
    pieces.push_back(std::string_view(stream).substr(i, 1));
  EXPECT_EQ(decode(pieces), bodies);
}

TEST(Frame, RandomCutsOfLargeFramesGiveTheSameFrames) {
  std::mt19937 random(1);  // NOLINT(cert-msc51-cpp): the same cuts each time.
  for (int round = 0; round < 20; ++round) {
    std::vector<std::string> bodies;
    std::string stream;
    for (int i = 0; i < 4; ++i) {
      bodies.emplace_back(random() % 300'000, static_cast<char>(random()));
      stream += framed(bodies.back());
    }
    std::vector<std::string_view> pieces;
    for (std::size_t at = 0; at < stream.size();) {
      const std::size_t size = 1 + random() % 70'000;
      pieces.push_back(std::string_view(stream).substr(at, size));
      at += pieces.back().size();
    }
    ASSERT_EQ(decode(pieces), bodies);
  }
}

TEST(Frame, NegativeLengthIsRefusedBeforeAllocation) {
  for (const std::string_view header :
       {"\xff\xff\xff\xff", "\x80\x00\x00\x00", "\x80\x00\x00\x05"}) {
    FrameDecoder decoder(kMax);
    largest_allocation = 0;
    const auto fed = decoder.feed(std::span(header.data(), 4));
    ASSERT_TRUE(fed.has_error());
    EXPECT_EQ(fed.error().code, ErrorCode::kNegativeLength);
    EXPECT_LT(largest_allocation, 256U);  // The text of the error.
  }
}

TEST(Frame, LengthOneOverTheLimitIsRefusedBeforeAllocation) {
  const std::string at_limit = framed(std::string(100, 'z'));
  const std::string over = framed(std::string(101, 'z'));
  FrameDecoder accepts(100);
  EXPECT_TRUE(accepts.feed(at_limit).value().complete);
  FrameDecoder refuses(100);
  largest_allocation = 0;
  const auto fed = refuses.feed(std::span(over).first(4));
  ASSERT_TRUE(fed.has_error());
  EXPECT_EQ(fed.error().code, ErrorCode::kTooLarge);
  EXPECT_LT(largest_allocation, 256U);
}

TEST(Frame, PromiseOfTwoGibibytesCostsOnlyWhatWasSent) {
  FrameDecoder decoder(SIZE_MAX);
  largest_allocation = 0;
  const std::string header = "\x7f\xff\xff\xff";
  ASSERT_FALSE(decoder.feed(header).value().complete);
  EXPECT_LE(decoder.capacity(), 15U);  // What an empty string has in itself.
  const std::string chunk(1000, 'c');
  for (std::size_t received = chunk.size(); received <= 3'000'000; received += chunk.size()) {
    ASSERT_FALSE(decoder.feed(chunk).value().complete);
    ASSERT_LE(decoder.capacity(), std::max<std::size_t>(4096, 2 * received));
  }
  EXPECT_LE(largest_allocation, 6'000'001U);
}

TEST(Frame, CapacityNeverPassesThePromise) {
  for (const std::size_t size : {1UL, 100UL, 5000UL, 8191UL, 100'000UL}) {
    FrameDecoder decoder(kMax);
    const std::string stream = framed(std::string(size, 'p'));
    for (const char& byte : stream) {
      static_cast<void>(decoder.feed(std::span(&byte, 1)).value());
      ASSERT_LE(decoder.capacity(), std::max<std::size_t>(30, size));
    }
    EXPECT_EQ(decoder.take().size(), size);
  }
}

TEST(Frame, WhatIsKnownToWaitGetsItsRoomAtOnceAndNeverMoreThanPromised) {
  const std::string body(100'000, 'w');
  const std::string stream = framed(body);
  for (const std::size_t waiting : {0UL, 50'000UL, 99'990UL, SIZE_MAX}) {
    FrameDecoder decoder(kMax);
    decoder.expect(waiting);  // Before the header nothing is promised.
    EXPECT_LE(decoder.capacity(), 15U);
    ASSERT_FALSE(decoder.feed(std::span(stream).first(14)).value().complete);
    decoder.expect(waiting);
    EXPECT_GE(decoder.capacity(), std::min(body.size(), std::min(waiting, body.size()) + 10));
    EXPECT_LE(decoder.capacity(), body.size());
    ASSERT_TRUE(decoder.feed(std::span(stream).subspan(14)).value().complete);
    EXPECT_EQ(decoder.take(), body);
  }
}

TEST(Frame, AfterAnErrorEveryFeedIsTheSameError) {
  FrameDecoder decoder(10);
  const std::string good = framed("good");
  ASSERT_TRUE(decoder.feed(framed(std::string(11, 'b'))).has_error());
  EXPECT_EQ(decoder.feed(good).error().code, ErrorCode::kTooLarge);
  EXPECT_EQ(decoder.end_of_input().code, ErrorCode::kTooLarge);
  EXPECT_FALSE(decoder.idle());
}

TEST(Frame, EndOfInputIsCleanOnlyBetweenFrames) {
  const std::string stream = framed("hello");
  for (std::size_t size = 0; size < stream.size(); ++size) {
    FrameDecoder decoder(kMax);
    static_cast<void>(decoder.feed(std::span(stream).first(size)).value());
    EXPECT_EQ(decoder.idle(), size == 0);
    EXPECT_EQ(decoder.end_of_input().code,
              size == 0 ? ErrorCode::kEndOfStream : ErrorCode::kTruncated);
  }
  FrameDecoder decoder(kMax);
  ASSERT_TRUE(decoder.feed(stream).value().complete);
  static_cast<void>(decoder.take());
  EXPECT_EQ(decoder.end_of_input().code, ErrorCode::kEndOfStream);
}

TEST(Frame, CompleteFrameTakesNothingOfTheNext) {
  FrameDecoder decoder(kMax);
  const std::string stream = framed("one") + framed("two");
  EXPECT_EQ(decoder.feed(stream).value().consumed, 7U);
  EXPECT_EQ(decoder.feed(std::span(stream).subspan(7)).value().consumed, 0U);
  EXPECT_EQ(decoder.take(), "one");
}

TEST(Errors, EveryCodeHasANameAndATextForPeople) {
  for (int i = 0; i <= static_cast<int>(ErrorCode::kIo); ++i)
    EXPECT_STRNE(name_of(static_cast<ErrorCode>(i)), "?");
  EXPECT_EQ((ProtocolError{ErrorCode::kDeadline, ""}).to_string(), "deadline");
  EXPECT_EQ((ProtocolError{ErrorCode::kIo, "why"}).to_string(), "io: why");
  const ErrorOr<int> failed = ProtocolError{ErrorCode::kTooLarge, "why"};
  EXPECT_THROW(static_cast<void>(failed.value()), std::runtime_error);
}

}  // namespace
}  // namespace fnrun::protocol
