#include "auricle/kernels.hpp"

#include <algorithm>
#include <cmath>

#include "activations.hpp"
#include "attention.hpp"
#include "products.hpp"

namespace auricle {
namespace {

// One set: the same functions, compiled for TARGET.
#define AURICLE_KERNELS(NAME, LANES, ROWS, TARGET)                                                                               \
  struct NAME {                                                                                                                  \
    TARGET static void product(const float* w, Index from, Index to, Index k, const float* x, Index m, float* y, Index stride) { \
      auricle::product<LANES, ROWS>(w, from, to, k, x, m, y, stride);                                                            \
    }                                                                                                                            \
    TARGET static void product8(const std::int8_t* q, const float* scale, Index from, Index to, Index k, const std::int16_t* x,  \
                                const float* x_scale, Index m, float* y, Index stride) {                                         \
      auricle::product8(q, scale, from, to, k, x, x_scale, m, y, stride);                                                        \
    }                                                                                                                            \
    TARGET static float round_to_16_bits(const float* x, Index k, std::int16_t* q) { return auricle::rounded(x, k, q); }         \
    TARGET static void norm(const float* x, const float* weight, const float* bias, Index n, float* out) {                       \
      auricle::norm(x, weight, bias, n, out);                                                                                    \
    }                                                                                                                            \
    TARGET static void softmax(float* x, Index n) { auricle::softmax(x, n); }                                                    \
    TARGET static void gelu(float* x, Index n) { auricle::gelu(x, n); }                                                          \
    TARGET static void gate(float* x, const float* with, Index n) { auricle::gate(x, with, n); }                                 \
    TARGET static void scores(const float* q, Index stride, Index m, const float* keys, Index d, Index n, float* found) {        \
      auricle::scores<LANES>(q, stride, m, keys, d, n, found);                                                                   \
    }                                                                                                                            \
    TARGET static void mean(const float* weights, Index m, const float* values, Index d, Index n, float* out, Index stride) {    \
      auricle::mean<LANES>(weights, m, values, d, n, out, stride);                                                               \
    }                                                                                                                            \
  };                                                                                                                             \
  constexpr Kernels k##NAME = {NAME::product, NAME::product8, NAME::round_to_16_bits, NAME::norm, NAME::softmax,                 \
                               NAME::gelu,    NAME::gate,     NAME::scores,           NAME::mean};

AURICLE_KERNELS(Portable, Eight, 2, )
#if defined(__GNUC__) && defined(__x86_64__)
AURICLE_KERNELS(Avx2, Eight, 2, __attribute__((target("avx2,fma"))))
#if defined(__clang__)
#define AURICLE_512 "avx512f,avx512bw,avx512vl,avx512dq,fma"
#else  // GCC would use half of a register by itself, and clang has no such attribute
#define AURICLE_512 "avx512f,avx512bw,avx512vl,avx512dq,fma,prefer-vector-width=512"
#endif
AURICLE_KERNELS(Avx512, Sixteen, 4, __attribute__((target(AURICLE_512))))
AURICLE_KERNELS(Vnni, Sixteen, 4, __attribute__((target(AURICLE_512 ",avx512vnni"))))
#endif

}  // namespace

std::vector<const Kernels*> all_kernels() {
  std::vector<const Kernels*> found;
#if defined(__GNUC__) && defined(__x86_64__)
  if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl") &&
      __builtin_cpu_supports("avx512dq")) {
    if (__builtin_cpu_supports("avx512vnni")) {
      found.push_back(&kVnni);
    }
    found.push_back(&kAvx512);
  }
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) {
    found.push_back(&kAvx2);
  }
#endif
  found.push_back(&kPortable);
  return found;
}

const Kernels& kernels() { return *all_kernels().front(); }

std::int32_t kept_range(Index k) noexcept { return range_of(k); }

}  // namespace auricle
