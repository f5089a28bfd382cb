#include "auricle/log_mel.hpp"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <stdexcept>

namespace auricle {
namespace {

constexpr double kSampleRateHz = 16000.0;
constexpr float kFloor = 1e-10F;

double mel(double hz) { return 2595.0 * std::log10(1.0 + hz / 700.0); }

// Natural logarithm of normal positive floats to 2 units in the last place. Unlike std::log, this loop is vectorised.
// Source: S. Moshier, Cephes, logf (the polynomial); musl, logf.c (taking the float apart without a comparison).
void log_in_place(float* values, int n) noexcept {
  for (int i = 0; i < n; ++i) {
    constexpr std::int32_t kOne = 0x3f800000;
    constexpr std::int32_t kSqrtHalf = 0x3f3504f3;
    std::int32_t bits;
    std::memcpy(&bits, &values[i], sizeof bits);
    bits += kOne - kSqrtHalf;
    const float exponent = static_cast<float>((bits >> 23) - 127);
    bits = (bits & 0x007fffff) + kSqrtHalf;
    float x;  // the mantissa, from sqrt(1/2) to sqrt(2), less 1
    std::memcpy(&x, &bits, sizeof x);
    x -= 1.0F;
    const float z = x * x;
    float y = 7.0376836292e-2F;
    y = y * x - 1.1514610310e-1F;
    y = y * x + 1.1676998740e-1F;
    y = y * x - 1.2420140846e-1F;
    y = y * x + 1.4249322787e-1F;
    y = y * x - 1.6668057665e-1F;
    y = y * x + 2.0000714765e-1F;
    y = y * x - 2.4999993993e-1F;
    y = y * x + 3.3333331174e-1F;
    y = y * x * z;
    y = y - 2.12194440e-4F * exponent;
    y = y - 0.5F * z;
    values[i] = x + y + 0.693359375F * exponent;
  }
}

}  // namespace

LogMel::LogMel(int bands, double low_hz, double high_hz)
    : bands_(bands), spectrum_(power_spectrum()), rising_(kBins, 0.0F), falling_(kBins, 0.0F), kept_samples_(2 * kFrame, 0.0F) {
  if (bands < 1 || bands > kMostBands) {
    throw std::invalid_argument("bands must be 1 to 128");
  }
  if (!(0.0 <= low_hz && low_hz < high_hz && high_hz <= kSampleRateHz / 2.0)) {
    throw std::invalid_argument("the band edges must satisfy 0 <= low_hz < high_hz <= 8000");
  }
  const double low = mel(low_hz);
  const double spacing = (mel(high_hz) - low) / (bands + 1);
  const auto place = [&](int bin) { return (mel(bin * kSampleRateHz / kFft) - low) / spacing; };
  int bin = 1;
  for (int segment = 0; segment <= bands + 1; ++segment) {
    while (bin < kBins && place(bin) < segment) {
      ++bin;
    }
    edge_.push_back(bin);
  }
  for (int segment = 0; segment <= bands; ++segment) {
    for (int b = edge_[static_cast<std::size_t>(segment)]; b < edge_[static_cast<std::size_t>(segment) + 1]; ++b) {
      rising_[static_cast<std::size_t>(b)] = static_cast<float>(place(b) - segment);
      falling_[static_cast<std::size_t>(b)] = static_cast<float>(1.0 - (place(b) - segment));
    }
  }
}

std::int64_t LogMel::rows(std::int64_t n) const noexcept {
  const std::int64_t samples = kept_ + n;
  return samples < kFrame ? 0 : 1 + (samples - kFrame) / kHop;
}

void LogMel::row(const float* frame, float* out) const noexcept {
  float power[kBins];
  float falling[kBins];
  spectrum_(frame, power);
  for (int bin = 0; bin < kBins; ++bin) {
    falling[bin] = power[bin] * falling_[static_cast<std::size_t>(bin)];
    power[bin] *= rising_[static_cast<std::size_t>(bin)];
  }
  float rise = 0.0F;
  for (int s = 0; s <= bands_; ++s) {
    float fall = 0.0F;
    float next_rise = 0.0F;
    for (int bin = edge_[static_cast<std::size_t>(s)]; bin < edge_[static_cast<std::size_t>(s) + 1]; ++bin) {
      fall += falling[bin];
      next_rise += power[bin];
    }
    if (s > 0) {
      const float energy = rise + fall;
      out[s - 1] = energy > kFloor ? energy : kFloor;  // also for NaN
    }
    rise = next_rise;
  }
  log_in_place(out, bands_);
}

void LogMel::extend(const float* samples, std::int64_t n, float* out) noexcept {
  if (n == 0) {
    return;  // the caller's pointer may then be null, which memcpy may not be given
  }
  float* const kept = kept_samples_.data();
  // Rows that begin among the kept samples need at most kFrame - 1 of the new ones.
  const int borrowed = static_cast<int>(std::min<std::int64_t>(n, kFrame));
  std::memcpy(kept + kept_, samples, static_cast<std::size_t>(borrowed) * sizeof(float));
  int at = 0;
  for (; at < kept_ && at + kFrame <= kept_ + borrowed; at += kHop, out += bands_) {
    row(kept + at, out);
  }
  if (at < kept_) {  // all new samples were borrowed, and the row to come begins among the old ones
    kept_ = kept_ + borrowed - at;
    std::memmove(kept, kept + at, static_cast<std::size_t>(kept_) * sizeof(float));
    return;
  }
  std::int64_t start = at - kept_;
  for (; start + kFrame <= n; start += kHop, out += bands_) {
    row(samples + start, out);
  }
  kept_ = static_cast<int>(n - start);
  std::memcpy(kept, samples + start, static_cast<std::size_t>(kept_) * sizeof(float));
}

}  // namespace auricle
