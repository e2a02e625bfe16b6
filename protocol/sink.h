// What becomes of the bytes that a Channel reads: a frame, a line, some, all.
//
// Internal to channel.cc; pure, no I/O. A sink serves one read and is owned by its coroutine. Each
// bounds what it keeps before it keeps it.
#pragma once

#include <algorithm>
#include <cstddef>
#include <span>
#include <string>
#include <utility>

#include "protocol/error.h"
#include "protocol/frame.h"

namespace fnrun::protocol {

class Sink {
 public:
  Sink() = default;
  Sink(const Sink&) = delete;
  Sink& operator=(const Sink&) = delete;
  virtual ~Sink() = default;

  // How many of the bytes it took; fewer than all only when it is done.
  [[nodiscard]] virtual ErrorOr<std::size_t> feed(std::span<const char> bytes) = 0;
  // So many bytes more have come, and are fed next.
  virtual void expect(std::size_t waiting) { static_cast<void>(waiting); }
  // The stream has ended: done with what there is, or the error that this makes.
  [[nodiscard]] virtual ErrorOr<void> end() = 0;
  [[nodiscard]] virtual bool done() const = 0;
  // Nothing taken so far: giving up now loses no byte.
  [[nodiscard]] virtual bool idle() const = 0;
};

class FrameSink final : public Sink {
 public:
  explicit FrameSink(std::size_t max_body) : decoder_(max_body) {}
  ErrorOr<std::size_t> feed(std::span<const char> bytes) override {
    const auto progress = decoder_.feed(bytes);
    if (!progress) return progress.error();
    done_ = progress->complete;
    return progress->consumed;
  }
  void expect(std::size_t waiting) override { decoder_.expect(waiting); }
  ErrorOr<void> end() override { return decoder_.end_of_input(); }
  bool done() const override { return done_; }
  bool idle() const override { return decoder_.idle(); }
  std::string take() { return decoder_.take(); }

 private:
  FrameDecoder decoder_;
  bool done_ = false;
};

class TextSink : public Sink {
 public:
  bool done() const override { return done_; }
  bool idle() const override { return text_.empty() && !done_ && !lost_; }
  std::string take() { return std::move(text_); }

 protected:
  explicit TextSink(std::size_t max) : max_(max) {}
  [[nodiscard]] std::size_t room() const { return max_ - text_.size(); }
  ErrorOr<void> keep(std::span<const char> bytes, const char* what) {
    if (bytes.size() > room()) {
      lost_ = true;
      return ProtocolError{ErrorCode::kTooLarge, std::string(what) + " over the limit of " +
                                                     std::to_string(max_) + " bytes"};
    }
    text_.append(bytes.data(), bytes.size());
    return {};
  }
  void set_done() { done_ = true; }

 private:
  std::size_t max_;
  std::string text_;
  bool done_ = false;
  bool lost_ = false;  // Bytes were seen and refused.
};

class LineSink final : public TextSink {
 public:
  explicit LineSink(std::size_t max) : TextSink(max) {}
  ErrorOr<std::size_t> feed(std::span<const char> bytes) override {
    const auto newline = std::find(bytes.begin(), bytes.end(), '\n');
    const auto length = static_cast<std::size_t>(newline - bytes.begin());
    if (auto kept = keep(bytes.first(length), "a line"); !kept) return kept.error();
    if (newline == bytes.end()) return length;
    set_done();
    return length + 1;
  }
  ErrorOr<void> end() override {
    if (idle()) return ProtocolError{ErrorCode::kEndOfStream, ""};
    set_done();
    return {};
  }
};

class SomeSink final : public TextSink {
 public:
  explicit SomeSink(std::size_t max) : TextSink(max) {}
  ErrorOr<std::size_t> feed(std::span<const char> bytes) override {
    const std::size_t count = std::min(bytes.size(), room());
    if (auto kept = keep(bytes.first(count), "bytes"); !kept) return kept.error();
    set_done();
    return count;
  }
  ErrorOr<void> end() override { return ProtocolError{ErrorCode::kEndOfStream, ""}; }
};

class WholeSink final : public TextSink {
 public:
  explicit WholeSink(std::size_t max) : TextSink(max) {}
  ErrorOr<std::size_t> feed(std::span<const char> bytes) override {
    if (auto kept = keep(bytes, "a stream"); !kept) return kept.error();
    return bytes.size();
  }
  ErrorOr<void> end() override {
    set_done();
    return {};
  }
};

}  // namespace fnrun::protocol
