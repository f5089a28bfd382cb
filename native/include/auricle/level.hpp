// The lowest stair: how loud is it, and is it sound at all.
#pragma once

#include <cstdint>

namespace auricle {

inline constexpr double kSilenceDbfs = -120.0;  // what level_dbfs says of digital silence and of anything below

// RMS of n >= 0 samples in dBFS, where 0 dBFS is RMS 1.0 (a square wave at full scale); at least kSilenceDbfs, never NaN.
// NaN and infinities count as 0. Any thread. No lock, no allocation, no system call.
double level_dbfs(const float* samples, std::int64_t n) noexcept;

// Replaces NaN and infinities by 0 and clips the others to [-1, 1], in place; returns how many it changed.
// Any thread. No lock, no allocation, no system call.
std::int64_t clean(float* samples, std::int64_t n) noexcept;

}  // namespace auricle
