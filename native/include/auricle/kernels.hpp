// The arithmetic of a small transformer that tells one token after another: products with weights that are read once and decide how long
// a token takes, softmax, activations.
#pragma once

#include <cstdint>
#include <vector>

namespace auricle {

// One set of functions for each kind of processor. Sizes are in values; pointers need no alignment and do not overlap.
struct Kernels {
  // Values [from, to) of m rows of y: y[i * stride + n] = w[n] . x[i], k values each; rows of w and of x lie close together. What comes out
  // for a row does not depend on how many others there are, not in the last bit.
  void (*product)(const float* w, std::int64_t from, std::int64_t to, std::int64_t k, const float* x, std::int64_t m, float* y,
                  std::int64_t stride);
  // The same with w[n] = scale[n] * q[n] and x_scale[i] * x[i]; products are added up exactly, see kept_range().
  void (*product8)(const std::int8_t* q, const float* scale, std::int64_t from, std::int64_t to, std::int64_t k, const std::int16_t* x,
                   const float* x_scale, std::int64_t m, float* y, std::int64_t stride);
  // q[i] = x[i] rounded to steps of what is returned, none larger than kept_range(k), for k values. NaN and zeros where one is not finite.
  float (*round_to_16_bits)(const float* x, std::int64_t k, std::int16_t* q);
  // out = (x - mean) / sqrt(variance + 1e-5) * weight + bias, for n values; bias may be null.
  void (*norm)(const float* x, const float* weight, const float* bias, std::int64_t n, float* out);
  // x = exp(x) / sum of them; n >= 1.
  void (*softmax)(float* x, std::int64_t n);
  // x = x / 2 * (1 + erf(x / sqrt 2)).
  void (*gelu)(float* x, std::int64_t n);
  // x = x / (1 + exp(-x)) * with.
  void (*gate)(float* x, const float* with, std::int64_t n);
  // found[j * n + t] = sum over i of q[j * stride + i] * keys[i * n + t], for m queries of d values. As for products, one does not depend
  // on how many others there are; the same holds for the means.
  void (*scores)(const float* q, std::int64_t stride, std::int64_t m, const float* keys, std::int64_t d, std::int64_t n, float* found);
  // out[j * stride + i] = sum over t of weights[j * n + t] * values[t * d + i], for m rows of weights.
  void (*mean)(const float* weights, std::int64_t m, const float* values, std::int64_t d, std::int64_t n, float* out, std::int64_t stride);
};

// The fastest that this processor can run.
const Kernels& kernels();
// All that it can run, the fastest first, those for every processor last.
std::vector<const Kernels*> all_kernels();

// The largest 16-bit value that activations may take, so that k products with 8 bits fit into 32.
std::int32_t kept_range(std::int64_t k) noexcept;

}  // namespace auricle
