// Host uids for the sandboxes of a privileged supervisor: one each, unique on this host.
//
// All supervisors of a host share one lock file; a lease is one byte of it, locked (open file
// description locks, Linux >= 3.15), so that a dead supervisor's uids are free at once and the file
// never grows. Thread-safe.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>

#include "isolation/host.h"
#include "isolation/setup_error.h"

namespace fnrun::isolation {

class UidLeases;

// A uid that is ours until destroyed. Keeps the UidLeases' file open.
class [[nodiscard]] UidLease {
 public:
  UidLease() = default;
  UidLease(UidLease&&) noexcept = default;
  UidLease& operator=(UidLease&& other) noexcept;
  ~UidLease() { give_back(); }
  [[nodiscard]] std::uint32_t uid() const noexcept { return uid_; }
  // Never given back while this process lives: something of that uid could not be killed.
  void keep() noexcept { table_.reset(); }

 private:
  friend class UidLeases;
  struct Table;
  UidLease(std::shared_ptr<Table> table, std::uint32_t uid) : table_(std::move(table)), uid_(uid) {}
  void give_back() noexcept;
  std::shared_ptr<Table> table_;
  std::uint32_t uid_ = 0;
};

class UidLeases {
 public:
  // `lock_file` is made if missing; its folder too, for root alone.
  [[nodiscard]] static Result<UidLeases> open(UidRange range,
                                              const std::filesystem::path& lock_file);
  // The next free uid after the last one given: a uid just given back is the last to come round.
  [[nodiscard]] Result<UidLease> acquire();

 private:
  explicit UidLeases(std::shared_ptr<UidLease::Table> table) : table_(std::move(table)) {}
  std::shared_ptr<UidLease::Table> table_;
};

}  // namespace fnrun::isolation
