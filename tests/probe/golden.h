// What was seen of fnrun-probe's attempts, as written down in golden/, and as a report tells it.
//
// One line for each id; "#" and why there are several answers, or what is on the line. Plain
// values.
#pragma once

#include <cstdlib>
#include <fstream>
#include <map>
#include <nlohmann/json.hpp>
#include <sstream>
#include <string>
#include <vector>

namespace fnrun::test {

using Golden = std::map<std::string, std::vector<std::string>>;

// "ID answer [| answer …]", by id; "= FILE": all of that one's lines, but for those that follow.
// From the folder that FNRUN_TEST_GOLDEN names, or the source tree's.
inline Golden golden(const std::string& file) {
  const char* folder = ::secure_getenv("FNRUN_TEST_GOLDEN");
  std::ifstream text(std::string(folder != nullptr ? folder : FNRUN_GOLDEN_DIR) + "/" + file);
  Golden all;
  for (std::string line; std::getline(text, line);) {
    std::istringstream words(line.substr(0, line.find('#')));
    std::string id;
    if (!(words >> id)) continue;
    if (id == "=" && words >> id) all = golden(id);
    std::vector<std::string> answers;
    for (std::string word; words >> word;)
      if (word != "|") answers.push_back(word);
    if (!answers.empty()) all[id] = answers;
  }
  return all;
}

// "blocked(ENOSYS)", "killed", "limited": a row of the report without what differs from run to run.
inline std::string answer_of(const nlohmann::json& row) {
  const std::string word = row["result"];
  if (!row["signal"].is_null()) return "killed";
  return row["errno"].is_null() ? word : word + "(" + row["errno"].get<std::string>() + ")";
}

}  // namespace fnrun::test
