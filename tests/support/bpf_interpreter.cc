#include "tests/support/bpf_interpreter.h"

#include <array>
#include <cstring>

namespace fnrun::test {
namespace {

class Machine {
 public:
  Machine(std::span<const sock_filter> program, const seccomp_data& call)
      : program_(program), call_(call) {}

  std::optional<std::uint32_t> run() {
    // Jumps go forward only, so a program ends within its length.
    while (at_ < program_.size() && !bad_ && !verdict_) step(program_[at_++]);
    return bad_ ? std::nullopt : verdict_;
  }

 private:
  void step(const sock_filter& i) {
    switch (BPF_CLASS(i.code)) {
      case BPF_LD:
      case BPF_LDX:
        return load(i);
      case BPF_ST:
        if (i.k < memory_.size()) memory_[i.k] = a_;
        bad_ = i.k >= memory_.size();
        return;
      case BPF_STX:
        if (i.k < memory_.size()) memory_[i.k] = x_;
        bad_ = i.k >= memory_.size();
        return;
      case BPF_ALU:
        return compute(i);
      case BPF_JMP:
        return jump(i);
      case BPF_RET:
        verdict_ = BPF_RVAL(i.code) == BPF_A ? a_ : i.k;
        return;
      default:
        if (BPF_MISCOP(i.code) == BPF_TAX)
          x_ = a_;
        else
          a_ = x_;
    }
  }

  void load(const sock_filter& i) {
    std::uint32_t value = 0;
    switch (BPF_MODE(i.code)) {
      case BPF_IMM:
        value = i.k;
        break;
      case BPF_LEN:
        value = sizeof call_;
        break;
      case BPF_MEM:
        bad_ = i.k >= memory_.size();
        if (!bad_) value = memory_[i.k];
        break;
      case BPF_ABS:
        // The kernel takes aligned words within seccomp_data only.
        bad_ = BPF_SIZE(i.code) != BPF_W || i.k % 4 != 0 || i.k + 4 > sizeof call_;
        if (!bad_) std::memcpy(&value, reinterpret_cast<const char*>(&call_) + i.k, sizeof value);
        break;
      default:
        bad_ = true;
    }
    (BPF_CLASS(i.code) == BPF_LD ? a_ : x_) = value;
  }

  void compute(const sock_filter& i) {
    const std::uint32_t v = BPF_SRC(i.code) == BPF_X ? x_ : i.k;
    switch (BPF_OP(i.code)) {
      case BPF_ADD:
        a_ += v;
        return;
      case BPF_SUB:
        a_ -= v;
        return;
      case BPF_MUL:
        a_ *= v;
        return;
      case BPF_AND:
        a_ &= v;
        return;
      case BPF_OR:
        a_ |= v;
        return;
      case BPF_XOR:
        a_ ^= v;
        return;
      case BPF_LSH:
        a_ = v < 32 ? a_ << v : 0;
        return;
      case BPF_RSH:
        a_ = v < 32 ? a_ >> v : 0;
        return;
      case BPF_NEG:
        a_ = 0U - a_;
        return;
      default:
        bad_ = true;  // Division: no compiler of filters emits it.
    }
  }

  void jump(const sock_filter& i) {
    const std::uint32_t v = BPF_SRC(i.code) == BPF_X ? x_ : i.k;
    bool taken = false;
    switch (BPF_OP(i.code)) {
      case BPF_JA:
        at_ += i.k;
        return;
      case BPF_JEQ:
        taken = a_ == v;
        break;
      case BPF_JGT:
        taken = a_ > v;
        break;
      case BPF_JGE:
        taken = a_ >= v;
        break;
      case BPF_JSET:
        taken = (a_ & v) != 0;
        break;
      default:
        bad_ = true;
    }
    at_ += taken ? i.jt : i.jf;
  }

  std::span<const sock_filter> program_;
  const seccomp_data& call_;
  std::size_t at_ = 0;
  std::uint32_t a_ = 0;
  std::uint32_t x_ = 0;
  std::array<std::uint32_t, BPF_MEMWORDS> memory_{};
  bool bad_ = false;
  std::optional<std::uint32_t> verdict_;
};

}  // namespace

std::optional<std::uint32_t> run_filter(std::span<const sock_filter> program,
                                        const seccomp_data& call) {
  return Machine(program, call).run();
}

}  // namespace fnrun::test
