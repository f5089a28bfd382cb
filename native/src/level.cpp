#include "auricle/level.hpp"

#include <cmath>
#include <cstring>

namespace auricle {
namespace {

// std::isfinite keeps the compiler from vectorising these loops; a comparison with the largest float does not.
inline float finite_or_zero(float sample) noexcept {
  constexpr float kLargest = 3.40282347e+38F;
  return std::fabs(sample) <= kLargest ? sample : 0.0F;
}

}  // namespace

double level_dbfs(const float* samples, std::int64_t n) noexcept {
  // Eight sums of their own, because the compiler may not reorder one sum into lanes.
  constexpr std::int64_t kLanes = 8;
  double sums[kLanes] = {};
  std::int64_t i = 0;
  for (; i + kLanes <= n; i += kLanes) {
    for (std::int64_t lane = 0; lane < kLanes; ++lane) {
      const double sample = static_cast<double>(finite_or_zero(samples[i + lane]));
      sums[lane] += sample * sample;
    }
  }
  for (; i < n; ++i) {
    const double sample = static_cast<double>(finite_or_zero(samples[i]));
    sums[0] += sample * sample;
  }
  double energy = 0.0;
  for (const double sum : sums) {
    energy += sum;
  }
  constexpr double kSilentPower = 1e-12;  // kSilenceDbfs as a power
  const double power = n > 0 ? energy / static_cast<double>(n) : 0.0;
  return power > kSilentPower ? 10.0 * std::log10(power) : kSilenceDbfs;
}

std::int64_t clean(float* samples, std::int64_t n) noexcept {
  std::int64_t changed = 0;
  for (std::int64_t i = 0; i < n; ++i) {
    const float before = samples[i];
    float after = finite_or_zero(before);
    after = after > 1.0F ? 1.0F : after;
    after = after < -1.0F ? -1.0F : after;
    samples[i] = after;
    changed += after == before ? 0 : 1;
  }
  return changed;
}

}  // namespace auricle
