#include "auricle/text_decoder.hpp"

#include <algorithm>
#include <atomic>
#include <cstring>
#include <random>
#include <stdexcept>
#include <vector>

#include "check.hpp"

namespace {

using auricle::DecoderShape;
using auricle::LayerPorts;
using auricle::Matrix;
using auricle::TextDecoder;
using Floats = std::vector<float>;

constexpr std::int64_t kWidth = 48, kHeads = 3, kHidden = 80, kVocabulary = 700, kLayers = 2, kMost = 20, kRows = 37;
constexpr std::int64_t kSize = kWidth / kHeads;

// Random weights of a small decoder, in floats or in 8 bits.
class Model {
 public:
  Model(bool quantized, bool gated) : quantized_(quantized) {
    shape_.width = kWidth;
    shape_.heads = kHeads;
    shape_.gated = gated;
    shape_.embedding = shape_.head = matrix(kVocabulary, kWidth, false);
    shape_.norm = {floats(kWidth), floats(kWidth)};
    if (gated) {
      shape_.frequencies = {1.0F, 0.1F, 0.01F};
    } else {
      shape_.positions = floats(kMost * kWidth);
      shape_.most = kMost;
    }
    for (std::int64_t i = 0; i < kLayers; ++i) {
      shape_.layers.push_back({{floats(kWidth), nullptr},
                               {floats(kWidth), floats(kWidth)},
                               {floats(kWidth), nullptr},
                               matrix(3 * kWidth, kWidth, true),
                               matrix(kWidth, kWidth, true),
                               matrix(kWidth, kWidth, false),
                               matrix(kWidth, kWidth, true),
                               matrix(gated ? 2 * kHidden : kHidden, kWidth, true),
                               matrix(kWidth, kHidden, true)});
      heard_.push_back(floats(kWidth * kRows));
      heard_.push_back(floats(kWidth * kRows));
    }
  }
  const DecoderShape& shape() const { return shape_; }

  // Logits of `tokens` behind what `past` holds, which then holds them too.
  Floats run(TextDecoder& decoder, const std::vector<std::int64_t>& tokens, std::vector<Floats>& past, std::int64_t from = 0) const {
    const auto count = static_cast<std::int64_t>(tokens.size());
    const std::int64_t before = static_cast<std::int64_t>(past[0].size()) / kWidth;
    std::vector<Floats> grown(past.size(), Floats(static_cast<std::size_t>((before + count) * kWidth)));
    Floats looked(static_cast<std::size_t>(kHeads * count * kRows)), logits(static_cast<std::size_t>((count - from) * kVocabulary));
    std::vector<LayerPorts> ports;
    for (std::size_t i = 0; i < past.size(); i += 2) {
      ports.push_back({past[i].data(), past[i + 1].data(), heard_[i], heard_[i + 1], grown[i].data(), grown[i + 1].data(), looked.data()});
    }
    decoder.run(tokens.data(), count, before, kRows, ports, from, logits.data());
    past = std::move(grown);
    return logits;
  }
  static std::vector<Floats> nothing() { return std::vector<Floats>(2 * kLayers); }

 private:
  const float* floats(std::int64_t n) {
    std::normal_distribution<float> values(0.0F, 0.4F);
    kept_.emplace_back(static_cast<std::size_t>(n));
    for (float& value : kept_.back()) {
      value = values(random_);
    }
    return kept_.back().data();
  }
  Matrix matrix(std::int64_t rows, std::int64_t columns, bool bias) {
    Matrix found;
    found.rows = rows;
    found.columns = columns;
    found.bias = bias ? floats(rows) : nullptr;
    if (!quantized_) {
      found.weights = floats(rows * columns);
      return found;
    }
    std::uniform_int_distribution<int> bytes(-127, 127);
    bytes_.emplace_back(static_cast<std::size_t>(rows * columns));
    for (std::int8_t& value : bytes_.back()) {
      value = static_cast<std::int8_t>(bytes(random_));
    }
    kept_.emplace_back(static_cast<std::size_t>(rows), 0.005F);
    found.quantized = bytes_.back().data();
    found.scale = kept_.back().data();
    return found;
  }

