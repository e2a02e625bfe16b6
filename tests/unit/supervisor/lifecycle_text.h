// Effects of the sandbox's life in a word or two each, so that a table of them can be read.
#pragma once

#include <string>
#include <vector>

#include "supervisor/lifecycle/lifecycle.h"

namespace fnrun::supervisor::lifecycle {

using Strings = std::vector<std::string>;

[[nodiscard]] std::string text_of(const Effect& effect);
[[nodiscard]] Strings texts_of(const std::vector<Effect>& effects);
// For messages.
[[nodiscard]] std::string text_of(const Input& what);

}  // namespace fnrun::supervisor::lifecycle
