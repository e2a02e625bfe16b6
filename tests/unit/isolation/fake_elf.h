// The first bytes of ELF programs, for tests that look at files and never run them.
#pragma once

#include <elf.h>

#include <cstdint>
#include <cstring>
#include <string>

namespace fnrun::test {

struct FakeElf {
  std::uint16_t machine = EM_X86_64;
  unsigned char bits = ELFCLASS64;
  unsigned char order = ELFDATA2LSB;
  std::string loader{};  // Not empty: a PT_INTERP segment says so.
};

inline std::string fake_elf(const FakeElf& what = {}) {
  Elf64_Ehdr elf{};
  std::memcpy(elf.e_ident, ELFMAG, SELFMAG);
  elf.e_ident[EI_CLASS] = what.bits;
  elf.e_ident[EI_DATA] = what.order;
  elf.e_ident[EI_VERSION] = EV_CURRENT;
  elf.e_type = ET_EXEC;
  elf.e_machine = what.order == ELFDATA2MSB
                      ? static_cast<std::uint16_t>((what.machine >> 8) | (what.machine << 8))
                      : what.machine;
  elf.e_phoff = sizeof elf;
  elf.e_phentsize = sizeof(Elf64_Phdr);
  elf.e_phnum = what.loader.empty() ? 0 : 1;
  Elf64_Phdr segment{};
  segment.p_type = PT_INTERP;
  segment.p_offset = sizeof elf + sizeof segment;
  segment.p_filesz = what.loader.size() + 1;
  std::string bytes(reinterpret_cast<const char*>(&elf), sizeof elf);
  if (what.loader.empty()) return bytes;
  bytes.append(reinterpret_cast<const char*>(&segment), sizeof segment);
  return bytes.append(what.loader.c_str(), what.loader.size() + 1);
}

}  // namespace fnrun::test
