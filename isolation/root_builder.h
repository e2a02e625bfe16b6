// The list of things that make the new root, from a policy's paths. Private to this room.
//
// Owns the questions of order (parents first), of mount points (a folder of our own tmpfs can be
// made, one inside a read-only bind must exist there) and of what is visible in the end.
#pragma once

#include <map>
#include <set>
#include <string>
#include <vector>

#include "isolation/plan.h"

namespace fnrun::isolation {

class RootBuilder {
 public:
  explicit RootBuilder(const Host& host) : host_(host) {}

  // A read-only path of the policy; `index` is for the error.
  [[nodiscard]] Result<void> add_read_only(const policies::ReadOnlyPath& path, std::uint16_t index);
  // A file that must be visible at `target` and executable; nothing is added if it is already.
  [[nodiscard]] Result<void> add_executable(const std::string& target, const std::string& source,
                                            const std::string& why);
  void add_device_nodes(const policies::Filesystem& filesystem);
  void add_tmp(const policies::Policy& policy);
  void add_proc();

  // Would `path` lead to the host's file of that path, and may it be executed there?
  [[nodiscard]] bool shows(const std::string& path, bool executable) const;
  // Will there be a folder at `path`? For the working directory.
  [[nodiscard]] bool shows_folder(const std::string& path) const;
  [[nodiscard]] std::vector<RootEntry> take() &&;

 private:
  [[nodiscard]] Result<void> make_parents(const std::string& target);
  [[nodiscard]] Result<void> mount(std::string target, const std::string& source,
                                   std::uint64_t attributes, const std::string& why,
                                   std::uint16_t index);
  [[nodiscard]] const RootEntry* covering_mount(const std::string& target) const;
  [[nodiscard]] std::string resolve_links(const std::string& path) const;

  const Host& host_;
  std::uint64_t tmp_inodes_max_ = 0;
  std::vector<RootEntry> entries_;
  std::map<std::string, std::string> links_;  // Symlinks that we make: path -> text.
  std::set<std::string> made_;                // Paths of our own tmpfs.
};

}  // namespace fnrun::isolation
