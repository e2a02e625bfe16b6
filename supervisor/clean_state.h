// Whether calls left a sandbox as they found it: `reuse: clean` over time.
//
// When to look is decided here, what there is to see in isolation/leftovers.h. The clean state is
// that in which the handler waits for its first question: what a runtime opens and writes while it
// starts is its own. Owned by the Invoker, on its executor; the sandbox and the plan must live
// until stop().
#pragma once

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/awaitable.hpp>
#include <boost/asio/steady_timer.hpp>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "isolation/leftovers.h"
#include "isolation/plan.h"
#include "isolation/sandbox.h"
#include "supervisor/exchange.h"

namespace fnrun::supervisor {

class CleanState {
 public:
  // `wanted`: whether calls must leave nothing behind; else nothing is ever looked at. `log` gets
  // text that holds words of the handler, as they are.
  CleanState(boost::asio::any_io_executor executor, isolation::Sandbox& sandbox,
             const isolation::Plan& plan, bool wanted, std::function<void(std::string_view)> log);

  [[nodiscard]] bool to_remember() const noexcept { return wanted_ && !remembered_; }
  // Once everything inside sleeps, at most the start timeout: then it is taken as it is. Begun when
  // the sandbox runs, so that no caller pays for it; a call that comes sooner begins it anew, which
  // ends the earlier wait.
  [[nodiscard]] static boost::asio::awaitable<void> remember(std::shared_ptr<CleanState> self,
                                                             Deadline deadline);
  // Behind an answer, which waits for it. A handler that tidies up behind its own is given time to
  // come to rest, if there is something to tidy: of what the call has left.
  [[nodiscard]] boost::asio::awaitable<void> look(Deadline deadline);
  // What look() found.
  [[nodiscard]] std::vector<std::string> take_left_behind() { return std::move(left_behind_); }
  // Before another question, once the handler has come to read it. Never empties what is dirty.
  [[nodiscard]] bool still_clean();
  [[nodiscard]] bool remembered() const noexcept { return remembered_; }
  // A call left something behind, or nobody can tell.
  [[nodiscard]] bool dirty() const noexcept { return dirty_; }

  // Whatever waits here ends, and looks at nothing any more.
  void stop();

 private:
  [[nodiscard]] boost::asio::awaitable<void> come_to_rest(Deadline limit);

  isolation::Sandbox& sandbox_;
  const isolation::Plan& plan_;
  const bool wanted_;
  std::function<void(std::string_view)> log_;
  boost::asio::steady_timer pause_;
  std::optional<isolation::Leftovers> leftovers_;
  std::vector<std::string> left_behind_;
  unsigned turn_ = 0;  // Of the wait that counts.
  bool remembered_ = false;
  bool dirty_ = false;
  bool stopped_ = false;
};

}  // namespace fnrun::supervisor
