// What the front end reads and writes as text: targets, addresses, ids, names, base64.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <set>

#include "supervisor/duration_text.h"
#include "supervisor/http/base64.h"
#include "supervisor/http/lambda_answer.h"
#include "supervisor/http/lambda_api.h"
#include "supervisor/http/listen.h"
#include "supervisor/http/request_id.h"
#include "supervisor/http/target.h"

namespace fnrun::supervisor::http {
namespace {

using std::chrono::milliseconds;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::MatchesRegex;

const char* no_variable(const char*) {
  return nullptr;
}

std::string address_of(std::string_view text, const char* port = nullptr) {
  const auto parsed = parse_listen_address(
      text, [&](const char* name) { return std::string_view(name) == "PORT" ? port : nullptr; });
  if (const auto* fault = std::get_if<ListenFault>(&parsed)) return fault->message;
  const auto& address = std::get<ListenAddress>(parsed);
  if (!address.path.empty()) return "path " + address.path;
  return address.host + " " + std::to_string(address.port) + (address.is_public() ? " public" : "");
}

TEST(ListenAddress, IsTheLoopbackUnlessItSaysOtherwise) {
  EXPECT_EQ(address_of("8080"), "127.0.0.1 8080");
  EXPECT_EQ(address_of("localhost:1"), "127.0.0.1 1");
  EXPECT_EQ(address_of("127.0.0.1:0"), "127.0.0.1 0");
  EXPECT_EQ(address_of("127.1.2.3:9"), "127.1.2.3 9");
  EXPECT_EQ(address_of("[::1]:65535"), "::1 65535");
  EXPECT_EQ(address_of("unix:/run/a b.sock"), "path /run/a b.sock");
  EXPECT_EQ(address_of(":8080"), ":: 8080 public");
  EXPECT_EQ(address_of("0.0.0.0:80"), "0.0.0.0 80 public");
  EXPECT_EQ(address_of("192.0.2.1:80"), "192.0.2.1 80 public");
}

TEST(ListenAddress, TakesItsPortFromTheVariableThatKnativeSets) {
  EXPECT_EQ(address_of(":$PORT", "9000"), ":: 9000 public");
  EXPECT_EQ(address_of(":$PORT"), ":: 8080 public");
  EXPECT_EQ(address_of("$PORT", ""), "127.0.0.1 8080");
  EXPECT_THAT(address_of(":$PORT", "many"), HasSubstr("no address with a port"));
}

TEST(ListenAddress, RefusesWhatIsNone) {
  for (const char* text :
       {"", ":", "a", "65536", "-1", "80 ", "host:80", "::1:80:", "[127.0.0.1]:80", "[::1]",
        "127.0.0.1", "unix:relative", "unix:", "http://127.0.0.1:80"})
    EXPECT_THAT(address_of(text), HasSubstr("cannot listen on")) << text;
  EXPECT_THAT(std::get<ListenFault>(parse_listen_address("example.com:80", no_variable)).message,
              HasSubstr("'example.com' is no IP address; write 8080"));
}

TEST(Target, IsTakenApartAndDecoded) {
  const auto target =
      parse_target("/2015-03-31/functions/a%3Ab%2Fc/invocations?Qualifier=%24LATEST&x");
  ASSERT_TRUE(target);
  EXPECT_THAT(target->path, ElementsAre("2015-03-31", "functions", "a:b/c", "invocations"));
  ASSERT_NE(target->parameter("Qualifier"), nullptr);
  EXPECT_EQ(*target->parameter("Qualifier"), "$LATEST");
  EXPECT_NE(target->parameter("x"), nullptr);
  EXPECT_EQ(target->parameter("y"), nullptr);
  EXPECT_TRUE(parse_target("/")->path.empty());
  EXPECT_THAT(parse_target("/a/")->path, ElementsAre("a", ""));
}

TEST(Target, OfAnotherFormOrTooManyPartsIsNone) {
  for (const char* text : {"", "a", "*", "http://a/b", "/%", "/%zz", "/a b"})
    EXPECT_FALSE(parse_target(text)) << text;
  std::string path;
  std::string query = "/?";
  for (std::size_t i = 0; i < kTargetPartsMax; ++i) {
    path += "/x";
    query += i == 0 ? "a" : "&a";
  }
  EXPECT_TRUE(parse_target(path));
  EXPECT_FALSE(parse_target(path + "/x"));
  EXPECT_TRUE(parse_target(query));
  EXPECT_FALSE(parse_target(query + "&a"));
}

TEST(Base64, GoesBothWays) {
  for (const char* text : {"", "f", "fo", "foo", "foob", "fooba", "foobar"})
    EXPECT_EQ(decode_base64(encode_base64(text)), text);
  EXPECT_EQ(encode_base64("fooba"), "Zm9vYmE=");
  EXPECT_EQ(decode_base64("Zm9vYmE"), "fooba") << "without its padding";
  std::string all;
  for (int byte = 0; byte < 256; ++byte) all += static_cast<char>(byte);
  EXPECT_EQ(decode_base64(encode_base64(all)), all);
}

TEST(Base64, RefusesWhatIsNone) {
  for (const char* text : {"A", "AAAAA", "A===", "Zm9v!", "Zm 9v", "Zm9v\n", "Zg==="})
    EXPECT_FALSE(decode_base64(text)) << text;
}

TEST(RequestId, OfAClientIsKeptWhereItHarmsNothing) {
  EXPECT_EQ(request_id_or_new("a-b_c.d:e/f=g+1"), "a-b_c.d:e/f=g+1");
  for (const std::string& text : {std::string(), std::string("a b"), std::string("a\r\nX: y"),
                                  std::string("ü"), std::string(129, 'a'), std::string("a\"b")})
    EXPECT_THAT(
        request_id_or_new(text),
        MatchesRegex("[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}"));
}

TEST(RequestId, IsNeverTheSameTwice) {
  std::set<std::string> ids;
  for (int i = 0; i < 10'000; ++i) ids.insert(new_request_id());
  EXPECT_EQ(ids.size(), 10'000U);
}

TEST(LambdaName, IsWhatAnSdkMayCallAFunction) {
  const std::pair<const char*, std::pair<const char*, const char*>> rows[] = {
      {"f", {"f", ""}},
      {"f:$LATEST", {"f", "$LATEST"}},
      {"f:7", {"f", "7"}},
      {"012345678912:function:f", {"f", ""}},
      {"012345678912:function:f:prod", {"f", "prod"}},
      {"arn:aws:lambda:us-east-1:012345678912:function:f", {"f", ""}},
      {"arn:aws:lambda:us-east-1:012345678912:function:f:$LATEST", {"f", "$LATEST"}},
      {"function:$LATEST", {"function", "$LATEST"}},
      {"my-function:$LATEST", {"my-function", "$LATEST"}},
      {"", {"", ""}},
  };
  for (const auto& [text, expected] : rows) {
    const LambdaName name = parse_lambda_name(text);
    EXPECT_EQ(name.name, expected.first) << text;
    EXPECT_EQ(name.qualifier, expected.second) << text;
  }
}

TEST(LogTail, KeepsTheEnd) {
  LogTail tail(10);
  EXPECT_EQ(decode_base64(tail.base64()), "");
  tail.add("one");
  EXPECT_EQ(decode_base64(tail.base64()), "one\n");
  for (int i = 0; i < 100; ++i) tail.add("line");
  tail.add("last");
  EXPECT_EQ(decode_base64(tail.base64()), "line\nlast\n");
}

TEST(Duration, IsBoundedAndNeverNothing) {
  EXPECT_EQ(parse_duration("250ms"), milliseconds(250));
  EXPECT_EQ(parse_duration("2"), milliseconds(2'000));
  EXPECT_EQ(parse_duration("24h"), milliseconds(86'400'000));
  for (const char* text : {"", "0", "0s", "25h", "-1s", "1 s", "1d", "s", "1.5s", "99999999999ms"})
    EXPECT_FALSE(parse_duration(text)) << text;
}

}  // namespace
}  // namespace fnrun::supervisor::http
