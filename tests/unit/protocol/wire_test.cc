// The wire format by hand: numbers at their edges, UTF-8, groups, and what is no field at all.
#include "protocol/wire.h"

#include <gtest/gtest.h>

#include <string>

namespace fnrun::protocol::wire {
namespace {

using std::string_literals::operator""s;

bool reads(std::string_view bytes) {
  Reader reader(bytes);
  Field field;
  while (reader.next(field)) continue;
  return !reader.malformed();
}

TEST(Wire, VarintsTakeSevenBitsAByte) {
  const auto varint = [](std::uint64_t value) {
    std::string out;
    append_varint(out, value);
    return out;
  };
  EXPECT_EQ(varint(0), "\0"s);
  EXPECT_EQ(varint(127), "\x7f");
  EXPECT_EQ(varint(128), "\x80\x01");
  EXPECT_EQ(varint(300), "\xac\x02");
  EXPECT_EQ(varint(~0ULL), "\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01");
}

TEST(Wire, WhatIsWrittenIsRead) {
  std::string bytes;
  append_number(bytes, 3, ~0ULL);
  append_number(bytes, 4, 0);  // Nothing.
  append_bytes(bytes, 2, "abc");
  append_bytes(bytes, 5, "");  // Nothing.
  Reader reader(bytes);
  Field field;
  ASSERT_TRUE(reader.next(field));
  EXPECT_EQ(field.number, 3U);
  EXPECT_EQ(field.varint, ~0ULL);
  ASSERT_TRUE(reader.next(field));
  EXPECT_EQ(field.number, 2U);
  EXPECT_EQ(field.bytes, "abc");
  EXPECT_FALSE(reader.next(field));
  EXPECT_FALSE(reader.malformed());
}

TEST(Wire, Utf8IsWhatUnicodeSaysItIs) {
  for (const std::string_view good : {"", "plain", "GR\xc3\x9c\xe1\xba\x9e\x45", "\xed\x9f\xbf",
                                      "\xee\x80\x80", "\xf0\x90\x80\x80", "\xf4\x8f\xbf\xbf"})
    EXPECT_TRUE(is_utf8(good)) << good;
  EXPECT_TRUE(is_utf8("\0"s));
  for (const std::string_view bad :
       {"\x80", "\xc0\x80", "\xc1\xbf", "\xe0\x9f\xbf", "\xed\xa0\x80", "\xf0\x8f\xbf\xbf",
        "\xf4\x90\x80\x80", "\xf5\x80\x80\x80", "\xff", "\xc3", "\xe1\xba", "\xf0\x90\x80",
        "a\xc3(", "\xe1\xba("})
    EXPECT_FALSE(is_utf8(bad)) << ::testing::PrintToString(bad);
}

TEST(Wire, WhatIsNoFieldIsMalformed) {
  EXPECT_TRUE(reads(""));
  EXPECT_FALSE(reads("\0"s));                                               // Field number 0.
  EXPECT_FALSE(reads("\x0a"));                                              // No length.
  EXPECT_FALSE(reads("\x0a\x05hell"));                                      // Short.
  EXPECT_FALSE(reads("\x0e"));                                              // Type 6.
  EXPECT_FALSE(reads("\x0f"));                                              // Type 7.
  EXPECT_FALSE(reads("\x0d\x01\x02\x03"));                                  // Short fixed32.
  EXPECT_FALSE(reads("\x09\x01\x02\x03\x04\x05\x06\x07"));                  // Short fixed64.
  EXPECT_FALSE(reads("\x0a\xff\xff\xff\xff\x0f"));                          // 4 GiB.
  EXPECT_FALSE(reads("\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"));  // Eleven bytes.
  EXPECT_FALSE(reads("\x88\x80\x80\x80\x80\x00\x01"s));                     // A tag of six bytes.
}

TEST(Wire, GroupsAreSkippedWhole) {
  EXPECT_TRUE(reads("\x0b\x08\x01\x0c"));  // {1: 1}
  EXPECT_TRUE(reads("\x0b\x13\x14\x0c"));  // One in another.
  EXPECT_FALSE(reads("\x0b\x08\x01"));     // Never ends.
  EXPECT_FALSE(reads("\x0b\x14"));         // Ends another.
  EXPECT_FALSE(reads("\x0c"));             // Ends none.
  Reader reader("\x0b\x08\x01\x08\x01\x0c\x10\x05");
  Field field;
  ASSERT_TRUE(reader.next(field));
  EXPECT_EQ(field.number, 2U);
  EXPECT_EQ(reader.fields_seen(), 5U);
}

TEST(Wire, NestingIsBoundedAndTakesNoStack) {
  const auto nested = [](std::size_t depth) {
    return std::string(depth, '\x0b') + std::string(depth, '\x0c');
  };
  EXPECT_TRUE(reads(nested(100)));
  EXPECT_FALSE(reads(nested(101)));
  EXPECT_FALSE(reads(nested(1'000'000)));
}

}  // namespace
}  // namespace fnrun::protocol::wire
