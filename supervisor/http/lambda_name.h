// What callers of Lambda's API may call a function. Pure; any thread.
#pragma once

#include <string>
#include <string_view>

namespace fnrun::supervisor::http {

// What a path names: "f", "f:$LATEST", "012345678912:function:f", "arn:aws:lambda:…:function:f".
struct LambdaName {
  std::string name;
  std::string qualifier;  // Of the name; "" without one.
};
[[nodiscard]] LambdaName parse_lambda_name(std::string_view text);

}  // namespace fnrun::supervisor::http
