// Functions of values and of rows of them, for kernels.cpp, which compiles them for several kinds of processor.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>

#include "products.hpp"

namespace auricle {
namespace {

constexpr Index kSums = 16;  // sums and maxima of a row are kept apart so often, as registers hold them

AURICLE_INLINE std::int32_t range_of(Index k) noexcept {
  return static_cast<std::int32_t>(std::min<Index>(32767, 2147483647 / (128 * std::max<Index>(k, 1))));
}

// Without its sign: of two numbers the one whose bits are greater is greater, and NaN is above infinity, which no maximum of floats gives.
AURICLE_INLINE std::int32_t magnitude(float x) noexcept {
  std::int32_t bits;
  std::memcpy(&bits, &x, sizeof bits);
  return bits & 0x7fffffff;
}

AURICLE_INLINE float rounded(const float* x, Index k, std::int16_t* q) noexcept {
  std::int32_t each[kSums] = {};
  Index i = 0;
  for (; i + kSums <= k; i += kSums) {
    for (Index lane = 0; lane < kSums; ++lane) {
      each[lane] = std::max(each[lane], magnitude(x[i + lane]));
    }
  }
  std::int32_t most = 0;
  for (const std::int32_t part : each) {
    most = std::max(most, part);
  }
  for (; i < k; ++i) {
    most = std::max(most, magnitude(x[i]));
  }
  float largest;
  std::memcpy(&largest, &most, sizeof largest);
  if (!std::isfinite(largest)) {  // what this row is multiplied with must come out as it would in floats: as no number
    std::fill_n(q, k, std::int16_t{0});
    return std::numeric_limits<float>::quiet_NaN();
  }
  const float range = static_cast<float>(range_of(k));
  const float steps = largest > 0.0F ? range / largest : 0.0F;
  for (i = 0; i < k; ++i) {
    const float scaled = x[i] * steps;
    q[i] = static_cast<std::int16_t>(static_cast<std::int32_t>(scaled + std::copysign(0.5F, scaled)));
  }
  return largest / range;
}

AURICLE_INLINE void norm(const float* x, const float* weight, const float* bias, Index n, float* out) noexcept {
  double totals[kSums] = {}, squares[kSums] = {};
  Index i = 0;
  for (; i + kSums <= n; i += kSums) {
    for (Index lane = 0; lane < kSums; ++lane) {
      totals[lane] += static_cast<double>(x[i + lane]);
    }
  }
  double total = 0.0;
  for (const double part : totals) {
    total += part;
  }
  for (; i < n; ++i) {
    total += static_cast<double>(x[i]);
  }
  const double mean = total / static_cast<double>(n);
  for (i = 0; i + kSums <= n; i += kSums) {
    for (Index lane = 0; lane < kSums; ++lane) {
      const double away = static_cast<double>(x[i + lane]) - mean;
      squares[lane] += away * away;
    }
  }
  double spread = 0.0;
  for (const double part : squares) {
    spread += part;
  }
  for (; i < n; ++i) {
    spread += (static_cast<double>(x[i]) - mean) * (static_cast<double>(x[i]) - mean);
  }
  const float share = static_cast<float>(1.0 / std::sqrt(spread / static_cast<double>(n) + 1e-5));
  const float middle = static_cast<float>(mean);
  for (i = 0; i < n; ++i) {
    out[i] = (x[i] - middle) * share * weight[i];
  }
  for (i = 0; bias != nullptr && i < n; ++i) {
    out[i] += bias[i];
  }
}

// e^x to 2 units in the last place, for any x that is a number: what would underflow is 0, what would overflow large.
// Source: S. Moshier, Cephes, expf (reduction and polynomial).
AURICLE_INLINE float exponential(float x) noexcept {
  x = std::min(std::max(x, -87.0F), 88.0F);
  constexpr float kRound = 12582912.0F;  // 1.5 * 2^23: adding it leaves a whole number
  const float shifted = x * 1.44269504088896341F + kRound;
  const float whole = shifted - kRound;
  const float r = (x - whole * 0.693359375F) + whole * 2.12194440e-4F;
  float y = 1.9875691500e-4F;
  y = y * r + 1.3981999507e-3F;
  y = y * r + 8.3334519073e-3F;
  y = y * r + 4.1665795894e-2F;
  y = y * r + 1.6666665459e-1F;
  y = y * r + 5.0000001201e-1F;
  y = y * r * r + r + 1.0F;
  std::int32_t bits;
  std::memcpy(&bits, &shifted, sizeof bits);
  bits = (bits - 0x4b400000 + 127) << 23;
  float power;
  std::memcpy(&power, &bits, sizeof power);
  return y * power;
}

AURICLE_INLINE void softmax(float* x, Index n) noexcept {
  float highest = x[0];
  for (Index i = 1; i < n; ++i) {
    highest = std::max(highest, x[i]);
  }
  for (Index i = 0; i < n; ++i) {
    x[i] = exponential(x[i] - highest);
  }
  float sums[kSums] = {};
  Index i = 0;
  for (; i + kSums <= n; i += kSums) {
    for (Index lane = 0; lane < kSums; ++lane) {
      sums[lane] += x[i + lane];
    }
  }
  float total = 0.0F;
  for (const float part : sums) {
    total += part;
  }
  for (; i < n; ++i) {
    total += x[i];
  }
  const float share = 1.0F / total;
  for (i = 0; i < n; ++i) {
    x[i] *= share;
  }
}

// Source of the error function: Abramowitz and Stegun, 7.1.26, within 1.5e-7.
AURICLE_INLINE void gelu(float* x, Index n) noexcept {
  for (Index i = 0; i < n; ++i) {
    const float at = std::fabs(x[i]) * 0.70710678118654752F;
    const float t = 1.0F / (1.0F + 0.3275911F * at);
    float y = 1.061405429F;
    y = y * t - 1.453152027F;
    y = y * t + 1.421413741F;
    y = y * t - 0.284496736F;
    y = y * t + 0.254829592F;
    const float half = 0.5F * y * t * exponential(-at * at);  // of 1 - erf
    x[i] *= x[i] < 0.0F ? half : 1.0F - half;
  }
}

AURICLE_INLINE void gate(float* x, const float* with, Index n) noexcept {
  for (Index i = 0; i < n; ++i) {
    x[i] = x[i] / (1.0F + exponential(-x[i])) * with[i];
  }
}

}  // namespace
}  // namespace auricle
