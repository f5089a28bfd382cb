// Log-mel energies, streaming: the encoder's front end.
#pragma once

#include <cstdint>
#include <vector>

#include "auricle/power_spectrum.hpp"

namespace auricle {

// Row t covers samples [160 t, 160 t + 400) at 16 kHz: periodic Hann window, power spectrum of 512 points (zeros behind),
// triangles of height 1 that are linear on the HTK mel scale over bins 1 ... 256, ln(max(energy, 1e-10)).
// Source: Young et al., The HTK Book 3.4, section 5.4.
//
// The rows depend on the samples alone, bit for bit, not on how they were divided between calls. They are finite for any
// input: a NaN or an infinity gives the floor or a large value in the rows that cover it.
// One thread at a time. Nothing but the constructor allocates; nothing locks.
class LogMel {
 public:
  static constexpr int kHop = 160;  // samples, 10 ms
  static constexpr int kMostBands = 128;

  // 1 <= bands <= kMostBands, 0 <= low_hz < high_hz <= 8000; throws std::invalid_argument otherwise.
  // A band so narrow that no bin falls into it always gives the floor.
  LogMel(int bands, double low_hz, double high_hz);

  int bands() const noexcept { return bands_; }

  // How many rows extend() would write for n >= 0 more samples.
  std::int64_t rows(std::int64_t n) const noexcept;

  // Takes n >= 0 samples and writes every row that they complete: float32[rows(n), bands()].
  void extend(const float* samples, std::int64_t n, float* out) noexcept;

  // Forgets all samples: the next one is sample 0 of a new stream.
  void reset() noexcept { kept_ = 0; }

 private:
  void row(const float* frame, float* out) const noexcept;

  int bands_;
  PowerSpectrum spectrum_;
  // Bins [edge_[s], edge_[s + 1]) lie between the centres of bands s - 1 and s: falling for the first, rising for the other.
  std::vector<int> edge_;
  std::vector<float> rising_;        // [kBins]
  std::vector<float> falling_;       // [kBins]
  std::vector<float> kept_samples_;  // [2 * kFrame]: the samples of the row to come, then room for new ones
  int kept_ = 0;                     // always < kFrame
};

}  // namespace auricle
