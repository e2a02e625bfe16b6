// The messages at both ends, against what the first fnrun wrote and against each other.
#include "protocol/message.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <fstream>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "protocol/frame.h"
#include "protocol/handler_codec.h"
#include "protocol/wire.h"

namespace fnrun::protocol {
namespace {

using std::string_literals::operator""s;
using nlohmann::json;

std::string from_hex(const std::string& hex) {
  std::string bytes;
  for (std::size_t i = 0; i < hex.size(); i += 2)
    bytes.push_back(static_cast<char>(std::stoi(hex.substr(i, 2), nullptr, 16)));
  return bytes;
}

std::vector<json> vectors(const std::string& kind) {
  std::ifstream file(FNRUN_PROTOCOL_VECTORS);
  std::vector<json> found;
  for (std::string line; std::getline(file, line);) {
    json vector = json::parse(line);
    if (vector["kind"] == kind) found.push_back(std::move(vector));
  }
  return found;
}

std::string body_of(const std::string& frame) {
  FrameDecoder decoder(kFrameBodyMax);
  const auto progress = decoder.feed(frame).value();
  EXPECT_TRUE(progress.complete);
  EXPECT_EQ(progress.consumed, frame.size());
  return decoder.take();
}

std::vector<EnvVar> env_of(const json& vector) {
  std::vector<EnvVar> env;
  for (const json& variable : vector["env"]) env.push_back({variable["name"], variable["value"]});
  return env;
}

std::string handler_frame(const Result& result) {
  const auto envelope = handler_codec::encode_result(result).value();
  return envelope.head + result.data + envelope.tail;
}

template <class T>
void expect_invalid(const ErrorOr<T>& parsed) {
  ASSERT_TRUE(parsed.has_error());
  EXPECT_EQ(parsed.error().code, ErrorCode::kInvalidMessage);
}

TEST(Vectors, EventsAreReadAndWrittenAsTheFirstFnrunDid) {
  const auto all = vectors("event");
  ASSERT_EQ(all.size(), 6U);
  for (const json& vector : all) {
    SCOPED_TRACE(vector["name"]);
    const Event event{from_hex(vector["data_hex"])};
    const std::string wire = from_hex(vector["wire_hex"]);
    EXPECT_EQ(encode_event(event).value(), wire);
    EXPECT_EQ(parse_event(body_of(wire)).value(), event);
    EXPECT_EQ(handler_codec::parse_event(body_of(wire)).value(), event);
  }
}

TEST(Vectors, ExecutionContextsAreReadAndWrittenAsTheFirstFnrunDid) {
  const auto all = vectors("execution_context");
  ASSERT_EQ(all.size(), 6U);
  for (const json& vector : all) {
    SCOPED_TRACE(vector["name"]);
    ExecutionContext context;
    context.stop_time += std::chrono::seconds(vector["stop_time"]["seconds"].get<std::int64_t>());
    context.stop_time += std::chrono::nanoseconds(vector["stop_time"]["nanos"].get<std::int64_t>());
    context.env_vars = env_of(vector);
    const std::string wire = from_hex(vector["wire_hex"]);
    EXPECT_EQ(encode_execution_context(context).value(), wire);
    EXPECT_EQ(parse_execution_context(body_of(wire)).value(), context);
    EXPECT_EQ(handler_codec::parse_execution_context(body_of(wire)).value(), context);
  }
}

// The first fnrun kept variables in a map: more than one come in any order.
TEST(Vectors, ResultsAreReadAndWrittenAsTheFirstFnrunDid) {
  const auto all = vectors("result");
  ASSERT_EQ(all.size(), 7U);
  const auto by_name = [](const EnvVar& a, const EnvVar& b) { return a.name < b.name; };
  for (const json& vector : all) {
    SCOPED_TRACE(vector["name"]);
    Result result{vector["status"], from_hex(vector["data_hex"]), env_of(vector)};
    const std::string wire = from_hex(vector["wire_hex"]);
    EXPECT_EQ(encode_result(result).value().size(), wire.size());
    if (vector["name"] != "two-env") {
      EXPECT_EQ(encode_result(result).value(), wire);
      EXPECT_EQ(handler_frame(result), wire);
    }
    if (vector["name"] == "duplicate-env-last-wins") result.env = {{"A", "2"}};
    for (const std::string& frame : {wire, encode_result(result).value(), handler_frame(result)}) {
      Result parsed = parse_result(body_of(frame)).value();
      std::sort(parsed.env.begin(), parsed.env.end(), by_name);
      EXPECT_EQ(parsed, result);
    }
  }
}

TEST(Message, EventHeadAndPayloadAreWhatProtobufWrites) {
  for (const std::size_t size :
       {0UL, 1UL, 127UL, 128UL, 16'383UL, 16'384UL, 2'097'151UL, 2'097'152UL}) {
    const std::string data(size, 'd');
    const std::string wire = std::string(encode_event_head(size).value().view()) + data;
    EXPECT_EQ(parse_event(body_of(wire)).value().data, data) << size;
    EXPECT_EQ(handler_codec::parse_event(body_of(wire)).value().data, data) << size;
  }
  EXPECT_EQ(encode_event_head(0).value().view(), "\0\0\0\0"s);
}

TEST(Message, EventTooLargeForAFrameIsRefused) {
  const std::size_t overhead = 6;  // A tag, and five bytes of length.
  EXPECT_TRUE(encode_event_head(kFrameBodyMax - overhead).has_value());
  for (const std::size_t size : {kFrameBodyMax - overhead + 1, kFrameBodyMax, SIZE_MAX})
    EXPECT_EQ(encode_event_head(size).error().code, ErrorCode::kTooLarge) << size;
}

TEST(Message, BothEndsWriteTheSameResult) {
  const std::vector<Result> results{
      {0, "", {}},
      {-2147483647 - 1, std::string(200, '\0'), {}},
      {7, "data", {{"", ""}, {"A", ""}, {"", "v"}, {"B", std::string(300, 'b')}}}};
  for (const Result& result : results)
    EXPECT_EQ(handler_frame(result), encode_result(result).value());
}

TEST(Message, TimesKeepTheirNanoseconds) {
  using std::chrono::nanoseconds;
  for (const std::int64_t count : {0LL, 1LL, -1LL, 999'999'999LL, -1'000'000'000LL,
                                   -1'500'000'000LL, 4'102'444'800'000'000'001LL}) {
    ExecutionContext context;
    context.stop_time += nanoseconds(count);
    const std::string body = body_of(encode_execution_context(context).value());
    EXPECT_EQ(parse_execution_context(body).value(), context) << count;
    EXPECT_EQ(handler_codec::parse_execution_context(body).value(), context) << count;
  }
}

TEST(Message, TimeOutOfRangeOrMissingIsInvalid) {
  const auto with = [](std::uint64_t seconds, std::uint64_t nanos) {
    std::string stop;
    wire::append_number(stop, 1, seconds);
    wire::append_number(stop, 2, nanos);
    std::string body;
    wire::append_bytes(body, 1, stop);
    return body;
  };
  const std::vector<std::string> bodies{"", with(0, 1'000'000'000), with(0, ~0ULL)};
  for (const std::string& body : bodies) {
    expect_invalid(parse_execution_context(body));
    expect_invalid(handler_codec::parse_execution_context(body));
  }
  // What 64 bits of nanoseconds cannot count is long ago (Go's zero time) or never (year 9999).
  const auto year = [&](std::uint64_t seconds) {
    const auto context = parse_execution_context(with(seconds, 999'999'999)).value();
    EXPECT_EQ(context.stop_time,
              handler_codec::parse_execution_context(with(seconds, 999'999'999)).value().stop_time);
    return int(std::chrono::year_month_day(std::chrono::floor<std::chrono::days>(context.stop_time))
                   .year());
  };
  EXPECT_EQ(year(static_cast<std::uint64_t>(-62'135'596'800)), 1677);
  EXPECT_EQ(year(253'402'300'799), 2262);
  EXPECT_EQ(year(~0ULL << 63U), 1677);
  EXPECT_EQ(year(~0ULL >> 1U), 2262);
  EXPECT_TRUE(parse_execution_context("\x0a\0"s).has_value());  // 1970 itself is no absence.
  EXPECT_TRUE(handler_codec::parse_execution_context("\x0a\0"s).has_value());
}

TEST(Message, WhatIsNotProtobufIsInvalid) {
  const std::string good = body_of(encode_result({404, "x", {{"A", "1"}}}).value());
  ASSERT_TRUE(parse_result(good).has_value());
  for (const std::string& garbage : {"\0"s, "\x0c"s, "\x12"s, "\x12\x05xx"s, "\x1b"s, "\xff"s,
                                     "\x0e"s, "\x18\x80"s, "Hello, world!\n"s})
    expect_invalid(parse_result(good + garbage));
  for (std::size_t cut = 1; cut < good.size(); ++cut) {
    const auto parsed = parse_result(std::string_view(good).substr(0, cut));
    if (parsed.has_error()) expect_invalid(parsed);
  }
}

TEST(Message, UnknownFieldsAreReadOver) {
  const std::string good = body_of(encode_result({404, "x", {}}).value());
  EXPECT_EQ(parse_result(good + "\x7a\x03new"s).value().status, 404);
  EXPECT_EQ(parse_result(good + "\x7b\x08\x01\x7c"s).value().data, "x");
}

// proto3 strings are UTF-8. protobuf for C++ and for Go both refuse others when reading; Go refuses
// to write them, C++ would and complain on stderr. Here: refused both ways, at both ends.
TEST(Message, StringsThatAreNotUtf8AreInvalidBothWays) {
  const EnvVar bad_value{"A", "\xff"};
  const EnvVar bad_name{"\xc3\x28", ""};
  for (const EnvVar& bad : {bad_value, bad_name}) {
    ExecutionContext context;
    context.env_vars = {bad};
    expect_invalid(encode_execution_context(context));
    expect_invalid(encode_result({0, "", {bad}}));
    expect_invalid(handler_codec::encode_result({0, "", {bad}}));
    std::string variable;
    wire::append_bytes(variable, 1, bad.name);
    wire::append_bytes(variable, 2, bad.value);
    std::string as_result;
    wire::append_bytes(as_result, 1, variable);
    std::string as_context = "\x0a\0"s;
    wire::append_bytes(as_context, 2, variable);
    ::testing::internal::CaptureStderr();
    expect_invalid(parse_result(as_result));
    expect_invalid(parse_execution_context(as_context));
    expect_invalid(handler_codec::parse_execution_context(as_context));
    EXPECT_EQ(::testing::internal::GetCapturedStderr(), "") << "a handler can write to our log";
  }
  EXPECT_EQ(parse_result("\x12\x01\xff"s).value().data, "\xff");  // `bytes` are any bytes.
}

// Two bytes on the wire, an object in memory: without the bound 6 MiB of them are hundreds.
TEST(Message, MoreFieldsThanTheBoundAreInvalid) {
  const auto repeat = [](std::string_view piece, std::size_t count) {
    std::string out;
    for (std::size_t i = 0; i < count; ++i) out.append(piece);
    return out;
  };
  const std::string empty_variable("\x0a\0", 2);
  EXPECT_TRUE(parse_result(repeat(empty_variable, kMessageFieldsMax)).has_value());
  expect_invalid(parse_result(repeat(empty_variable, kMessageFieldsMax + 1)));
  expect_invalid(parse_result(repeat("\x20\x01", kMessageFieldsMax + 1)));
  std::string one_variable;
  wire::append_bytes(one_variable, 1, repeat("\x20\x01", kMessageFieldsMax));
  expect_invalid(parse_result(one_variable));
  std::string group = "\x2b" + repeat("\x20\x01", kMessageFieldsMax) + "\x2c";
  expect_invalid(parse_result(group));
  std::string in_time;
  wire::append_bytes(in_time, 1, repeat("\x20\x01", kMessageFieldsMax));
  expect_invalid(parse_execution_context(in_time));
  expect_invalid(handler_codec::parse_execution_context(in_time));
}

TEST(Message, LargeDataStaysWhereItCameIn) {
  const Result result{7, std::string(1'000'000, 'd'), {{"A", "1"}}};
  std::string body(body_of(encode_result(result).value()));
  const char* const where = body.data();
  const auto taken = take_result(std::move(body));
  ASSERT_TRUE(taken.has_value());
  EXPECT_EQ(*taken, result);
  EXPECT_EQ(taken->data.data(), where);
}

TEST(Message, TakenIsWhatIsParsed) {
  const std::string large(100'000, 'd');
  const std::string one(body_of(encode_result({7, large, {{"A", "1"}}}).value()));
  const std::string other(body_of(encode_result({8, large + "!", {{"A", "2"}}}).value()));
  const std::string small(body_of(encode_result({9, "small", {}}).value()));
  for (const std::string& body : {one, one + other, small + one, one + small, one + "\x7a\x03new"s,
                                  small, one + "\x12"s, one.substr(0, one.size() / 2), ""s}) {
    const auto parsed = parse_result(body);
    const auto taken = take_result(body);
    ASSERT_EQ(taken.has_value(), parsed.has_value());
    if (parsed) {
      EXPECT_EQ(*taken, *parsed);
    }
  }
  std::string many = one;
  for (std::size_t i = 0; i < kMessageFieldsMax; ++i) many += "\x20\x01";
  expect_invalid(take_result(many));
}

TEST(Message, LastOfSeveralVariablesOfAName) {
  const std::vector<EnvVar> env{{"A", "1"}, {"B", "2"}, {"A", "3"}};
  ASSERT_NE(find_env(env, "A"), nullptr);
  EXPECT_EQ(*find_env(env, "A"), "3");
  EXPECT_EQ(find_env(env, "C"), nullptr);
  const std::string body = body_of(encode_result({0, "", env}).value());
  EXPECT_EQ(parse_result(body).value().env, (std::vector<EnvVar>{{"A", "3"}, {"B", "2"}}));
}

}  // namespace
}  // namespace fnrun::protocol