  std::mt19937 random_{3};
  bool quantized_;
  DecoderShape shape_;
  std::vector<const float*> heard_;
  std::vector<Floats> kept_;
  std::vector<std::vector<std::int8_t>> bytes_;
};

bool same(const float* a, const float* b, std::size_t n) { return std::memcmp(a, b, n * sizeof(float)) == 0; }

void tokens_one_by_one_are_the_same_to_the_last_bit_as_all_at_once_for_any_number_of_threads() {
  const std::vector<std::int64_t> tokens = {3, 699, 0, 12, 12, 512, 7, 100, 3};
  for (const bool quantized : {false, true}) {
    for (const bool gated : {false, true}) {
      const Model model(quantized, gated);
      TextDecoder alone(model.shape(), 1), shared(model.shape(), 3);
      auto past = Model::nothing(), by_three = past;
      const Floats whole = model.run(alone, tokens, past);
      CHECK(model.run(shared, tokens, by_three) == whole);
      CHECK(by_three == past);
      auto growing = Model::nothing(), cut = growing;
      for (std::size_t i = 0; i < tokens.size(); ++i) {
        const Floats one = model.run(i % 2 == 0 ? alone : shared, {tokens[i]}, growing);
        CHECK(same(one.data(), whole.data() + i * kVocabulary, kVocabulary));
      }
      CHECK(growing == past);
      const Floats last = model.run(alone, tokens, cut, 6);
      CHECK(last.size() == 3 * kVocabulary);
      CHECK(same(last.data(), whole.data() + 6 * kVocabulary, last.size()));
    }
  }
}

template <class Error, class Call>
bool raises(Call call) {
  try {
    call();
  } catch (const Error&) {
    return true;
  }
  return false;
}

void what_does_not_fit_is_refused() {
  const Model model(false, false);
  TextDecoder decoder(model.shape(), 1);
  auto past = Model::nothing();
  CHECK(raises<std::out_of_range>([&] { model.run(decoder, {kVocabulary}, past); }));
  CHECK(raises<std::out_of_range>([&] { model.run(decoder, {-1}, past); }));
  CHECK(raises<std::out_of_range>([&] { model.run(decoder, std::vector<std::int64_t>(kMost + 1, 5), past); }));
  CHECK(raises<std::invalid_argument>([&] { model.run(decoder, {}, past); }));
  CHECK(model.run(decoder, std::vector<std::int64_t>(kMost, 5), past).size() == kMost * kVocabulary);
  CHECK(raises<std::out_of_range>([&] { model.run(decoder, {5}, past); }));
  CHECK(raises<std::invalid_argument>([&] { TextDecoder(model.shape(), 0); }));
  const auto refused = [&](auto change) {
    DecoderShape shape = model.shape();
    change(shape);
    return raises<std::invalid_argument>([&] { TextDecoder(shape, 1); });
  };
  CHECK(refused([](DecoderShape& shape) { shape.heads = 5; }));
  CHECK(refused([](DecoderShape& shape) { shape.layers.clear(); }));
  CHECK(refused([](DecoderShape& shape) { shape.gated = true; }));
  CHECK(refused([](DecoderShape& shape) { shape.frequencies.assign(kSize, 1.0F); }));
  CHECK(refused([](DecoderShape& shape) { shape.head.rows -= 1; }));
  CHECK(refused([](DecoderShape& shape) { shape.norm.weight = nullptr; }));
  CHECK(refused([](DecoderShape& shape) { shape.layers[1].qkv.columns += 1; }));
  CHECK(refused([](DecoderShape& shape) { shape.layers[1].down.weights = nullptr; }));
  CHECK(refused([](DecoderShape& shape) { shape.layers[0].cross_norm.weight = nullptr; }));
}

void workers_do_each_part_once() {
  for (const int threads : {1, 2, 5}) {
    auricle::Workers workers(threads);
    for (const std::int64_t parts : {0, 1, 2, 7, 64}) {
      for (int round = 0; round < 50; ++round) {
        std::vector<std::atomic<int>> done(static_cast<std::size_t>(parts));
        workers.run(parts, [&](std::int64_t part) { done[static_cast<std::size_t>(part)].fetch_add(1); });
        CHECK(std::all_of(done.begin(), done.end(), [](const std::atomic<int>& times) { return times == 1; }));
      }
    }
  }
}

}  // namespace

int main() {
  tokens_one_by_one_are_the_same_to_the_last_bit_as_all_at_once_for_any_number_of_threads();
  what_does_not_fit_is_refused();
  workers_do_each_part_once();
  return 0;
}
