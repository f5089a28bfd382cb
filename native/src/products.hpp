// Products with weights, for kernels.cpp, which compiles them for several kinds of processor.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>

#include "inline.hpp"

namespace auricle {
namespace {

using Index = std::int64_t;

// Values that are computed side by side. The compiler makes of them what the processor has: one register, or several.
using Four = float __attribute__((vector_size(16)));
using Eight = float __attribute__((vector_size(32)));
using Sixteen = float __attribute__((vector_size(64)));

template <class Lanes>
constexpr Index kLanes = sizeof(Lanes) / sizeof(float);

template <class Lanes>
AURICLE_INLINE Lanes load(const float* at) noexcept {
  Lanes lanes;
  std::memcpy(&lanes, at, sizeof lanes);
  return lanes;
}

template <class Half, class Lanes>
AURICLE_INLINE Half folded(const Lanes& lanes) noexcept {
  Half halves[2];
  std::memcpy(halves, &lanes, sizeof lanes);
  return halves[0] + halves[1];
}

AURICLE_INLINE float sum(const Four& lanes) noexcept { return (lanes[0] + lanes[2]) + (lanes[1] + lanes[3]); }
AURICLE_INLINE float sum(const Eight& lanes) noexcept { return sum(folded<Four>(lanes)); }
AURICLE_INLINE float sum(const Sixteen& lanes) noexcept { return sum(folded<Eight>(lanes)); }

constexpr Index kGroup = 16;  // rows of weights whose results are written together, a cache line for each row of x

// kRows rows of w with kOf rows of x, so that each value that is loaded is used several times. y: [kOf][kGroup].
template <class Lanes, int kRows, int kOf>
AURICLE_INLINE void tile(const float* w, const float* x, Index k, float* y) noexcept {
  Lanes sums[kRows][kOf] = {};
  Index i = 0;
  for (; i + kLanes<Lanes> <= k; i += kLanes<Lanes>) {
    Lanes with[kOf];
    for (int of = 0; of < kOf; ++of) {
      with[of] = load<Lanes>(x + of * k + i);
    }
    for (int row = 0; row < kRows; ++row) {
      if (kOf > 1) {  // while one group is used several times, the next one is fetched
        __builtin_prefetch(w + (row + kGroup) * k + i);
      }
      const Lanes weights = load<Lanes>(w + row * k + i);
      for (int of = 0; of < kOf; ++of) {
        sums[row][of] += weights * with[of];
      }
    }
  }
  for (int row = 0; row < kRows; ++row) {
    for (int of = 0; of < kOf; ++of) {
      float total = sum(sums[row][of]);
      for (Index rest = i; rest < k; ++rest) {
        total += w[row * k + rest] * x[of * k + rest];
      }
      y[of * kGroup + row] = total;
    }
  }
}

// kOf rows of x with a group of `count` rows of weights.
template <class Lanes, int kRows, int kOf>
AURICLE_INLINE void group(const float* w, Index count, Index k, const float* x, float* y, Index stride) noexcept {
  float found[kOf * kGroup];
  Index n = 0;
  for (; n + kRows <= count; n += kRows) {
    tile<Lanes, kRows, kOf>(w + n * k, x, k, found + n);
  }
  for (; n < count; ++n) {
    tile<Lanes, 1, kOf>(w + n * k, x, k, found + n);
  }
  for (int of = 0; of < kOf; ++of) {
    std::copy(found + of * kGroup, found + of * kGroup + count, y + of * stride);
  }
}

template <class Lanes, int kRows>
AURICLE_INLINE void product(const float* w, Index from, Index to, Index k, const float* x, Index m, float* y, Index stride) noexcept {
  for (Index n = from; n < to; n += kGroup) {
    const Index count = std::min(kGroup, to - n);
    Index i = 0;
    for (; i + 4 <= m; i += 4) {
      group<Lanes, kRows, 4>(w + n * k, count, k, x + i * k, y + i * stride + n, stride);
    }
    if (i + 2 <= m) {
      group<Lanes, kRows, 2>(w + n * k, count, k, x + i * k, y + i * stride + n, stride);
      i += 2;
    }
    if (i < m) {
      group<Lanes, 1, 1>(w + n * k, count, k, x + i * k, y + i * stride + n, stride);
    }
  }
}

// One row of weights with kOf of activations. Kept a plain loop: compilers know sums of products of 16-bit values, for which processors
// have an instruction.
template <int kOf>
AURICLE_INLINE void row8(const std::int8_t* q, const std::int16_t* x, Index k, std::int32_t* found) noexcept {
  std::int32_t sums[kOf] = {};
  for (Index i = 0; i < k; ++i) {
    const std::int32_t weight = q[i];
    for (int of = 0; of < kOf; ++of) {
      sums[of] += weight * x[of * k + i];
    }
  }
  std::copy(sums, sums + kOf, found);
}

template <int kOf>
AURICLE_INLINE void group8(const std::int8_t* q, const float* scale, Index count, Index k, const std::int16_t* x, const float* x_scale,
                           float* y, Index stride) noexcept {
  float found[kOf * kGroup];
  for (Index n = 0; n < count; ++n) {
    std::int32_t sums[kOf];
    row8<kOf>(q + n * k, x, k, sums);
    for (int of = 0; of < kOf; ++of) {
      found[of * kGroup + n] = static_cast<float>(sums[of]) * (scale[n] * x_scale[of]);
    }
  }
  for (int of = 0; of < kOf; ++of) {
    std::copy(found + of * kGroup, found + of * kGroup + count, y + of * stride);
  }
}

AURICLE_INLINE void product8(const std::int8_t* q, const float* scale, Index from, Index to, Index k, const std::int16_t* x,
                             const float* x_scale, Index m, float* y, Index stride) noexcept {
  for (Index n = from; n < to; n += kGroup) {
    const Index count = std::min(kGroup, to - n);
    Index i = 0;
    for (; i + 4 <= m; i += 4) {
      group8<4>(q + n * k, scale + n, count, k, x + i * k, x_scale + i, y + i * stride + n, stride);
    }
    if (i + 2 <= m) {
      group8<2>(q + n * k, scale + n, count, k, x + i * k, x_scale + i, y + i * stride + n, stride);
      i += 2;
    }
    if (i < m) {
      group8<1>(q + n * k, scale + n, count, k, x + i * k, x_scale + i, y + i * stride + n, stride);
    }
  }
}

}  // namespace
}  // namespace auricle
