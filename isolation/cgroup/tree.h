// One supervisor's corner of the cgroup v2 tree: makes the sandboxes' groups, and sees that nothing
// of it stays.
//
// The corner is `<base>/fnrun-<pid>-<random>`, locked (flock) as long as its supervisor lives.
// Three look after its end: the destructor; a janitor process, which acts if the supervisor is
// killed (child/janitor.cc); and the next supervisor, which sweeps what has no living owner, should
// both be killed. Not thread-safe; the Launcher owns it and locks.
#pragma once

#include <set>
#include <string>

#include "isolation/cgroup/cgroup.h"

namespace fnrun::isolation {

class [[nodiscard]] CgroupTree {
 public:
  // Starts the janitor with `init_image_fd` (borrowed), sweeps, and makes the corner.
  // Precondition: facts.dir is not empty.
  [[nodiscard]] static Result<CgroupTree> make(const CgroupFacts& facts, int init_image_fd);
  CgroupTree(CgroupTree&&) noexcept = default;
  CgroupTree& operator=(CgroupTree&&) = delete;
  ~CgroupTree();

  // Groups made from now on can have limits by these controllers. Moves the processes of the base
  // to its leaf first, where the facts say so: a group that holds processes passes no controller
  // on. Once for a controller; later calls cost nothing.
  [[nodiscard]] Result<void> enable(const std::set<policies::Layer>& controllers);
  [[nodiscard]] Result<Cgroup> make_cgroup();

 private:
  CgroupTree(UniqueFd base, const CgroupFacts& facts, std::string name, int init_image_fd)
      : base_(std::move(base)),
        base_path_(facts.dir),
        move_processes_(facts.move_processes),
        name_(std::move(name)),
        init_image_fd_(init_image_fd) {}
  [[nodiscard]] Result<void> start_janitor();
  [[nodiscard]] Result<void> make_corner();
  void retry_leftovers();
  [[nodiscard]] Result<void> move_to_leaf() const;
  [[nodiscard]] Result<void> pass_on(int dir_fd, const std::string& dir,
                                     policies::Layer controller) const;
  UniqueFd base_;
  std::string base_path_;  // For messages.
  bool move_processes_;
  UniqueFd tree_;  // The corner; holds the lock.
  std::string name_;
  UniqueFd janitor_lifeline_;
  UniqueFd janitor_pidfd_;
  int init_image_fd_;  // Borrowed from the Launcher.
  std::set<policies::Layer> enabled_;
  std::shared_ptr<CgroupLeftovers> leftovers_ = std::make_shared<CgroupLeftovers>();
  unsigned long next_ = 1;
};

}  // namespace fnrun::isolation
