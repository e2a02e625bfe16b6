#include "supervisor/service_config.h"

#include <algorithm>
#include <array>
#include <memory>
#include <system_error>
#include <utility>

#include "policies/json_document.h"
#include "policies/json_reader.h"
#include "policies/policy_check.h"
#include "supervisor/service_check.h"

namespace fnrun::supervisor {
namespace {

namespace fs = std::filesystem;
using policies::PolicyError;
using policies::Result;
using policies::internal::At;
using policies::internal::FileName;
using policies::internal::pointer_to;
using policies::internal::Reader;

constexpr std::uint64_t kDayMs = 24ULL * 60 * 60 * 1'000;
constexpr std::uint64_t kTiB = 1ULL << 40;
constexpr std::uint64_t kCallsMax = 10'000;
constexpr std::uint64_t kWaitersMax = 1'000'000;
constexpr std::size_t kFunctionsMax = 1'024;
constexpr std::size_t kListMax = 256;  // Of addresses, origins, credentials, binds, variables.
constexpr std::size_t kArgumentsMax = 1'024;  // As the launcher takes them.
constexpr std::size_t kArgumentMax = 32'768;
constexpr std::size_t kWordMax = 16;

// A whole number of the document: key, range, place. The same table reads it and names its key, so
// that none is let in and forgotten.
template <class Owner>
struct Number {
  std::string_view key;
  std::uint64_t min;
  std::uint64_t max;
  void (*set)(Owner&, std::uint64_t);
};

template <class Owner, auto kMember>
constexpr Number<Owner> number(std::string_view key, std::uint64_t min, std::uint64_t max) {
  return {key, min, max, [](Owner& owner, std::uint64_t value) {
            using Value = std::remove_reference_t<decltype(owner.*kMember)>;
            owner.*kMember = Value(value);
          }};
}

template <auto kMember>
constexpr auto of_function = number<FunctionConfig, kMember>;
template <auto kMember>
constexpr auto of_http = number<HttpLimits, kMember>;

constexpr std::array kFunctionNumbers = {
    of_function<&FunctionConfig::timeout>("timeout_ms", 1, kDayMs),
    of_function<&FunctionConfig::concurrency>("concurrency", 0, kCallsMax),
    of_function<&FunctionConfig::queue>("queue", 0, kWaitersMax),
    of_function<&FunctionConfig::max_wait>("max_wait_ms", 0, kDayMs),
    of_function<&FunctionConfig::per_client>("per_client", 0, kWaitersMax),
    of_function<&FunctionConfig::ready>("ready", 0, kCallsMax),
    of_function<&FunctionConfig::events>("events", 0, kWaitersMax)};

constexpr std::array kHttpNumbers = {
    of_http<&HttpLimits::connections_max>("connections_max", 1, 100'000),
    of_http<&HttpLimits::header_max>("header_bytes_max", 1'024, 1'048'576),
    of_http<&HttpLimits::bodies_max>("body_bytes_max", 1'024, kTiB),
    of_http<&HttpLimits::header_timeout>("header_timeout_ms", 1, kDayMs),
    of_http<&HttpLimits::body_timeout>("body_timeout_ms", 1, kDayMs),
    of_http<&HttpLimits::idle_timeout>("idle_timeout_ms", 1, kDayMs),
    of_http<&HttpLimits::write_timeout>("write_timeout_ms", 1, kDayMs)};

constexpr std::array kServiceNumbers = {
    number<ServiceConfig, &ServiceConfig::drain_timeout>("drain_timeout_ms", 0, kDayMs)};

// The keys of an object: those of its numbers, and the others.
template <class Numbers, class... Others>
constexpr auto keys_of(const Numbers& numbers, Others... others) {
  std::array<std::string_view, std::tuple_size_v<Numbers> + sizeof...(others)> keys = {others...};
  std::transform(numbers.begin(), numbers.end(), keys.begin() + sizeof...(others),
                 [](const auto& field) { return field.key; });
  return keys;
}

constexpr auto kFunctionKeys =
    keys_of(kFunctionNumbers, "policy", "handler", "protocol", "binds", "env", "credentials");
constexpr auto kHttpKeys = keys_of(kHttpNumbers);
constexpr auto kServiceKeys = keys_of(kServiceNumbers, "$schema", "version", "listen",
                                      "allow_origins", "functions", "limits");

template <class Owner, class Numbers>
void read_numbers(Reader& reader, const At& at, const Numbers& numbers, Owner& owner) {
  for (const auto& field : numbers)
    if (const auto value = reader.find(at, field.key))
      field.set(owner, reader.integer(*value, field.min, field.max));
}

// Not normalised: behind a symbolic link ".." is somewhere else.
std::string beside(const fs::path& folder, const std::string& path) {
  return (folder / path).string();
}

std::string read_policy(Reader& reader, const At& at, const fs::path& folder) {
  std::string policy = reader.string(at, policies::kPathMax);
  if (policy.empty()) reader.fail(at, "must be the name or the path of a policy");
  // What load_policy() takes for a name is one.
  const bool is_name = policy.find('/') == std::string::npos && !policy.ends_with(".json");
  return is_name ? policy : beside(folder, policy);
}

std::vector<std::string> read_handler(Reader& reader, const At& at, const fs::path& folder) {
  std::vector<std::string> argv;
  if (!reader.array(at, 1, kArgumentsMax)) return argv;
  for (std::size_t i = 0; i < at.node->items.size(); ++i)
    argv.push_back(reader.string(at.item(i), i == 0 ? policies::kPathMax : kArgumentMax));
  std::string& program = argv.front();
  if (program.empty()) reader.fail(at.item(0), "must name the handler's program");
  // Without a "/" it is looked up in $PATH.
  if (program.find('/') != std::string::npos) program = beside(folder, program);
  return argv;
}

HandlerProtocol read_protocol(Reader& reader, const At& at) {
  const std::string word = reader.string(at, kWordMax);
  if (word == "lines") return HandlerProtocol::kLines;
  if (word == "exec") return HandlerProtocol::kExec;
  if (word != "fnrun") reader.fail(at, "must be \"fnrun\", \"lines\" or \"exec\"");
  return HandlerProtocol::kFnrun;
}

std::vector<policies::ReadOnlyPath> read_binds(Reader& reader, const At& at) {
  std::vector<policies::ReadOnlyPath> binds;
  if (!reader.map(at, kListMax)) return binds;
  for (const auto& [target, node] : at.node->members) {
    const At value{&node, pointer_to(at.pointer, target)};
    if (const std::string fault = policies::target_fault(target); !fault.empty())
      reader.fail(value, "the path inside " + fault);
    policies::ReadOnlyPath path;
    path.target = target;
    path.source = reader.string(value, policies::kPathMax);
    if (const std::string fault = policies::source_fault(path.source); !fault.empty())
      reader.fail(value, "the path on the host " + fault);
    path.why = "\"binds\" of the config file";
    binds.push_back(std::move(path));
  }
  return binds;
}

std::vector<protocol::EnvVar> read_env(Reader& reader, const At& at) {
  std::vector<protocol::EnvVar> env;
  if (!reader.map(at, kListMax)) return env;
  for (const auto& [name, node] : at.node->members) {
    const At value{&node, pointer_to(at.pointer, name)};
    if (std::string fault = policies::variable_name_fault(name); !fault.empty())
      reader.fail(value, std::move(fault));
    env.push_back({name, reader.string(value, policies::kVariableMax)});
  }
  return env;
}

std::string address_fault(std::string_view address) {
  return address.empty() ? "must be an address, as --listen takes it; \"127.0.0.1:8080\"" : "";
}

// Of a list in which nothing stands twice: whoever writes it twice meant something else.
std::vector<std::string> read_words(Reader& reader, const At& at,
                                    std::string (*fault_of)(std::string_view)) {
  std::vector<std::string> words;
  if (!reader.array(at, 0, kListMax)) return words;
  for (std::size_t i = 0; i < at.node->items.size(); ++i) {
    const At item = at.item(i);
    std::string word = reader.string(item, policies::kPathMax);
    if (std::string fault = fault_of(word); !fault.empty()) reader.fail(item, std::move(fault));
    if (std::find(words.begin(), words.end(), word) != words.end())
      reader.fail(item, "is in this list already; keep one of them");
    words.push_back(std::move(word));
  }
  return words;
}

FunctionConfig read_function(Reader& reader, const At& at, const std::string& name,
                             const fs::path& folder) {
  FunctionConfig function;
  function.name = name;
  if (std::string fault = function_name_fault(name); !fault.empty())
    reader.fail(at, std::move(fault));
  if (!reader.object(at, kFunctionKeys)) return function;
  if (const auto value = reader.find(at, "policy"))
    function.policy = read_policy(reader, *value, folder);
  if (const auto value = reader.require(at, "handler"))
    function.handler = read_handler(reader, *value, folder);
  if (const auto value = reader.find(at, "protocol"))
    function.protocol = read_protocol(reader, *value);
  if (const auto value = reader.find(at, "binds")) function.binds = read_binds(reader, *value);
  if (const auto value = reader.find(at, "env")) function.env = read_env(reader, *value);
  if (const auto value = reader.find(at, "credentials"))
    function.credentials = read_words(reader, *value, credential_name_fault);
  read_numbers(reader, at, kFunctionNumbers, function);
  if (function.protocol == HandlerProtocol::kExec && function.ready.value_or(0) != 0)
    reader.fail(*reader.find(at, "ready"),
                "must be 0 or left out with the protocol \"exec\": each call starts a process of "
                "its own, nothing can be kept ready");
  return function;
}

std::vector<FunctionConfig> read_functions(Reader& reader, const At& at, const fs::path& folder) {
  std::vector<FunctionConfig> functions;
  if (!reader.map(at, kFunctionsMax)) return functions;
  if (at.node->members.empty()) reader.fail(at, "must name one function at least");
  for (const auto& [name, node] : at.node->members)
    functions.push_back(read_function(reader, {&node, pointer_to(at.pointer, name)}, name, folder));
  return functions;
}

ServiceConfig read_service(Reader& reader, const At& at, const fs::path& folder) {
  ServiceConfig config;
  if (!reader.object(at, kServiceKeys)) return config;
  if (const auto value = reader.find(at, "$schema"))
    (void)reader.string(*value, policies::kPathMax);
  if (const auto value = reader.require(at, "version")) (void)reader.integer(*value, 1, 1);
  if (const auto value = reader.find(at, "listen"))
    config.listen = read_words(reader, *value, address_fault);
  if (const auto value = reader.find(at, "allow_origins"))
    config.allow_origins = read_words(reader, *value, origin_fault);
  if (const auto value = reader.require(at, "functions"))
    config.functions = read_functions(reader, *value, folder);
  if (const auto value = reader.find(at, "limits"); value && reader.object(*value, kHttpKeys))
    read_numbers(reader, *value, kHttpNumbers, config.limits);
  read_numbers(reader, at, kServiceNumbers, config);
  return config;
}

Result<ServiceConfig> parse(std::string_view json, std::string file, const fs::path& folder) {
  const auto root =
      policies::internal::parse_json(json, std::make_shared<const std::string>(std::move(file)));
  if (!root) return root.error();
  Reader reader;
  ServiceConfig config = read_service(reader, {&*root, ""}, folder);
  if (reader.error()) return *reader.error();
  return config;
}

}  // namespace

Result<ServiceConfig> parse_service_config(std::string_view json, const fs::path& folder) {
  return parse(json, "", folder);
}

Result<ServiceConfig> load_service_config(const fs::path& path) {
  const auto text = policies::read_document(path);
  if (!text) return text.error();
  std::error_code error;
  const fs::path absolute = fs::absolute(path, error);
  if (error)
    return PolicyError{path.string(), "", 0,
                       "the working directory cannot be told: " + error.message() +
                           "; give the config file's absolute path"};
  return parse(*text, path.string(), absolute.parent_path());
}

}  // namespace fnrun::supervisor
