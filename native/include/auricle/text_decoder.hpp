// The decoder of an encoder-decoder transformer (Whisper, Moonshine): tokens in, scores of the next ones out, over an encoder's keys and
// values. The weights stay where they are; they are read once for each run, which is what a token costs.
#pragma once

#include <cstdint>
#include <vector>

#include "auricle/kernels.hpp"
#include "auricle/workers.hpp"

namespace auricle {

// [rows][columns], of floats, or of 8 bits with a scale for each row. bias: one for each row, or null.
struct Matrix {
  const float* weights = nullptr;
  const std::int8_t* quantized = nullptr;
  const float* scale = nullptr;
  const float* bias = nullptr;
  std::int64_t rows = 0;
  std::int64_t columns = 0;
};

// Normed over a row to mean 0 and variance 1, times weight, plus bias (which may be null).
struct Norm {
  const float* weight = nullptr;
  const float* bias = nullptr;
};

// Queries are scaled in the weights. qkv: rows of queries, then keys, then values. up: twice the hidden values where they are gated.
struct DecoderLayer {
  Norm own_norm, cross_norm, feed_norm;
  Matrix qkv, own_out, cross_q, cross_out, up, down;
};

// positions: floats [most][width] that are added, null where there are none; frequencies: radians a position, by which adjacent pairs of
// the first values of each head's queries and keys are turned. gated: SiLU of the second half of `up` times the first, else GELU.
struct DecoderShape {
  std::int64_t width = 0;
  std::int64_t heads = 0;
  bool gated = false;
  Matrix embedding, head;
  const float* positions = nullptr;
  std::int64_t most = 0;
  std::vector<float> frequencies;
  Norm norm;
  std::vector<DecoderLayer> layers;
};

// What one layer takes and gives. past_*: [heads][before][d] of what was said; heard_keys: [heads][d][rows], heard_values:
// [heads][rows][d]; grown_*: [heads][before + count][d], the past and what is new; looked: [heads][count][rows], the attention to the
// encoder's rows.
struct LayerPorts {
  const float *past_keys, *past_values, *heard_keys, *heard_values;
  float *grown_keys, *grown_values, *looked;
};

// One thread at a time. Raises std::invalid_argument where sizes do not fit together.
class TextDecoder {
 public:
  TextDecoder(DecoderShape shape, int threads);

  const DecoderShape& shape() const noexcept { return shape_; }
  // Scores [count - from][vocabulary] behind the tokens from `from` on. Throws std::out_of_range for a token or a position that there is
  // not.
  void run(const std::int64_t* tokens, std::int64_t count, std::int64_t before, std::int64_t rows, const std::vector<LayerPorts>& ports,
           std::int64_t from, float* logits);

 private:
  void embed(const std::int64_t* tokens, std::int64_t count, std::int64_t before);
  void multiply(const Matrix& matrix, const float* x, std::int64_t count, float* y);
  void add(const Matrix& matrix, const float* x, std::int64_t count);
  const float* normed(const Norm& norm, std::int64_t first, std::int64_t count);
  void turn(float* heads, std::int64_t position) const;
  void own(const DecoderLayer& layer, const LayerPorts& ports, std::int64_t count, std::int64_t before);
  void cross(const DecoderLayer& layer, const LayerPorts& ports, std::int64_t count, std::int64_t rows);
  void feed(const DecoderLayer& layer, std::int64_t count);

  DecoderShape shape_;
  const Kernels& kernels_;
  Workers workers_;
  std::vector<float> x_, normed_, wide_, heads_, more_, scales_;
  std::vector<std::int16_t> rounded_;
};

}  // namespace auricle
