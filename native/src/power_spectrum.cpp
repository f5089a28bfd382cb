#include "auricle/power_spectrum.hpp"

#include <cmath>

#include "inline.hpp"

namespace auricle {
namespace {

constexpr int kHalf = kFft / 2;  // points of the complex transform: sample 2n is the real, 2n + 1 the imaginary part
constexpr double kPi = 3.14159265358979323846;

struct Twiddle {
  double re[3 * kHalf / 4];
  double im[3 * kHalf / 4];
};

struct Tables {
  double window_even[kFrame / 2];
  double window_odd[kFrame / 2];
  Twiddle radix4[3];  // of the passes over 256, 64 and 16 points: w^p, then w^2p, then w^3p
  double unpack_re[kHalf / 2];
  double unpack_im[kHalf / 2];

  Tables() noexcept {
    for (int n = 0; n < kFrame / 2; ++n) {
      // Half the window, so that the sums of two in unpack() need no halving: a power of two, hence exact.
      window_even[n] = 0.5 * (0.5 - 0.5 * std::cos(2.0 * kPi * (2 * n) / kFrame));
      window_odd[n] = 0.5 * (0.5 - 0.5 * std::cos(2.0 * kPi * (2 * n + 1) / kFrame));
    }
    int points = kHalf;
    for (Twiddle& pass : radix4) {
      for (int power = 1; power <= 3; ++power) {
        for (int p = 0; p < points / 4; ++p) {
          const double angle = -2.0 * kPi * power * p / points;
          pass.re[(power - 1) * points / 4 + p] = std::cos(angle);
          pass.im[(power - 1) * points / 4 + p] = std::sin(angle);
        }
      }
      points /= 4;
    }
    for (int k = 0; k < kHalf / 2; ++k) {
      unpack_re[k] = std::cos(-2.0 * kPi * k / kFft);
      unpack_im[k] = std::sin(-2.0 * kPi * k / kFft);
    }
  }
};

const Tables kTables;

struct Signal {
  alignas(64) double re[kHalf + 1];  // the last one is for unpack(): the first once more
  alignas(64) double im[kHalf + 1];
};

AURICLE_INLINE void window(const float* frame, Signal& x) noexcept {
  for (int n = 0; n < kFrame / 2; ++n) {
    x.re[n] = static_cast<double>(frame[2 * n]) * kTables.window_even[n];
    x.im[n] = static_cast<double>(frame[2 * n + 1]) * kTables.window_odd[n];
  }
  for (int n = kFrame / 2; n < kHalf; ++n) {
    x.re[n] = 0.0;
    x.im[n] = 0.0;
  }
}

// One butterfly of four points a, b, c, d at distance `step` to y, at distance `out`.
AURICLE_INLINE void butterfly(const Signal& x, int in, int step, Signal& y, int to, int out, const double* w) noexcept {
  const double a_re = x.re[in], a_im = x.im[in];
  const double b_re = x.re[in + step], b_im = x.im[in + step];
  const double c_re = x.re[in + 2 * step], c_im = x.im[in + 2 * step];
  const double d_re = x.re[in + 3 * step], d_im = x.im[in + 3 * step];
  const double sum_ac_re = a_re + c_re, sum_ac_im = a_im + c_im;
  const double dif_ac_re = a_re - c_re, dif_ac_im = a_im - c_im;
  const double sum_bd_re = b_re + d_re, sum_bd_im = b_im + d_im;
  const double dif_bd_re = b_re - d_re, dif_bd_im = b_im - d_im;
  const double t1_re = dif_ac_re + dif_bd_im, t1_im = dif_ac_im - dif_bd_re;
  const double t2_re = sum_ac_re - sum_bd_re, t2_im = sum_ac_im - sum_bd_im;
  const double t3_re = dif_ac_re - dif_bd_im, t3_im = dif_ac_im + dif_bd_re;
  y.re[to] = sum_ac_re + sum_bd_re;
  y.im[to] = sum_ac_im + sum_bd_im;
  y.re[to + out] = w[0] * t1_re - w[1] * t1_im;
  y.im[to + out] = w[0] * t1_im + w[1] * t1_re;
  y.re[to + 2 * out] = w[2] * t2_re - w[3] * t2_im;
  y.im[to + 2 * out] = w[2] * t2_im + w[3] * t2_re;
  y.re[to + 3 * out] = w[4] * t3_re - w[5] * t3_im;
  y.im[to + 3 * out] = w[4] * t3_im + w[5] * t3_re;
}

// One pass of the self-sorting radix-4 transform (T. G. Stockham; C. Van Loan, Computational Frameworks for the FFT,
// section 1.7): `kPoints` points remain in each of `kStride` transforms that lie side by side.
template <int kPoints, int kStride>
AURICLE_INLINE void pass(const Signal& x, Signal& y, const Twiddle& twiddle) noexcept {
  constexpr int kQuarter = kPoints / 4;
  for (int p = 0; p < kQuarter; ++p) {
    const double w[6] = {twiddle.re[p],
                         twiddle.im[p],
                         twiddle.re[kQuarter + p],
                         twiddle.im[kQuarter + p],
                         twiddle.re[2 * kQuarter + p],
                         twiddle.im[2 * kQuarter + p]};
// Kept a loop: taken apart, its four steps of the second pass are not vectorised.
#pragma GCC unroll 1
    for (int q = 0; q < kStride; ++q) {
      butterfly(x, q + kStride * p, kStride * kQuarter, y, q + kStride * 4 * p, kStride, w);
    }
  }
}

AURICLE_INLINE void last_pass(const Signal& x, Signal& y) noexcept {
  constexpr double kOne[6] = {1.0, 0.0, 1.0, 0.0, 1.0, 0.0};
  for (int q = 0; q < kHalf / 4; ++q) {
    butterfly(x, q, kHalf / 4, y, q, kHalf / 4, kOne);
  }
}

// From the transform of the samples in pairs to the powers of the real one.
AURICLE_INLINE void unpack(Signal& z, float* power) noexcept {
  z.re[kHalf] = z.re[0];
  z.im[kHalf] = z.im[0];
  alignas(64) double exact[kBins];  // not `power` at once: GCC does not vectorise a loop that converts and runs backwards
  for (int k = 0; k < kHalf / 2; ++k) {
    const int mirror = kHalf - k;
    const double even_re = z.re[k] + z.re[mirror], even_im = z.im[k] - z.im[mirror];
    const double odd_re = z.im[k] + z.im[mirror], odd_im = z.re[mirror] - z.re[k];
    const double turned_re = kTables.unpack_re[k] * odd_re - kTables.unpack_im[k] * odd_im;
    const double turned_im = kTables.unpack_re[k] * odd_im + kTables.unpack_im[k] * odd_re;
    const double re = even_re + turned_re, im = even_im + turned_im;
    const double mirror_re = even_re - turned_re, mirror_im = even_im - turned_im;
    exact[k] = re * re + im * im;
    exact[mirror] = mirror_re * mirror_re + mirror_im * mirror_im;
  }
  const double middle_re = z.re[kHalf / 2], middle_im = z.im[kHalf / 2];
  exact[kHalf / 2] = 4.0 * (middle_re * middle_re + middle_im * middle_im);
  exact[0] = 0.0;
  for (int k = 0; k < kBins; ++k) {
    power[k] = static_cast<float>(exact[k]);
  }
}

AURICLE_INLINE void transform(const float* frame, float* power) noexcept {
  Signal x;
  Signal y;
  window(frame, x);
  pass<256, 1>(x, y, kTables.radix4[0]);
  pass<64, 4>(y, x, kTables.radix4[1]);
  pass<16, 16>(x, y, kTables.radix4[2]);
  last_pass(y, x);
  unpack(x, power);
}

void portable(const float* frame, float* power) { transform(frame, power); }

#if defined(__GNUC__) && defined(__x86_64__)
__attribute__((target("avx2,fma"))) void avx2(const float* frame, float* power) { transform(frame, power); }

PowerSpectrum fastest() noexcept { return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") ? avx2 : portable; }
#else
PowerSpectrum fastest() noexcept { return portable; }
#endif

}  // namespace

PowerSpectrum power_spectrum() noexcept { return fastest(); }
PowerSpectrum portable_power_spectrum() noexcept { return portable; }

}  // namespace auricle
