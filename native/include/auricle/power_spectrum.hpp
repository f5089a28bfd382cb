// The power spectrum of one 25 ms frame: the inner loop of log-mel.
#pragma once

namespace auricle {

inline constexpr int kFrame = 400;  // samples, 25 ms
inline constexpr int kFft = 512;    // points: the frame and 112 zeros behind it
inline constexpr int kBins = kFft / 2 + 1;

// Windows kFrame samples with a periodic Hann window and writes |X[k]|^2 to power[k] for k = 1 ... 256; power[0], which
// no mel band uses, is set to 0. Computed in double precision: in float the rounding noise of a loud tone hides the far
// bands (an error of 0.2 in the logarithm instead of 1e-5).
using PowerSpectrum = void (*)(const float* frame, float* power);

// The fastest form for this processor. The same input gives the same bits on every call on one machine.
// Any thread. The function returned takes no lock and allocates nothing.
PowerSpectrum power_spectrum() noexcept;

// The form for every processor of the architecture, which the tests compare with the fastest.
PowerSpectrum portable_power_spectrum() noexcept;

}  // namespace auricle
