// Contexts of execution that give way to each other.
//
// The C library's own ask the kernel for the mask of signals at every switch, and most fibres of a
// test have little else to do.  So on x86-64 they are switched here.

#ifndef TF_STN_TESTS_CPP_FIBRES_H_
#define TF_STN_TESTS_CPP_FIBRES_H_

#include <ucontext.h>

#include <cstddef>
#include <cstdint>

namespace tf_stn {
namespace cuda_on_host {

#if defined(__x86_64__)

// Where a fibre goes on: its stack, whose last words are the registers that a call keeps, and the
// address to return to.
struct Context {
  void* stack = nullptr;
};

// Keeps the caller in `from`, and goes on with `to`.
__attribute__((naked, noinline, no_sanitize("address", "undefined"))) inline void SwitchStack(
    [[maybe_unused]] void** from, [[maybe_unused]] void* to) {
  asm("pushq %rbp\n"
      "pushq %rbx\n"
      "pushq %r12\n"
      "pushq %r13\n"
      "pushq %r14\n"
      "pushq %r15\n"
      "movq %rsp, (%rdi)\n"
      "movq %rsi, %rsp\n"
      "popq %r15\n"
      "popq %r14\n"
      "popq %r13\n"
      "popq %r12\n"
      "popq %rbx\n"
      "popq %rbp\n"
      "ret\n");
}

inline void Switch(Context& from, const Context& to) { SwitchStack(&from.stack, to.stack); }

// Makes a context that begins with `entry`, which must not return.
inline void Begin(Context& context, char* stack, size_t bytes, void (*entry)()) {
  constexpr int kKept = 6;
  const auto end = reinterpret_cast<uintptr_t>(stack + bytes) & ~uintptr_t{15};
  auto* const words = reinterpret_cast<uintptr_t*>(end) - (kKept + 2);
  for (int i = 0; i < kKept; ++i) words[i] = 0;
  words[kKept] = reinterpret_cast<uintptr_t>(entry);
  words[kKept + 1] = 0;  // Where it would return to.
  context.stack = words;
}

#else

using Context = ucontext_t;

inline void Switch(Context& from, const Context& to) { swapcontext(&from, &to); }

// Makes a context that begins with `entry`, which must not return.
inline void Begin(Context& context, char* stack, size_t bytes, void (*entry)()) {
  getcontext(&context);
  context.uc_stack.ss_sp = stack;
  context.uc_stack.ss_size = bytes;
  context.uc_link = nullptr;
  makecontext(&context, entry, 0);
}

#endif

}  // namespace cuda_on_host
}  // namespace tf_stn

#endif  // TF_STN_TESTS_CPP_FIBRES_H_
