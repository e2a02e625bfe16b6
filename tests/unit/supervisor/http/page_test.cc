// The page as bytes: whole, alone, and with a policy that fits it. What it shows, tests/e2e asks a
// browser.
#include "supervisor/http/page.h"

#include <gmock/gmock.h>

#include <regex>
#include <string>

namespace fnrun::supervisor::http {
namespace {

using ::testing::ContainsRegex;
using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::StartsWith;

const std::string page(kPage);

std::string_view header(const Response& response, std::string_view name) {
  return text(response[view(name)]);
}

TEST(Page, IsWhole) {
  EXPECT_THAT(page, StartsWith("<!doctype html>"));
  EXPECT_THAT(page, HasSubstr("</html>"));
  EXPECT_THAT(page, Not(HasSubstr("@FNRUN_")));
  EXPECT_THAT(page, HasSubstr("\"use strict\""));
}

TEST(Page, TakesNothingFromOutside) {
  EXPECT_FALSE(std::regex_search(page, std::regex("(src|href)=\"(https?:)?//")));
  EXPECT_THAT(page, Not(HasSubstr("@import")));
}

TEST(Page, MakesNoMarkupOfWords) {
  for (const char* way :
       {"innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval("})
    EXPECT_THAT(page, Not(HasSubstr(way)));
}

TEST(Page, ItsPolicyNamesTheScriptAndTheStyleAndNothingElse) {
  const std::string policy(kPageSecurityPolicy);
  EXPECT_THAT(policy, StartsWith("default-src 'none'; "));
  EXPECT_THAT(policy, ContainsRegex("script-src 'sha256-[A-Za-z0-9+/]{43}='; "));
  EXPECT_THAT(policy, ContainsRegex("style-src 'sha256-[A-Za-z0-9+/]{43}='; "));
  EXPECT_THAT(policy, Not(HasSubstr("unsafe")));
}

TEST(Page, IsNotSentWithoutItsPolicy) {
  const Response response = page_answer();
  EXPECT_EQ(header(response, "Content-Security-Policy"), kPageSecurityPolicy);
  EXPECT_EQ(header(response, "Content-Type"), "text/html; charset=utf-8");
  EXPECT_EQ(response.body(), kPage);
}

}  // namespace
}  // namespace fnrun::supervisor::http
