// Where the sound card's thread meets the ring: a callback that PortAudio calls directly, without Python and its lock.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>

#include "auricle/ring.hpp"

namespace auricle {

// User data of auricle_portaudio_callback. Interleaved frames go into the ring as they come, at the device's own rate and
// channels: sample c of frame f has index start + f * channels + c, where start is where the ring's head was.
// Must outlive the stream. While the stream runs, the device's thread is the ring's only writer.
class PortAudioTap {
 public:
  static constexpr int kMostChannels = 64;

  // 1 <= channels <= kMostChannels; throws std::invalid_argument otherwise.
  PortAudioTap(std::shared_ptr<Ring> ring, int channels);

  int channels() const noexcept { return channels_; }
  const std::shared_ptr<Ring>& ring() const noexcept { return ring_; }

  // Counters since construction. Any thread. Whoever reads frames() first finds the samples of these in the ring, and a time of the
  // newest callback that is theirs or later, never an earlier one: frames would seem to have come too soon.
  std::int64_t frames() const noexcept { return frames_.load(std::memory_order_acquire); }
  std::int64_t callbacks() const noexcept { return callbacks_.load(std::memory_order_relaxed); }
  std::int64_t overflows() const noexcept { return overflows_.load(std::memory_order_relaxed); }  // callbacks flagged so

  // When the newest callback came, seconds of CLOCK_MONOTONIC; 0.0 before the first. Any thread.
  double last_callback_s() const noexcept;

  // Takes `frames` interleaved frames, or as many frames of zeros when `input` is null. A call larger than the ring leaves
  // its newest samples there. Device thread only. No lock, no allocation, no log; reads the clock once.
  void take(const float* input, std::uint64_t frames, std::uint64_t flags) noexcept;

 private:
  const std::shared_ptr<Ring> ring_;
  const int channels_;
  std::atomic<std::int64_t> frames_{0};
  std::atomic<std::int64_t> callbacks_{0};
  std::atomic<std::int64_t> overflows_{0};
  std::atomic<std::int64_t> last_callback_ns_{0};
};

}  // namespace auricle

// A PaStreamCallback (portaudio.h, version 19), declared without that header; always returns paContinue.
// input: float32 interleaved, paFloat32 without paNonInterleaved. user_data: a PortAudioTap of as many channels.
extern "C" int auricle_portaudio_callback(const void* input, void* output, unsigned long frames, const void* time_info, unsigned long flags,
                                          void* user_data);
