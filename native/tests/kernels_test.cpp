#include "auricle/kernels.hpp"

#include <cmath>
#include <cstdlib>
#include <cstring>
#include <random>
#include <vector>

#include "check.hpp"

namespace {

using auricle::Kernels;
using Floats = std::vector<float>;

std::mt19937 random_(7);

Floats noise(std::int64_t n, float spread = 1.0F) {
  std::normal_distribution<float> values(0.0F, spread);
  Floats found(static_cast<std::size_t>(n));
  for (float& value : found) {
    value = values(random_);
  }
  return found;
}

bool same(const float* a, const float* b, std::int64_t n) { return std::memcmp(a, b, static_cast<std::size_t>(n) * sizeof(float)) == 0; }

const std::vector<const Kernels*> kSets = auricle::all_kernels();

void products_are_sums_of_products_and_of_one_row_the_same_as_of_many() {
  for (const Kernels* set : kSets) {
    for (const std::int64_t k : {1, 7, 16, 36, 64, 100, 288}) {
      for (const std::int64_t n : {1, 5, 16, 35}) {
        for (const std::int64_t m : {1, 2, 4, 7}) {
          const Floats w = noise(n * k), x = noise(m * k);
          Floats y(static_cast<std::size_t>(m * n), NAN), one(static_cast<std::size_t>(n));
          set->product(w.data(), 0, n / 2, k, x.data(), m, y.data(), n);
          set->product(w.data(), n / 2, n, k, x.data(), m, y.data(), n);
          for (std::int64_t i = 0; i < m; ++i) {
            set->product(w.data(), 0, n, k, x.data() + i * k, 1, one.data(), n);
            CHECK(same(one.data(), y.data() + i * n, n));
            for (std::int64_t row = 0; row < n; ++row) {
              double wanted = 0.0;
              for (std::int64_t at = 0; at < k; ++at) {
                wanted += static_cast<double>(w[static_cast<std::size_t>(row * k + at)]) *
                          static_cast<double>(x[static_cast<std::size_t>(i * k + at)]);
              }
              CHECK(std::fabs(wanted - static_cast<double>(one[static_cast<std::size_t>(row)])) < 1e-5 * static_cast<double>(k));
            }
          }
        }
      }
    }
  }
}

void products_of_8_bits_are_exact_up_to_the_largest_sums() {
  for (const Kernels* set : kSets) {
    for (const std::int64_t k : {1, 33, 384, 1536, 5120}) {
      const std::int64_t n = 19, m = 5;
      std::vector<std::int8_t> q(static_cast<std::size_t>(n * k));
      std::vector<std::int16_t> x(static_cast<std::size_t>(m * k));
      const auto range = auricle::kept_range(k);
      std::uniform_int_distribution<int> bytes(-127, 127), shorts(-range, range);
      for (std::int8_t& value : q) {
        value = static_cast<std::int8_t>(bytes(random_));
      }
      for (std::int16_t& value : x) {
        value = static_cast<std::int16_t>(shorts(random_));
      }
      std::fill(q.begin(), q.begin() + k, static_cast<std::int8_t>(-128));
      std::fill(x.begin(), x.begin() + k, static_cast<std::int16_t>(-range));  // the largest sum that there is
      const Floats scale = noise(n), x_scale = noise(m);
      Floats y(static_cast<std::size_t>(m * n));
      set->product8(q.data(), scale.data(), 0, n, k, x.data(), x_scale.data(), m, y.data(), n);
      for (std::int64_t i = 0; i < m; ++i) {
        for (std::int64_t row = 0; row < n; ++row) {
          std::int64_t wanted = 0;
          for (std::int64_t at = 0; at < k; ++at) {
            wanted += static_cast<std::int64_t>(q[static_cast<std::size_t>(row * k + at)]) * x[static_cast<std::size_t>(i * k + at)];
          }
          const float told = static_cast<float>(static_cast<std::int32_t>(wanted)) *
                             (scale[static_cast<std::size_t>(row)] * x_scale[static_cast<std::size_t>(i)]);
          CHECK(y[static_cast<std::size_t>(i * n + row)] == told);
        }
      }
    }
  }
}

void rounding_to_16_bits_keeps_what_there_is() {
  for (const Kernels* set : kSets) {
    for (const std::int64_t k : {1, 17, 64, 2000}) {
      const Floats x = noise(k, 30.0F);
      std::vector<std::int16_t> q(static_cast<std::size_t>(k));
      const float scale = set->round_to_16_bits(x.data(), k, q.data());
      for (std::size_t i = 0; i < x.size(); ++i) {
        CHECK(std::fabs(static_cast<float>(q[i]) * scale - x[i]) <= 0.51F * scale);
        CHECK(std::abs(q[i]) <= auricle::kept_range(k));
      }
    }
    const Floats zeros(8, 0.0F);
    std::vector<std::int16_t> q(8, 5);
    CHECK(set->round_to_16_bits(zeros.data(), 8, q.data()) == 0.0F);
    CHECK(q == std::vector<std::int16_t>(8, 0));
    for (const float nothing : {NAN, -NAN, INFINITY, -INFINITY}) {
      for (const std::size_t at : {0, 15, 33, 34}) {  // behind the last whole vector, too
        Floats x = noise(35);
        x[at] = nothing;
        q.assign(35, 5);
        CHECK(std::isnan(set->round_to_16_bits(x.data(), 35, q.data())));
        CHECK(q == std::vector<std::int16_t>(35, 0));
      }
    }
  }
}

void norms_have_no_mean_and_spread_one() {
  for (const Kernels* set : kSets) {
    for (const std::int64_t n : {1, 16, 37, 288, 384}) {
      Floats x = noise(n, 3.0F), out(x.size());
      const Floats weight = noise(n), bias = noise(n);
      double mean = 0.0, spread = 0.0;
      for (float& value : x) {
        value += 100.0F;
        mean += static_cast<double>(value) / static_cast<double>(n);
      }
      for (const float value : x) {
        spread += std::pow(static_cast<double>(value) - mean, 2.0) / static_cast<double>(n);
      }
      for (const float* const added : {bias.data(), static_cast<const float*>(nullptr)}) {
        set->norm(x.data(), weight.data(), added, n, out.data());
        for (std::size_t i = 0; i < x.size(); ++i) {
          const double wanted = (static_cast<double>(x[i]) - mean) / std::sqrt(spread + 1e-5) * static_cast<double>(weight[i]);
          CHECK(std::fabs(wanted + (added != nullptr ? static_cast<double>(added[i]) : 0.0) - static_cast<double>(out[i])) < 1e-4);
        }
      }
    }
  }
}

void softmax_and_activations_are_what_the_library_s_functions_give() {
  for (const Kernels* set : kSets) {
    for (const std::int64_t n : {1, 3, 16, 33, 1500}) {
      Floats x = noise(n, 12.0F);
      const Floats before = x;
      set->softmax(x.data(), n);
      double total = 0.0;
      float highest = before[0];
      for (const float value : before) {
        highest = std::max(highest, value);
      }
      for (const float value : before) {
        total += std::exp(static_cast<double>(value - highest));
      }
      for (std::size_t i = 0; i < x.size(); ++i) {
        CHECK(std::fabs(static_cast<double>(x[i]) - std::exp(static_cast<double>(before[i] - highest)) / total) < 1e-6);
      }
    }
    Floats x;
    for (float at = -30.0F; at < 30.0F; at += 0.01F) {
      x.push_back(at);
    }
    x.insert(x.end(), {-1e9F, 1e9F, 0.0F});
    Floats gelu = x, gate = x;
    const Floats with(x.size(), 2.0F);
    set->gelu(gelu.data(), static_cast<std::int64_t>(x.size()));
    set->gate(gate.data(), with.data(), static_cast<std::int64_t>(x.size()));
    for (std::size_t i = 0; i < x.size(); ++i) {
      const double at = static_cast<double>(x[i]);
      CHECK(std::fabs(static_cast<double>(gelu[i]) - 0.5 * at * std::erfc(-at / std::sqrt(2.0))) < 1e-6 * std::max(1.0, std::fabs(at)));
      CHECK(std::fabs(static_cast<double>(gate[i]) - 2.0 * at / (1.0 + std::exp(-at))) < 1e-6 * std::max(1.0, std::fabs(at)));
    }
    Floats far = {-1e30F, 0.0F, -200.0F};
    set->softmax(far.data(), 3);
    CHECK(far[1] == 1.0F);
    CHECK(far[0] < 1e-37F);
  }
}

void attention_is_a_weighted_mean_and_of_one_query_the_same_as_of_many() {
  for (const Kernels* set : kSets) {
    for (const std::int64_t d : {1, 6, 36, 52, 64, 80}) {
      for (const std::int64_t n : {1, 2, 31, 64, 333}) {
        for (const std::int64_t m : {1, 4, 6}) {
          const std::int64_t stride = d + 3;
          const Floats q = noise(m * stride), keys = noise(d * n), values = noise(n * d);
          Floats found(static_cast<std::size_t>(m * n)), one(static_cast<std::size_t>(n));
          Floats out(static_cast<std::size_t>(m * stride)), single(static_cast<std::size_t>(d));
          set->scores(q.data(), stride, m, keys.data(), d, n, found.data());
          set->mean(found.data(), m, values.data(), d, n, out.data(), stride);
          for (std::int64_t j = 0; j < m; ++j) {
            set->scores(q.data() + j * stride, stride, 1, keys.data(), d, n, one.data());
            CHECK(same(one.data(), found.data() + j * n, n));
            set->mean(one.data(), 1, values.data(), d, n, single.data(), stride);
            CHECK(same(single.data(), out.data() + j * stride, d));
          }
          const auto at = [](const Floats& floats, std::int64_t i) { return static_cast<double>(floats[static_cast<std::size_t>(i)]); };
          for (std::int64_t j = 0; j < m; ++j) {
            for (std::int64_t t = 0; t < n; ++t) {
              double wanted = 0.0;
              for (std::int64_t i = 0; i < d; ++i) {
                wanted += at(q, j * stride + i) * at(keys, i * n + t);
              }
              CHECK(std::fabs(wanted - at(found, j * n + t)) < 1e-4);
            }
            for (std::int64_t i = 0; i < d; ++i) {
              double mean = 0.0;
              for (std::int64_t t = 0; t < n; ++t) {
                mean += at(found, j * n + t) * at(values, t * d + i);
              }
              CHECK(std::fabs(mean - at(out, j * stride + i)) < 1e-3);
            }
          }
        }
      }
    }
  }
}

}  // namespace

int main() {
  products_are_sums_of_products_and_of_one_row_the_same_as_of_many();
  products_of_8_bits_are_exact_up_to_the_largest_sums();
  rounding_to_16_bits_keeps_what_there_is();
  norms_have_no_mean_and_spread_one();
  softmax_and_activations_are_what_the_library_s_functions_give();
  attention_is_a_weighted_mean_and_of_one_query_the_same_as_of_many();
  return 0;
}
