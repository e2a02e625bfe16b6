// Parser, schema, Policy{} and README.md tell the same story. The schema is walked; there is no
// second list of keys here to forget one in.
#include <gmock/gmock.h>

#include <functional>
#include <set>

#include "policy_test_support.h"

namespace fnrun::policies {
namespace {

using Json = nlohmann::json;

Json schema() {
  return Json::parse(read_text(kShipped / "policy.schema.json"));
}

// A document that holds every object the schema describes, at the pointers of kMapEntries.
Json whole_document() {
  Json json = Json::parse(to_json(Policy{}));
  json["filesystem"]["read_only"]["/usr"] = {{"why", "w"}};
  json["seccomp"]["rules"] = {{"a",
                               {{"action", "allow"},
                                {"calls", {"read"}},
                                {"when", {{{"arg", 0}, {"op", "eq"}, {"value", 1}}}},
                                {"why", "w"}}}};
  return json;
}

// Where whole_document() has an instance of each "$defs" object.
std::string instance_of(const std::string& reference) {
  if (reference == "#/$defs/read_only_path") return "/filesystem/read_only/~1usr";
  if (reference == "#/$defs/rule") return "/seccomp/rules/a";
  if (reference == "#/$defs/condition") return "/seccomp/rules/a/when/0";
  ADD_FAILURE() << "no instance of " << reference;
  return "";
}

struct KnownObject {
  std::string pointer;  // In whole_document().
  Json properties;
};

// Every object of known keys, by the pointer of one instance.
std::vector<KnownObject> known_objects() {
  const Json root = schema();
  std::vector<KnownObject> found;
  const std::function<void(const std::string&, const Json&)> walk = [&](const std::string& pointer,
                                                                        const Json& node) {
    if (!node.is_object() || !node.contains("properties")) return;
    found.push_back({pointer, node["properties"]});
    for (const auto& [key, below] : node["properties"].items()) walk(pointer + '/' + key, below);
  };
  walk("", root);
  for (const auto& [name, definition] : root["$defs"].items())
    if (definition.contains("properties")) walk(instance_of("#/$defs/" + name), definition);
  return found;
}

TEST(PolicySchema, WalkFindsEveryObject) {
  std::set<std::string> pointers;
  for (const KnownObject& object : known_objects()) pointers.insert(object.pointer);
  EXPECT_EQ(pointers.size(), 12U);
  EXPECT_TRUE(pointers.contains("/limits"));
  EXPECT_TRUE(pointers.contains("/seccomp/rules/a/when/0"));
}

TEST(PolicySchema, WholeDocumentParses) {
  parsed(whole_document().dump());
}

TEST(PolicySchema, ParserAndSchemaKnowTheSameKeys) {
  for (const KnownObject& object : known_objects()) {
    Json json = whole_document();
    json[Json::json_pointer(object.pointer)]["!"] = 0;
    const PolicyError error = error_of(json.dump());
    EXPECT_EQ(error.pointer, object.pointer + "/!");
    constexpr std::string_view kAllowed = "Allowed here: ";
    const std::size_t at = error.message.find(kAllowed);
    ASSERT_NE(at, std::string::npos) << error.message;
    std::set<std::string> parser;
    std::stringstream list(error.message.substr(at + kAllowed.size()));
    for (std::string key; std::getline(list >> std::ws, key, ',');) parser.insert(key);
    std::set<std::string> in_schema;
    for (const auto& [key, value] : object.properties.items()) in_schema.insert(key);
    EXPECT_EQ(parser, in_schema) << object.pointer;
  }
}

TEST(PolicySchema, EveryKeyIsReadSoThatAWrongTypeIsAnError) {
  for (const KnownObject& object : known_objects())
    for (const auto& [key, value] : object.properties.items()) {
      Json json = whole_document();
      // No key of the format is an array of arrays.
      json[Json::json_pointer(object.pointer)][key] = Json::array({Json::array()});
      const PolicyError error = error_of(json.dump());
      EXPECT_TRUE(error.pointer.starts_with(object.pointer + '/' + key)) << error.to_string();
      EXPECT_THAT(error.message, ::testing::Not(::testing::HasSubstr("unknown key")));
    }
}

TEST(PolicySchema, EveryRangeIsTheParsersOwn) {
  int ranges = 0;
  for (const KnownObject& object : known_objects())
    for (const auto& [key, value] : object.properties.items()) {
      if (!value.contains("minimum")) continue;
      ++ranges;
      const auto parses = [&, name = key](std::int64_t number) {
        Json json = whole_document();
        json[Json::json_pointer(object.pointer)][name] = number;
        return bool(parse_policy(json.dump()));
      };
      const auto minimum = value["minimum"].get<std::int64_t>();
      const auto maximum = value["maximum"].get<std::int64_t>();
      EXPECT_TRUE(parses(minimum)) << key;
      EXPECT_FALSE(parses(minimum - 1)) << key;
      EXPECT_TRUE(parses(maximum)) << key;
      EXPECT_FALSE(parses(maximum + 1)) << key;
    }
  EXPECT_EQ(ranges, 29) << "23 limits, uid, gid, arg, calls_max, age_max_ms, before_ms";
}

TEST(PolicySchema, EveryDefaultIsThatOfThePolicy) {
  const Json defaults = Json::parse(to_json(Policy{}));
  int checked = 0;
  for (const KnownObject& object : known_objects())
    for (const auto& [key, value] : object.properties.items()) {
      const Json::json_pointer place(object.pointer + '/' + key);
      if (!value.contains("default") || !defaults.contains(place)) continue;
      EXPECT_EQ(defaults[place], value["default"]) << object.pointer << '/' << key;
      ++checked;
    }
  EXPECT_EQ(checked, 36)
      << "25 limits, hostname, uid, gid, working_directory, reuse, warning, exec_once";
}

TEST(PolicySchema, ReadmeNamesEveryKey) {
  const std::string readme = read_text(kShipped / "README.md");
  for (const KnownObject& object : known_objects())
    for (const auto& [key, value] : object.properties.items())
      EXPECT_NE(readme.find('`' + key + '`'), std::string::npos) << object.pointer << '/' << key;
}

TEST(PolicySchema, ReadmeGivesEveryLimitItsRangeAndDefault) {
  std::map<std::string, std::string> rows;
  std::stringstream readme(read_text(kShipped / "README.md"));
  for (std::string line; std::getline(readme, line);)
    if (line.starts_with("| `")) rows[line.substr(3, line.find('`', 3) - 3)] = line;
  const Json limits = schema()["properties"]["limits"]["properties"];
  for (const auto& [key, limit] : limits.items())
    for (const char* word : {"default", "minimum", "maximum"}) {
      if (!limit.contains(word)) continue;  // A limit that is no number.
      EXPECT_NE(rows[key].find(' ' + limit[word].dump() + ' '), std::string::npos)
          << key << ": the row lacks its " << word << ' ' << limit[word];
    }
}

}  // namespace
}  // namespace fnrun::policies
