#include "auricle/portaudio_tap.hpp"

#include <algorithm>
#include <chrono>
#include <stdexcept>
#include <utility>

namespace auricle {
namespace {

constexpr std::uint64_t kInputOverflow = 0x2;  // paInputOverflow in portaudio.h

// The device's thread is the only one that counts, so no read-modify-write is needed.
void add(std::atomic<std::int64_t>& counter, std::int64_t n) noexcept {
  counter.store(counter.load(std::memory_order_relaxed) + n, std::memory_order_relaxed);
}

}  // namespace

PortAudioTap::PortAudioTap(std::shared_ptr<Ring> ring, int channels) : ring_(std::move(ring)), channels_(channels) {
  if (channels < 1 || channels > kMostChannels) {
    throw std::invalid_argument("channels must be 1 to 64");
  }
}

double PortAudioTap::last_callback_s() const noexcept {
  return static_cast<double>(last_callback_ns_.load(std::memory_order_relaxed)) * 1e-9;
}

void PortAudioTap::take(const float* input, std::uint64_t frames, std::uint64_t flags) noexcept {
  const std::int64_t samples = static_cast<std::int64_t>(frames) * channels_;
  if (input == nullptr) {
    ring_->skip(samples);
  } else {
    for (std::int64_t at = 0; at < samples;) {
      const std::int64_t n = std::min(samples - at, ring_->capacity());
      ring_->write(input + at, n);
      at += n;
    }
  }
  if ((flags & kInputOverflow) != 0) {
    add(overflows_, 1);
  }
  add(callbacks_, 1);
  // steady_clock is CLOCK_MONOTONIC in libstdc++ and libc++ on Linux, as is Python's time.monotonic().
  const auto now = std::chrono::steady_clock::now().time_since_epoch();
  last_callback_ns_.store(std::chrono::duration_cast<std::chrono::nanoseconds>(now).count(), std::memory_order_relaxed);
  frames_.store(frames_.load(std::memory_order_relaxed) + static_cast<std::int64_t>(frames), std::memory_order_release);
}

}  // namespace auricle

extern "C" int auricle_portaudio_callback(const void* input, void* /*output*/, unsigned long frames, const void* /*time_info*/,
                                          unsigned long flags, void* user_data) {
  static_cast<auricle::PortAudioTap*>(user_data)->take(static_cast<const float*>(input), frames, flags);
  return 0;  // paContinue
}
