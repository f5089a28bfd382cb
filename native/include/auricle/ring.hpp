// One writer, many readers, one stretch of audio addressed by a sample index that never wraps.
//
// The ring has no read position: a reader is an integer of its own, so there can be any number of them and none can hold
// up the writer. A reader that was overtaken is told how many of the samples it asked for are gone.
//
// How: a sequence lock over sample indices. The writer announces `reserved` before it overwrites and publishes `head`
// after; a reader copies first and then compares with `reserved` what may have been overwritten meanwhile.
// Source: H.-J. Boehm, Can Seqlocks Get Along With Programming Language Memory Models?, MSPC 2012, figure 6.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <new>

namespace auricle {

#if defined(AURICLE_PLANT_RELAXED)
// A mistake planted on purpose: native/tests builds the stress tests with it and demands that they turn red.
inline constexpr std::memory_order kPublish = std::memory_order_relaxed;
inline constexpr std::memory_order kObserve = std::memory_order_relaxed;
#else
inline constexpr std::memory_order kPublish = std::memory_order_release;
inline constexpr std::memory_order kObserve = std::memory_order_acquire;
#endif

class Ring {
 public:
  static constexpr std::int64_t kLargestCapacity = std::int64_t{1} << 30;  // samples; 4 GiB

  // Holds the newest `capacity` samples, rounded up to a power of two; 1 <= capacity <= kLargestCapacity.
  // Throws std::invalid_argument outside of that range, std::bad_alloc without memory.
  explicit Ring(std::int64_t capacity);
  Ring(const Ring&) = delete;
  Ring& operator=(const Ring&) = delete;

  std::int64_t capacity() const noexcept { return mask_ + 1; }

  // One past the newest sample. Any thread. Whoever sees head() >= i also sees all that the writer did before it wrote
  // sample i - 1, in the ring and elsewhere.
  std::int64_t head() const noexcept { return head_.load(kObserve); }

  // The oldest sample that is not (being) overwritten. Any thread; may be out of date when it returns.
  std::int64_t oldest() const noexcept;

  // Appends n samples, replacing the oldest. Requires 0 <= n <= capacity() and head() + n < 2^63.
  // Writer thread only. Wait-free: no lock, no allocation, no system call.
  void write(const float* samples, std::int64_t n) noexcept;

  // Appends n zeros, n >= 0 of any size with head() + n < 2^63: lost audio keeps the time line true.
  // Writer thread only. Wait-free; costs at most one pass over the ring.
  void skip(std::int64_t n) noexcept;

  // Copies samples [start, start + n) to `out` and returns how many of the leading ones are lost, 0 <= lost <= n; these
  // are zeros in `out`, all others are exact. Returns -1 and leaves `out` alone when start < 0, n < 0 or
  // start + n > head(). Any thread. Wait-free; never delays the writer or another reader.
  std::int64_t read(std::int64_t start, float* out, std::int64_t n) const noexcept;

 private:
  void reserve(std::int64_t stop) noexcept;

  struct Release {
    void operator()(float* samples) const noexcept { ::operator delete[](samples, kLine); }
  };
  static constexpr std::align_val_t kLine{64};  // copies from and to whole cache lines take two thirds of the time

  const std::int64_t mask_;
  const std::unique_ptr<float[], Release> samples_;
  // Together on a cache line of their own: the writer changes both and a reader needs both.
  alignas(64) std::atomic<std::int64_t> head_{0};
  std::atomic<std::int64_t> reserved_{0};  // head_, or one past the newest sample of the write that is under way
};

}  // namespace auricle
