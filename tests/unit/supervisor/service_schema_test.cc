// Parser, schema, defaults and README.md of the config file tell the same story. The schema is
// walked; there is no second list of keys here to forget one in.
#include <gmock/gmock.h>

#include <map>
#include <set>
#include <sstream>
#include <vector>

#include "service_config_test_support.h"

namespace fnrun::supervisor {
namespace {

using Json = nlohmann::json;

struct KnownObject {
  std::string pointer;  // In least_document().
  Json properties;
};

Json least_document() {
  return {{"version", 1}, {"limits", Json::object()}, {"functions", {{"f", {{"handler", {"f"}}}}}}};
}

std::vector<KnownObject> known_objects() {
  const Json schema = Json::parse(read_text(kRoom / "service.schema.json"));
  return {{"", schema["properties"]},
          {"/limits", schema["properties"]["limits"]["properties"]},
          {"/functions/f", schema["$defs"]["function"]["properties"]}};
}

// least_document() with one key set.
std::string document_with(const KnownObject& object, const std::string& key, const Json& value) {
  Json json = least_document();
  json[Json::json_pointer(object.pointer)][key] = value;
  return json.dump();
}

TEST(ServiceSchema, NoOtherObjectOfKnownKeysIsInIt) {
  const std::string text = read_text(kRoom / "service.schema.json");
  std::size_t count = 0;
  for (std::size_t at = text.find("\"properties\": {\n"); at != std::string::npos;
       at = text.find("\"properties\": {\n", at + 1))
    ++count;
  EXPECT_EQ(count, known_objects().size());
}

TEST(ServiceSchema, ParserAndSchemaKnowTheSameKeys) {
  for (const KnownObject& object : known_objects()) {
    const policies::PolicyError error = error_of(document_with(object, "!", 0));
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

TEST(ServiceSchema, EveryKeyIsReadSoThatAWrongTypeIsAnError) {
  for (const KnownObject& object : known_objects())
    for (const auto& [key, value] : object.properties.items()) {
      // No key of the format is an array of arrays.
      const auto error = error_of(document_with(object, key, Json::array({Json::array()})));
      EXPECT_TRUE(error.pointer.starts_with(object.pointer + '/' + key)) << error.to_string();
      EXPECT_THAT(error.message, ::testing::Not(::testing::HasSubstr("unknown key")));
    }
}

TEST(ServiceSchema, EveryRangeIsTheParsersOwnAndEveryNumberIsKept) {
  int ranges = 0;
  for (const KnownObject& object : known_objects())
    for (const auto& [key, value] : object.properties.items()) {
      if (!value.contains("minimum")) continue;
      ++ranges;
      const auto parse = [&, name = key](std::int64_t number) {
        return parse_service_config(document_with(object, name, number), kFolder);
      };
      const auto minimum = value["minimum"].get<std::int64_t>();
      const auto maximum = value["maximum"].get<std::int64_t>();
      EXPECT_FALSE(parse(minimum - 1)) << key;
      EXPECT_FALSE(parse(maximum + 1)) << key;
      const auto least = parse(minimum);
      const auto most = parse(maximum);
      ASSERT_TRUE(least && most) << key;
      EXPECT_FALSE(*least == *most) << key << " makes no difference";
    }
  EXPECT_EQ(ranges, 15) << "7 limits, 7 of a function, drain_timeout_ms";
}

TEST(ServiceSchema, EveryDefaultIsWhatAFileWithoutTheKeyMeans) {
  const ServiceConfig without = parsed(least_document().dump());
  int checked = 0;
  for (const KnownObject& object : known_objects())
    for (const auto& [key, value] : object.properties.items()) {
      if (!value.contains("default")) continue;
      EXPECT_TRUE(parsed(document_with(object, key, value["default"])) == without) << key;
      ++checked;
    }
  EXPECT_EQ(checked, 20)
      << "all but $schema, version, functions, limits, handler, timeout_ms, ready";
}

TEST(ServiceSchema, ReadmeGivesEveryKeyItsRowWithRangeAndDefault) {
  std::map<std::string, std::string> rows;
  std::stringstream readme(read_text(kRoom / "README.md"));
  for (std::string line; std::getline(readme, line);)
    if (line.starts_with("| `")) rows[line.substr(3, line.find('`', 3) - 3)] = line;
  for (const KnownObject& object : known_objects())
    for (const auto& [key, value] : object.properties.items()) {
      EXPECT_TRUE(rows.contains(key)) << object.pointer << '/' << key;
      for (const char* word : {"default", "minimum", "maximum"})
        if (value.contains("minimum") && value.contains(word)) {
          EXPECT_NE(rows[key].find("| " + value[word].dump() + " |"), std::string::npos)
              << key << ": the row lacks its " << word << ' ' << value[word];
        }
    }
}

}  // namespace
}  // namespace fnrun::supervisor
