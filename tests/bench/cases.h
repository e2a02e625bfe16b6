// The ways of launching that the benchmark compares: one launch each, timed by itself.
//
// A case ends where its process is reaped and what it made for the launch is removed. Not
// thread-safe.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "isolation/plan.h"

namespace fnrun::bench {

struct Launch {
  double us = 0;
  std::string problem;  // "" if the handler ran and ended with 0.
};

class Case {
 public:
  explicit Case(std::string name) : name_(std::move(name)) {}
  Case(const Case&) = delete;
  Case& operator=(const Case&) = delete;
  virtual ~Case() = default;
  [[nodiscard]] const std::string& name() const { return name_; }
  // Why it cannot run here; "" if it can.
  [[nodiscard]] virtual std::string skipped() const { return ""; }
  [[nodiscard]] virtual Launch launch() = 0;

 private:
  std::string name_;
};

// All cases, of the same plan; it must outlive them. Throws where one cannot be prepared.
[[nodiscard]] std::vector<std::unique_ptr<Case>> make_cases(const isolation::Plan& plan);

}  // namespace fnrun::bench
