#include "auricle/log_mel.hpp"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <random>
#include <stdexcept>
#include <vector>

#include "allocations.hpp"
#include "check.hpp"

namespace {

using auricle::LogMel;

constexpr double kPi = 3.14159265358979323846;

using Row = std::vector<double>;

// By the definition, in double, with a slow transform: nothing in common with the code under test.
double reference_power(const float* frame, int k) {
  double re = 0.0;
  double im = 0.0;
  for (int n = 0; n < 400; ++n) {
    const double x = static_cast<double>(frame[n]) * (0.5 - 0.5 * std::cos(2.0 * kPi * n / 400.0));
    const double angle = 2.0 * kPi * ((k * n) % 512) / 512.0;
    re += x * std::cos(angle);
    im -= x * std::sin(angle);
  }
  return re * re + im * im;
}

Row reference_row(const float* frame, int bands, double low_hz, double high_hz) {
  const auto mel = [](double hz) { return 2595.0 * std::log10(1.0 + hz / 700.0); };
  const double spacing = (mel(high_hz) - mel(low_hz)) / (bands + 1);
  Row energies(static_cast<std::size_t>(bands), 0.0);
  for (int k = 1; k <= 256; ++k) {
    const double power = reference_power(frame, k);
    for (int b = 0; b < bands; ++b) {
      const double centre = mel(low_hz) + (b + 1) * spacing;
      const double weight = 1.0 - std::fabs(mel(k * 31.25) - centre) / spacing;
      energies[static_cast<std::size_t>(b)] += std::max(0.0, weight) * power;
    }
  }
  for (double& energy : energies) {
    energy = std::log(std::max(energy, 1e-10));
  }
  return energies;
}

std::vector<float> one_shot(LogMel mel, const std::vector<float>& samples) {
  const auto n = static_cast<std::int64_t>(samples.size());
  std::vector<float> out(static_cast<std::size_t>(mel.rows(n) * mel.bands()));
  mel.extend(samples.data(), n, out.data());
  return out;
}

std::vector<float> noise(std::size_t n, float deviation) {
  std::mt19937 random(1);
  std::normal_distribution<float> normal(0.0F, deviation);
  std::vector<float> samples(n);
  std::generate(samples.begin(), samples.end(), [&] { return normal(random); });
  return samples;
}

std::vector<float> tone(double hz, std::size_t n) {
  std::vector<float> samples(n);
  for (std::size_t i = 0; i < n; ++i) {
    samples[i] = static_cast<float>(std::sin(2.0 * kPi * hz * static_cast<double>(i) / 16000.0));
  }
  return samples;
}

void rows_are_within_1e_4_of_the_definition() {
  std::vector<float> impulse(720, 0.0F);
  impulse[301] = 1.0F;
  // The tones are the hard ones: far from them lie bands 200 dB below.
  const std::vector<std::vector<float>> signals = {noise(720, 0.1F),
                                                   noise(720, 1e-5F),
                                                   tone(1000.3, 720),
                                                   tone(7999.0, 720),
                                                   tone(31.25, 720),
                                                   impulse,
                                                   std::vector<float>(720, 0.0F),
                                                   std::vector<float>(720, 1.0F)};
  const struct {
    int bands;
    double low_hz, high_hz;
  } cases[] = {{80, 0.0, 8000.0}, {64, 125.0, 7500.0}, {128, 0.0, 8000.0}, {1, 0.0, 8000.0}, {30, 3000.0, 3100.0}};
  for (const auto& c : cases) {
    for (const std::vector<float>& samples : signals) {
      const std::vector<float> rows = one_shot(LogMel(c.bands, c.low_hz, c.high_hz), samples);
      CHECK(rows.size() == 3 * static_cast<std::size_t>(c.bands));
      for (std::size_t t = 0; t < 3; ++t) {
        const Row wanted = reference_row(samples.data() + 160 * t, c.bands, c.low_hz, c.high_hz);
        for (std::size_t b = 0; b < wanted.size(); ++b) {
          CHECK(std::fabs(static_cast<double>(rows[t * wanted.size() + b]) - wanted[b]) < 1e-4);
        }
      }
    }
  }
}

void streaming_equals_one_shot_bit_for_bit() {
  const std::vector<float> samples = noise(8000, 0.1F);
  const std::vector<float> wanted = one_shot(LogMel(80, 0.0, 8000.0), samples);
  std::mt19937 random(2);
  const std::size_t most[] = {1, 2, 17, 159, 160, 161, 239, 240, 241, 399, 400, 401, 512, 559, 560, 561, 4096, 8000};
  for (const std::size_t block : most) {
    for (const bool ragged : {false, true}) {
      LogMel mel(80, 0.0, 8000.0);
      std::vector<float> rows(wanted.size() + 1, -7.0F);
      std::int64_t written = 0;
      for (std::size_t at = 0; at < samples.size();) {
        const std::size_t n = std::min(ragged ? random() % (block + 1) : block, samples.size() - at);
        const std::int64_t due = mel.rows(static_cast<std::int64_t>(n));
        mel.extend(samples.data() + at, static_cast<std::int64_t>(n), rows.data() + written * 80);
        written += due;
        at += n;
      }
      CHECK(written * 80 == static_cast<std::int64_t>(wanted.size()));
      CHECK(std::memcmp(rows.data(), wanted.data(), wanted.size() * sizeof(float)) == 0);
      CHECK(rows.back() == -7.0F);
    }
  }
}

void the_number_of_rows_is_that_of_the_contract() {
  for (std::int64_t n = 0; n < 2000; ++n) {
    CHECK(LogMel(8, 0.0, 8000.0).rows(n) == std::max<std::int64_t>(0, n < 400 ? 0 : 1 + (n - 400) / 160));
  }
}

void reset_forgets_everything() {
  const std::vector<float> samples = noise(1000, 0.1F);
  LogMel mel(80, 0.0, 8000.0);
  std::vector<float> rows(4 * 80);
  mel.extend(samples.data(), 333, rows.data());
  mel.reset();
  CHECK(mel.rows(399) == 0);
  mel.extend(samples.data(), 1000, rows.data());
  CHECK(rows == one_shot(LogMel(80, 0.0, 8000.0), samples));
}

void rows_are_finite_whatever_comes() {
  const float floor = std::log(1e-10F);
  const float infinity = std::numeric_limits<float>::infinity();
  for (const float odd : {std::numeric_limits<float>::quiet_NaN(), infinity, -infinity}) {
    std::vector<float> samples = noise(1000, 0.1F);
    const std::vector<float> clean = one_shot(LogMel(80, 0.0, 8000.0), samples);
    samples[600] = odd;
    const std::vector<float> rows = one_shot(LogMel(80, 0.0, 8000.0), samples);
    for (std::size_t i = 0; i < rows.size(); ++i) {
      const bool covers = i / 80 * 160 <= 600 && 600 < i / 80 * 160 + 400;
      CHECK(covers ? std::fabs(rows[i] - floor) < 1e-4F : rows[i] == clean[i]);
    }
  }
  for (const float value : one_shot(LogMel(80, 0.0, 8000.0), std::vector<float>(1000, std::numeric_limits<float>::max()))) {
    CHECK(std::isfinite(value));
  }
}

void every_bin_is_that_of_the_definition() {
  const std::vector<float> samples = noise(400, 0.1F);
  for (const auto spectrum : {auricle::power_spectrum(), auricle::portable_power_spectrum()}) {
    float power[auricle::kBins];
    spectrum(samples.data(), power);
    CHECK(power[0] == 0.0F);
    for (int k = 1; k < auricle::kBins; ++k) {
      const double wanted = reference_power(samples.data(), k);
      CHECK(std::fabs(static_cast<double>(power[k]) - wanted) <= 1e-6 * wanted + 1e-12);
    }
  }
}

void impossible_bands_are_refused() {
  CHECK_THROWS(LogMel(0, 0.0, 8000.0), std::invalid_argument);
  CHECK_THROWS(LogMel(129, 0.0, 8000.0), std::invalid_argument);
  CHECK_THROWS(LogMel(80, -1.0, 8000.0), std::invalid_argument);
  CHECK_THROWS(LogMel(80, 0.0, 8001.0), std::invalid_argument);
  CHECK_THROWS(LogMel(80, 500.0, 500.0), std::invalid_argument);
  CHECK_THROWS(LogMel(80, std::numeric_limits<double>::quiet_NaN(), 8000.0), std::invalid_argument);
}

void streaming_allocates_nothing() {
  const std::vector<float> samples = noise(5000, 0.1F);
  LogMel mel(80, 0.0, 8000.0);
  std::vector<float> rows(40 * 80);
  const long before = allocations.load();
  mel.extend(samples.data(), 777, rows.data());
  mel.extend(samples.data(), 5000, rows.data());
  mel.reset();
  CHECK(allocations.load() == before);
}

}  // namespace

int main() {
  rows_are_within_1e_4_of_the_definition();
  streaming_equals_one_shot_bit_for_bit();
  the_number_of_rows_is_that_of_the_contract();
  reset_forgets_everything();
  rows_are_finite_whatever_comes();
  every_bin_is_that_of_the_definition();
  impossible_bands_are_refused();
  streaming_allocates_nothing();
}
