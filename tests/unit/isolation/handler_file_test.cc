// What can be wrong with a handler, told before anything is launched.
#include "isolation/handler_file.h"

#include <elf.h>
#include <gmock/gmock.h>

#include <cstring>

#include "tests/support/temp_dir.h"
#include "tests/unit/isolation/fake_elf.h"

namespace fnrun::isolation {
namespace {

using test::fake_elf;
using testing::HasSubstr;
using Type = FileKind::Type;

TEST(KindOfFile, ElfOfThisMachineAndOfOthers) {
  EXPECT_EQ(kind_of_file(fake_elf()).type, Type::kElf);
  const auto foreign = [](std::uint16_t machine, unsigned char bits, unsigned char order) {
    const FileKind kind =
        kind_of_file(fake_elf({.machine = machine, .bits = bits, .order = order}));
    EXPECT_EQ(kind.type, Type::kForeignElf);
    return kind.detail;
  };
  EXPECT_EQ(foreign(EM_AARCH64, ELFCLASS64, ELFDATA2LSB), "aarch64");
  EXPECT_EQ(foreign(EM_386, ELFCLASS32, ELFDATA2LSB), "i386");
  EXPECT_EQ(foreign(EM_X86_64, ELFCLASS32, ELFDATA2LSB), "x32");
  EXPECT_EQ(foreign(EM_S390, ELFCLASS64, ELFDATA2MSB), "s390x");
  EXPECT_EQ(foreign(EM_PPC64, ELFCLASS64, ELFDATA2MSB), "ppc64");
  EXPECT_EQ(foreign(9'999, ELFCLASS64, ELFDATA2LSB), "ELF machine 9999");
}

TEST(KindOfFile, ScriptsAndTheirInterpreters) {
  const auto interpreter = [](std::string_view head) {
    const FileKind kind = kind_of_file(head);
    EXPECT_EQ(kind.type, Type::kScript) << head;
    return kind.interpreter;
  };
  EXPECT_EQ(interpreter("#!/bin/sh\necho"), "/bin/sh");
  EXPECT_EQ(interpreter("#! \t/usr/bin/env python3 -B\n"), "/usr/bin/env");
  EXPECT_EQ(interpreter("#!/bin/sh\t-e\n"), "/bin/sh");
  EXPECT_EQ(interpreter("#!/bin/sh"), "/bin/sh");  // No newline: the kernel takes it.
  // Written on Windows: to the kernel the carriage return is a part of the name.
  EXPECT_EQ(interpreter("#!/bin/sh\r\necho\r\n"), "/bin/sh\r");
  for (const std::string_view none : {"#!", "#!\n", "#! \t \n/bin/sh", "#!\n/bin/sh"})
    EXPECT_EQ(interpreter(none), "") << none;
  EXPECT_EQ(interpreter(std::string_view("#!/bin/\0sh\n", 11)), "");
  EXPECT_EQ(interpreter("#!/" + std::string(5'000, 'x')), "");
}

TEST(KindOfFile, AnythingElseIsUnknownHoweverShort) {
  for (const std::string_view text : {"", "#", "\x7f",
                                      "\x7f"
                                      "ELF",
                                      "echo hello\n", " #!/bin/sh"})
    EXPECT_EQ(kind_of_file(text).type, Type::kUnknown) << text;
  const std::string elf = fake_elf();
  for (std::size_t size = 0; size < elf.size(); ++size) {
    const FileKind kind = kind_of_file(std::string_view(elf).substr(0, size));
    EXPECT_NE(kind.type, Type::kScript) << size;
    EXPECT_NE(kind.type, Type::kForeignElf) << size;
  }
}

class FindHandler : public ::testing::Test {
 protected:
  FindHandler() {
    slots.privileged = true;
    slots.slot_uids = UidRange{1'000'000, 8};
  }
  Result<HandlerFile> find(const std::string& name, const std::string& caller_path = "") const {
    return find_handler({name, "argument"}, policy, caller_path, slots);
  }
  void expect_error(const std::string& name, SetupStep step, const std::string& about) const {
    const auto found = find(name);
    ASSERT_FALSE(found) << name;
    EXPECT_EQ(found.error().step, step) << found.error().to_string();
    EXPECT_THAT(found.error().to_string(), HasSubstr(about));
  }

  test::TempDir temp;
  policies::Policy policy;
  Host
      slots;  // A supervisor whose sandboxes have uids of their own; who runs the test matters not.
};

TEST_F(FindHandler, AProgramByItsPathWithItsArgumentsAsGiven) {
  const std::string path = temp.file("program", fake_elf(), 0755);
  const std::string link = temp.link("link", "program");
  const auto found = find(link);
  ASSERT_TRUE(found) << found.error().to_string();
  EXPECT_EQ(found->path, path);                                          // Canonical …
  EXPECT_EQ(found->argv, (std::vector<std::string>{link, "argument"}));  // … but argv is not.
  EXPECT_EQ(found->interpreter, "");
  EXPECT_EQ(found->loader, "");
}

TEST_F(FindHandler, ADynamicProgramNamesItsLoader) {
  const auto found = find(temp.file("dynamic", fake_elf({.loader = "/lib64/ld.so"}), 0755));
  ASSERT_TRUE(found) << found.error().to_string();
  EXPECT_EQ(found->loader, "/lib64/ld.so");
}

TEST_F(FindHandler, HeadersThatPointOutsideTheFileAreHarmless) {
  for (const std::uint64_t offset : {65ULL, 4'000ULL, 1ULL << 40, ~0ULL, ~0ULL - 63}) {
    std::string elf = fake_elf({.loader = "/lib64/ld.so"});
    std::memcpy(elf.data() + offsetof(Elf64_Ehdr, e_phoff), &offset, sizeof offset);
    const auto found = find(temp.file("wild", elf, 0755));
    ASSERT_TRUE(found);
    EXPECT_EQ(found->loader, "") << offset;
  }
}

TEST_F(FindHandler, NothingThere) {
  expect_error("", SetupStep::kHandlerNotFound, "no handler is given");
  expect_error((temp.path() / "absent").string(), SetupStep::kHandlerNotFound, "ENOENT");
  expect_error("no-such-program-anywhere", SetupStep::kHandlerNotFound,
               "neither in the policy's PATH nor in yours");
  EXPECT_FALSE(find_handler({}, policy, "", slots));
}

TEST_F(FindHandler, WhatTheSandboxsUidMayNotExecute) {
  const std::string path = temp.file("program", fake_elf(), 0750);
  expect_error(path, SetupStep::kHandlerNotExecutable, "chmod o+x it");
  temp.file("program", fake_elf(), 0751);
  EXPECT_TRUE(find(path));  // The control. A program need not be readable, a script must.
  const std::string script = temp.file("script", "#!/bin/sh\n", 0751);
  expect_error(script, SetupStep::kHandlerNotExecutable, "chmod o+rx it");
  temp.file("script", "#!/bin/sh\n", 0755);
  EXPECT_TRUE(find(script));
}

TEST_F(FindHandler, WithoutPrivilegeTheKernelIsAskedForOurselves) {
  slots = Host{};
  slots.uid = 1'000;
  const std::string path = temp.file("program", fake_elf(), 0700);
  EXPECT_TRUE(find(path));  // Ours: nobody else needs to execute it.
  temp.file("program", fake_elf(), 0644);
  expect_error(path, SetupStep::kHandlerNotExecutable, "is not executable for you");
}

TEST_F(FindHandler, WhatIsNoProgramOfThisMachine) {
  expect_error(temp.folder("folder"), SetupStep::kHandlerNotExecutable, "not a regular file");
  expect_error("/dev/null", SetupStep::kHandlerNotExecutable, "not a regular file");
  expect_error(temp.file("text", "echo hello\n", 0755), SetupStep::kHandlerNotExecutable,
               "neither an ELF program nor a script");
  expect_error(temp.file("arm", fake_elf({.machine = EM_AARCH64}), 0755),
               SetupStep::kHandlerNotExecutable, "is a program for aarch64");
  expect_error(temp.file("empty", "", 0755), SetupStep::kHandlerNotExecutable, "neither");
}

TEST_F(FindHandler, AScriptWithoutItsInterpreter) {
  expect_error(temp.file("script", "#!/no/such/interpreter -x\n", 0755),
               SetupStep::kHandlerNotFound, "'/no/such/interpreter', which does not exist");
  expect_error(temp.file("relative", "#!sh\n", 0755), SetupStep::kHandlerNotFound, "'sh'");
  expect_error(temp.file("windows", "#!/bin/sh\r\n", 0755), SetupStep::kHandlerNotFound,
               "which does not exist");
  expect_error(temp.file("bare", "#!\n", 0755), SetupStep::kHandlerNotFound, "''");
}

TEST_F(FindHandler, AScriptOfAScriptEndsAtAProgramOrNowhere) {
  const std::string program = temp.file("program", fake_elf({.loader = "/lib64/ld.so"}), 0755);
  const std::string inner = temp.file("inner", "#!" + program + "\n", 0755);
  const auto found = find(temp.file("outer", "#!" + inner + "\n", 0755));
  ASSERT_TRUE(found) << found.error().to_string();
  EXPECT_EQ(found->interpreter, inner);
  EXPECT_EQ(found->loader, "/lib64/ld.so");
  const std::string loop = (temp.path() / "loop").string();
  expect_error(temp.file("loop", "#!" + loop + "\n", 0755), SetupStep::kHandlerNotExecutable,
               "too many scripts");
  const std::string foreign = temp.file("arm", fake_elf({.machine = EM_AARCH64}), 0755);
  expect_error(temp.file("for-arm", "#!" + foreign + "\n", 0755), SetupStep::kHandlerNotExecutable,
               "aarch64");
}

TEST_F(FindHandler, ThePoliciesPathGoesBeforeTheCallers) {
  const std::string inside = temp.file("policy/tool", fake_elf(), 0755);
  const std::string outside = temp.file("caller/tool", fake_elf(), 0755);
  const std::string only_outside = temp.file("caller/other", fake_elf(), 0755);
  const std::string caller = (temp.path() / "caller").string();
  policy.environment.set["PATH"] = "/nonexistent:" + (temp.path() / "policy").string();
  EXPECT_EQ(find("tool", caller).value().path, inside);
  EXPECT_EQ(find("other", caller).value().path, only_outside);
  policy.environment.set.erase("PATH");
  EXPECT_EQ(find("tool", caller).value().path, outside);
}

TEST_F(FindHandler, PathSkipsWhatCannotBeMeant) {
  const std::string program = temp.file("last/tool", fake_elf(), 0755);
  temp.file("plain/tool", fake_elf(), 0644);  // Not executable.
  temp.folder("folder/tool");
  const std::string here = temp.path().string();
  // An empty or relative entry would look into whatever folder we happen to be in.
  const std::string path = ":.:last:" + here + "/plain:" + here + "/folder:" + here + "/last:";
  EXPECT_EQ(find("tool", path).value().path, program);
  EXPECT_FALSE(find("tool", "last:.:"));
}

}  // namespace
}  // namespace fnrun::isolation
