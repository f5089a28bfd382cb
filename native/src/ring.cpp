#include "auricle/ring.hpp"

#include <algorithm>
#include <cstring>
#include <stdexcept>

#if defined(__SANITIZE_THREAD__)
#define AURICLE_TSAN 1
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define AURICLE_TSAN 1
#endif
#endif

namespace auricle {
namespace {

std::int64_t power_of_two(std::int64_t capacity) {
  if (capacity < 1 || capacity > Ring::kLargestCapacity) {
    throw std::invalid_argument("the capacity of a ring must be 1 to 2**30 samples");
  }
  std::int64_t rounded = 1;
  while (rounded < capacity) {
    rounded *= 2;
  }
  return rounded;
}

// A reader may copy samples that the writer is just replacing and throw them away afterwards, so each sample has to be
// copied atomically, in any order. ISO C++ has no such bulk copy before P1478 (atomic_load_per_byte_memcpy); a loop over
// std::atomic<float> is never vectorised and made the ring forty times slower. libc's memcpy between compiler barriers
// does it in fact on every machine that we build for: a call into code that the optimiser cannot see, whose moves are
// never narrower than an aligned float. ThreadSanitizer does watch memcpy, so under it we write the loop.
// AURICLE_PLAIN_COPY keeps memcpy even there: for the test whose readers are never overtaken, where even plain copies
// must be free of races.
#if defined(AURICLE_TSAN) && !defined(AURICLE_PLAIN_COPY)
void copy(float* out, const float* in, std::int64_t n) noexcept {
  for (std::int64_t i = 0; i < n; ++i) {
    float sample;
    __atomic_load(&in[i], &sample, __ATOMIC_RELAXED);
    __atomic_store(&out[i], &sample, __ATOMIC_RELAXED);
  }
}
void clear(float* out, std::int64_t n) noexcept {
  for (std::int64_t i = 0; i < n; ++i) {
    float zero = 0.0F;
    __atomic_store(&out[i], &zero, __ATOMIC_RELAXED);
  }
}
#else
void copy(float* out, const float* in, std::int64_t n) noexcept {
  if (n == 0) {
    return;  // the caller's pointer may then be null, which memcpy may not be given
  }
  std::atomic_signal_fence(std::memory_order_seq_cst);
  std::memcpy(out, in, static_cast<std::size_t>(n) * sizeof(float));
  std::atomic_signal_fence(std::memory_order_seq_cst);
}
void clear(float* out, std::int64_t n) noexcept {
  std::atomic_signal_fence(std::memory_order_seq_cst);
  std::memset(out, 0, static_cast<std::size_t>(n) * sizeof(float));
  std::atomic_signal_fence(std::memory_order_seq_cst);
}
#endif

#if defined(__GNUC__) && !defined(__clang__)
// ThreadSanitizer does not model fences. Ours order atomics against atomics only, which it never reports.
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wpragmas"
#pragma GCC diagnostic ignored "-Wtsan"
#endif
inline void release_fence() noexcept { std::atomic_thread_fence(std::memory_order_release); }
inline void acquire_fence() noexcept { std::atomic_thread_fence(std::memory_order_acquire); }
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic pop
#endif

}  // namespace

Ring::Ring(std::int64_t capacity) : mask_(power_of_two(capacity) - 1), samples_(new (kLine) float[static_cast<std::size_t>(mask_) + 1]()) {}

std::int64_t Ring::oldest() const noexcept { return std::max<std::int64_t>(0, reserved_.load(std::memory_order_relaxed) - capacity()); }

void Ring::reserve(std::int64_t stop) noexcept {
  reserved_.store(stop, std::memory_order_relaxed);
  // No sample of this write may be seen by a reader who does not then see `reserved_` as well.
  release_fence();
}

void Ring::write(const float* samples, std::int64_t n) noexcept {
  const std::int64_t start = head_.load(std::memory_order_relaxed);
  reserve(start + n);
  const std::int64_t at = start & mask_;
  const std::int64_t before_the_end = std::min(n, capacity() - at);
  copy(samples_.get() + at, samples, before_the_end);
  copy(samples_.get(), samples + before_the_end, n - before_the_end);
  head_.store(start + n, kPublish);
}

void Ring::skip(std::int64_t n) noexcept {
  const std::int64_t start = head_.load(std::memory_order_relaxed);
  reserve(start + n);
  const std::int64_t zeros = std::min(n, capacity());
  const std::int64_t at = start & mask_;  // anywhere when all is cleared
  const std::int64_t before_the_end = std::min(zeros, capacity() - at);
  clear(samples_.get() + at, before_the_end);
  clear(samples_.get(), zeros - before_the_end);
  head_.store(start + n, kPublish);
}

std::int64_t Ring::read(std::int64_t start, float* out, std::int64_t n) const noexcept {
  const std::int64_t head = head_.load(kObserve);
  if (start < 0 || n < 0 || start > head || n > head - start) {
    return -1;
  }
  const std::int64_t gone = std::clamp<std::int64_t>(oldest() - start, 0, n);
  const std::int64_t wanted = n - gone;
  const std::int64_t at = (start + gone) & mask_;
  const std::int64_t before_the_end = std::min(wanted, capacity() - at);
  copy(out + gone, samples_.get() + at, before_the_end);
  copy(out + gone + before_the_end, samples_.get(), wanted - before_the_end);
  // A sample of a later write among those copied means that this load sees that write's reservation.
  acquire_fence();
  const std::int64_t lost = std::clamp<std::int64_t>(oldest() - start, 0, n);
  std::fill(out, out + lost, 0.0F);
  return lost;
}

}  // namespace auricle
