#include "auricle/level.hpp"

#include <cmath>
#include <limits>
#include <random>
#include <vector>

#include "check.hpp"

namespace {

using auricle::clean;
using auricle::level_dbfs;

constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
constexpr float kInfinity = std::numeric_limits<float>::infinity();
constexpr float kLargest = std::numeric_limits<float>::max();

double level(const std::vector<float>& samples) { return level_dbfs(samples.data(), static_cast<std::int64_t>(samples.size())); }

bool near(double a, double b, double tolerance) { return std::fabs(a - b) <= tolerance; }

void full_scale_is_zero_and_silence_is_the_floor() {
  CHECK(level({}) == auricle::kSilenceDbfs);
  CHECK(level({0.0F, 0.0F}) == auricle::kSilenceDbfs);
  CHECK(level({1e-9F}) == auricle::kSilenceDbfs);
  CHECK(near(level({1.0F, -1.0F, 1.0F}), 0.0, 1e-12));
  CHECK(near(level({0.1F}), -20.0, 1e-6));
  std::vector<float> sine(16000);
  for (std::size_t n = 0; n < sine.size(); ++n) {
    sine[n] = static_cast<float>(std::sin(2.0 * 3.14159265358979 * static_cast<double>(n) / 16.0));
  }
  CHECK(near(level(sine), -3.0103, 1e-4));  // 10 log10(1/2)
}

void every_length_counts_every_sample() {
  std::mt19937 random(1);
  std::normal_distribution<float> noise(0.0F, 0.1F);
  std::vector<float> samples;
  double energy = 0.0;
  for (int n = 1; n < 100; ++n) {
    samples.push_back(noise(random));
    energy += static_cast<double>(samples.back()) * static_cast<double>(samples.back());
    CHECK(near(level(samples), 10.0 * std::log10(energy / n), 1e-9));
  }
}

void what_is_not_a_number_counts_as_zero() {
  for (const float odd : {kNan, kInfinity, -kInfinity}) {
    for (std::size_t at = 0; at < 19; ++at) {
      std::vector<float> samples(19, 0.5F);
      std::vector<float> zeroed = samples;
      samples[at] = odd;
      zeroed[at] = 0.0F;
      CHECK(level(samples) == level(zeroed));
    }
  }
  CHECK(std::isfinite(level({kLargest, -kLargest})));
}

void clean_leaves_finite_samples_in_range_and_counts_what_it_changed() {
  std::vector<float> samples = {0.5F, kNan, -0.0F, 1.0F, -1.0F, 1.5F, -kInfinity, 1e-40F, kInfinity, -1.0000001F, kLargest};
  const std::vector<float> wanted = {0.5F, 0.0F, -0.0F, 1.0F, -1.0F, 1.0F, 0.0F, 1e-40F, 0.0F, -1.0F, 1.0F};
  CHECK(clean(samples.data(), static_cast<std::int64_t>(samples.size())) == 6);
  for (std::size_t i = 0; i < samples.size(); ++i) {
    CHECK(samples[i] == wanted[i]);
  }
  CHECK(std::signbit(samples[2]));
  CHECK(clean(samples.data(), static_cast<std::int64_t>(samples.size())) == 0);
  CHECK(clean(samples.data(), 0) == 0);
}

}  // namespace

int main() {
  full_scale_is_zero_and_silence_is_the_floor();
  every_length_counts_every_sample();
  what_is_not_a_number_counts_as_zero();
  clean_leaves_finite_samples_in_range_and_counts_what_it_changed();
}
