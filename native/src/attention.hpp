// Attention to what an encoder heard, for kernels.cpp, which compiles it for several kinds of processor.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>

#include "products.hpp"

namespace auricle {
namespace {

constexpr Index kAhead = 256;  // values that are fetched before they are needed: rows cross pages, where processors stop looking ahead

// One query with one row of the encoder.
AURICLE_INLINE float score(const float* q, const float* keys, Index d, Index n) noexcept {
  float total = 0.0F;
  for (Index i = 0; i < d; ++i) {
    total += keys[i * n] * q[i];
  }
  return total;
}

// One query: kRows rows of keys are read side by side, the sums lie in `found`.
template <class Lanes, int kRows>
AURICLE_INLINE void add_scores(const float* q, const float* rows, Index n, Index whole, float* found) noexcept {
  for (Index t = 0; t < whole; t += kLanes<Lanes>) {
    Lanes sums = load<Lanes>(found + t);
    for (Index r = 0; r < kRows; ++r) {
      __builtin_prefetch(rows + r * n + t + kAhead);
      sums += load<Lanes>(rows + r * n + t) * q[r];
    }
    std::memcpy(found + t, &sums, sizeof sums);
  }
}

template <class Lanes>
AURICLE_INLINE void scores_of_one(const float* q, const float* keys, Index d, Index n, float* found) noexcept {
  const Index whole = n / kLanes<Lanes> * kLanes<Lanes>;
  std::fill(found, found + whole, 0.0F);
  Index i = 0;
  for (; i + 4 <= d; i += 4) {
    add_scores<Lanes, 4>(q + i, keys + i * n, n, whole, found);
  }
  for (; i < d; ++i) {
    add_scores<Lanes, 1>(q + i, keys + i * n, n, whole, found);
  }
  for (Index t = whole; t < n; ++t) {
    found[t] = score(q, keys + t, d, n);
  }
}

// Four queries at once, sums in registers: in the same order as those of one.
template <class Lanes>
AURICLE_INLINE void scores_of_four(const float* q, Index stride, const float* keys, Index d, Index n, float* found) noexcept {
  constexpr Index kRegisters = sizeof(Lanes) / 16, kWide = kRegisters * kLanes<Lanes>;
  Index t = 0;
  for (; t + kWide <= n; t += kWide) {
    Lanes sums[4][kRegisters] = {};
    for (Index i = 0; i < d; ++i) {
      for (Index at = 0; at < kRegisters; ++at) {
        const Lanes key = load<Lanes>(keys + i * n + t + at * kLanes<Lanes>);
        for (Index of = 0; of < 4; ++of) {
          sums[of][at] += key * q[of * stride + i];
        }
      }
    }
    for (Index of = 0; of < 4; ++of) {
      std::memcpy(found + of * n + t, sums[of], sizeof sums[of]);
    }
  }
  const Index rest = (n - t) / kLanes<Lanes> * kLanes<Lanes>;
  for (Index of = 0; of < 4; ++of) {
    std::fill(found + of * n + t, found + of * n + t + rest, 0.0F);
    for (Index i = 0; i < d; ++i) {
      add_scores<Lanes, 1>(q + of * stride + i, keys + i * n + t, n, rest, found + of * n + t);
    }
    for (Index at = t + rest; at < n; ++at) {
      found[of * n + at] = score(q + of * stride, keys + at, d, n);
    }
  }
}

template <class Lanes>
AURICLE_INLINE void scores(const float* q, Index stride, Index m, const float* keys, Index d, Index n, float* found) noexcept {
  Index i = 0;
  for (; i + 4 <= m; i += 4) {
    scores_of_four<Lanes>(q + i * stride, stride, keys, d, n, found + i * n);
  }
  for (; i < m; ++i) {
    scores_of_one<Lanes>(q + i * stride, keys, d, n, found + i * n);
  }
}

// kColumns registers full of columns of the values, for kOf rows of weights. Even and odd rows of values are added up apart, so that a
// product need not wait for the last sum.
template <class Lanes, int kColumns, int kOf>
AURICLE_INLINE void mean_of(const float* weights, const float* values, Index d, Index n, float* out, Index stride) noexcept {
  Lanes sums[kOf][2][kColumns] = {};
  Index t = 0;
  for (; t + 2 <= n; t += 2) {
    for (int odd = 0; odd < 2; ++odd) {
      const float* const row = values + (t + odd) * d;
      __builtin_prefetch(row + 4 * kAhead);
      for (int column = 0; column < kColumns; ++column) {
        const Lanes value = load<Lanes>(row + column * kLanes<Lanes>);
        for (int of = 0; of < kOf; ++of) {
          sums[of][odd][column] += value * weights[of * n + t + odd];
        }
      }
    }
  }
  for (int column = 0; t < n && column < kColumns; ++column) {
    for (int of = 0; of < kOf; ++of) {
      sums[of][0][column] += load<Lanes>(values + t * d + column * kLanes<Lanes>) * weights[of * n + t];
    }
  }
  for (int of = 0; of < kOf; ++of) {
    for (int column = 0; column < kColumns; ++column) {
      const Lanes total = sums[of][0][column] + sums[of][1][column];
      std::memcpy(out + of * stride + column * kLanes<Lanes>, &total, sizeof total);
    }
  }
}

template <class Lanes, int kColumns, int kOf>
AURICLE_INLINE void mean_of_rows(const float* weights, const float* values, Index d, Index n, float* out, Index stride) noexcept {
  Index i = 0;
  for (; i + kColumns * kLanes<Lanes> <= d; i += kColumns * kLanes<Lanes>) {
    mean_of<Lanes, kColumns, kOf>(weights, values + i, d, n, out + i, stride);
  }
  for (; i + kLanes<Lanes> <= d; i += kLanes<Lanes>) {
    mean_of<Lanes, 1, kOf>(weights, values + i, d, n, out + i, stride);
  }
  for (; i + kLanes<Four> <= d; i += kLanes<Four>) {
    mean_of<Four, 1, kOf>(weights, values + i, d, n, out + i, stride);
  }
  for (; i < d; ++i) {
    for (int of = 0; of < kOf; ++of) {
      float sums[2] = {};
      for (Index t = 0; t < n; ++t) {
        sums[t & 1] += values[t * d + i] * weights[of * n + t];
      }
      out[of * stride + i] = sums[0] + sums[1];
    }
  }
}

template <class Lanes>
AURICLE_INLINE void mean(const float* weights, Index m, const float* values, Index d, Index n, float* out, Index stride) noexcept {
  Index i = 0;
  for (; i + 4 <= m; i += 4) {
    mean_of_rows<Lanes, sizeof(Lanes) / 32, 4>(weights + i * n, values, d, n, out + i * stride, stride);
  }
  for (; i < m; ++i) {
    mean_of_rows<Lanes, 64 / kLanes<Lanes>, 1>(weights + i * n, values, d, n, out + i * stride, stride);
  }
}

}  // namespace
}  // namespace auricle
