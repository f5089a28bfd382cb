#include "auricle/text_decoder.hpp"

#include <algorithm>
#include <cmath>
#include <stdexcept>
#include <utility>

namespace auricle {
namespace {

using Index = std::int64_t;

// Multiplications that are worth waking another thread for, and rows of weights that it gets at least.
constexpr Index kWorthSharing = 1 << 18;
constexpr Index kRowsAtOnce = 64;

std::size_t size(Index n) { return static_cast<std::size_t>(n); }

float* room(std::vector<float>& values, Index n) {
  if (values.size() < size(n)) {
    values.resize(size(n));
  }
  return values.data();
}

void require(bool holds, const char* what) {
  if (!holds) {
    throw std::invalid_argument(what);
  }
}

bool fits(const Matrix& matrix, Index rows, Index columns) {
  const bool given = matrix.quantized != nullptr ? matrix.scale != nullptr : matrix.weights != nullptr;
  return given && matrix.rows == rows && matrix.columns == columns;
}

}  // namespace

TextDecoder::TextDecoder(DecoderShape shape, int threads) : shape_(std::move(shape)), kernels_(kernels()), workers_(threads) {
  const Index width = shape_.width;
  require(width > 0 && shape_.heads > 0 && width % shape_.heads == 0, "the width must be a multiple of the heads");
  require(2 * static_cast<Index>(shape_.frequencies.size()) <= width / shape_.heads, "there are more frequencies than pairs in a head");
  require(shape_.embedding.rows > 0 && fits(shape_.embedding, shape_.embedding.rows, width), "the embedding has another width");
  require(fits(shape_.head, shape_.embedding.rows, width), "the head is not of the embedding's shape");
  require(!shape_.layers.empty() && shape_.norm.weight != nullptr, "there are no layers, or no last norm");
  for (const DecoderLayer& layer : shape_.layers) {
    const Index hidden = layer.down.columns;
    require(layer.own_norm.weight != nullptr && layer.cross_norm.weight != nullptr && layer.feed_norm.weight != nullptr,
            "a layer lacks a norm");
    require(fits(layer.qkv, 3 * width, width) && fits(layer.own_out, width, width), "a layer's own attention has another shape");
    require(fits(layer.cross_q, width, width) && fits(layer.cross_out, width, width), "a layer's cross-attention has another shape");
    require(hidden > 0 && fits(layer.up, shape_.gated ? 2 * hidden : hidden, width) && fits(layer.down, width, hidden),
            "a layer's feed-forward part has another shape");
  }
}

void TextDecoder::multiply(const Matrix& matrix, const float* x, Index count, float* y) {
  const Index rows = matrix.rows, columns = matrix.columns;
  if (matrix.quantized != nullptr) {
    if (rounded_.size() < size(count * columns)) {
      rounded_.resize(size(count * columns));
    }
    room(scales_, count);
    for (Index i = 0; i < count; ++i) {
      scales_[size(i)] = kernels_.round_to_16_bits(x + i * columns, columns, rounded_.data() + i * columns);
    }
  }
  const auto part = [&](Index from, Index to) {
    if (matrix.quantized != nullptr) {
      kernels_.product8(matrix.quantized, matrix.scale, from, to, columns, rounded_.data(), scales_.data(), count, y, rows);
    } else {
      kernels_.product(matrix.weights, from, to, columns, x, count, y, rows);
    }
    for (Index i = 0; matrix.bias != nullptr && i < count; ++i) {
      for (Index n = from; n < to; ++n) {
        y[i * rows + n] += matrix.bias[n];
      }
    }
  };
  if (workers_.threads() == 1 || rows * columns * count < kWorthSharing) {
    part(0, rows);
    return;
  }
  const Index most = (rows + kRowsAtOnce - 1) / kRowsAtOnce;
  const Index parts = std::min<Index>(most, 4 * workers_.threads());
  const Index each = (most + parts - 1) / parts * kRowsAtOnce;
  workers_.run(parts, [&](Index at) { part(std::min(at * each, rows), std::min((at + 1) * each, rows)); });
}

void TextDecoder::add(const Matrix& matrix, const float* x, Index count) {
  float* const more = room(more_, count * matrix.rows);
  multiply(matrix, x, count, more);
  for (Index i = 0; i < count * matrix.rows; ++i) {
    x_[size(i)] += more[i];
  }
}

const float* TextDecoder::normed(const Norm& norm, Index first, Index count) {
  const Index width = shape_.width;
  float* const out = room(normed_, count * width);
  for (Index i = 0; i < count; ++i) {
    kernels_.norm(x_.data() + (first + i) * width, norm.weight, norm.bias, width, out + i * width);
  }
  return out;
}

void TextDecoder::embed(const std::int64_t* tokens, Index count, Index before) {
  const Index width = shape_.width;
  const Matrix& embedding = shape_.embedding;
  if (shape_.positions != nullptr && before + count > shape_.most) {
    throw std::out_of_range("the text is longer than the decoder has positions for");
  }
  room(x_, count * width);
  for (Index i = 0; i < count; ++i) {
    const Index token = tokens[i];
    if (token < 0 || token >= embedding.rows) {
      throw std::out_of_range("there is no such token");
    }
    float* const row = x_.data() + i * width;
    for (Index n = 0; n < width; ++n) {
      const Index at = token * width + n;
      row[n] =
          embedding.quantized != nullptr ? static_cast<float>(embedding.quantized[at]) * embedding.scale[token] : embedding.weights[at];
      if (shape_.positions != nullptr) {
        row[n] += shape_.positions[(before + i) * width + n];
      }
    }
  }
}

void TextDecoder::turn(float* heads, Index position) const {
  const Index d = shape_.width / shape_.heads;
  for (std::size_t pair = 0; pair < shape_.frequencies.size(); ++pair) {
    const float angle = static_cast<float>(position) * shape_.frequencies[pair];
    const float cosine = std::cos(angle), sine = std::sin(angle);
    for (Index head = 0; head < shape_.heads; ++head) {
      float* const at = heads + head * d + 2 * static_cast<Index>(pair);
      const float even = at[0], odd = at[1];
      at[0] = even * cosine - odd * sine;
      at[1] = even * sine + odd * cosine;
    }
  }
}

void TextDecoder::own(const DecoderLayer& layer, const LayerPorts& ports, Index count, Index before) {
  const Index width = shape_.width, heads = shape_.heads, d = width / heads, all = before + count;
  float* const qkv = room(wide_, count * 3 * width);
  multiply(layer.qkv, normed(layer.own_norm, 0, count), count, qkv);
  for (Index i = 0; i < count; ++i) {
    turn(qkv + i * 3 * width, before + i);
    turn(qkv + i * 3 * width + width, before + i);
  }
  for (Index head = 0; head < heads; ++head) {
    std::copy(ports.past_keys + head * before * d, ports.past_keys + (head + 1) * before * d, ports.grown_keys + head * all * d);
    std::copy(ports.past_values + head * before * d, ports.past_values + (head + 1) * before * d, ports.grown_values + head * all * d);
    for (Index i = 0; i < count; ++i) {
      const float* const key = qkv + i * 3 * width + width + head * d;
      std::copy(key, key + d, ports.grown_keys + (head * all + before + i) * d);
      std::copy(key + width, key + width + d, ports.grown_values + (head * all + before + i) * d);
    }
  }
  float* const out = room(heads_, count * width);
  float* const scores = room(more_, all);
  for (Index i = 0; i < count; ++i) {
    for (Index head = 0; head < heads; ++head) {
      const Index seen = before + i + 1;
      kernels_.product(ports.grown_keys + head * all * d, 0, seen, d, qkv + i * 3 * width + head * d, 1, scores, seen);
      kernels_.softmax(scores, seen);
      kernels_.mean(scores, 1, ports.grown_values + head * all * d, d, seen, out + i * width + head * d, width);
    }
  }
  add(layer.own_out, out, count);
}

void TextDecoder::cross(const DecoderLayer& layer, const LayerPorts& ports, Index count, Index rows) {
  const Index width = shape_.width, heads = shape_.heads, d = width / heads;
  float* const queries = room(wide_, count * width);
  multiply(layer.cross_q, normed(layer.cross_norm, 0, count), count, queries);
  float* const out = room(heads_, count * width);
  workers_.run(heads, [&](Index head) {
    float* const looked = ports.looked + head * count * rows;
    kernels_.scores(queries + head * d, width, count, ports.heard_keys + head * d * rows, d, rows, looked);
    for (Index i = 0; i < count; ++i) {
      kernels_.softmax(looked + i * rows, rows);
    }
    kernels_.mean(looked, count, ports.heard_values + head * rows * d, d, rows, out + head * d, width);
  });
  add(layer.cross_out, out, count);
}

void TextDecoder::feed(const DecoderLayer& layer, Index count) {
  const Index hidden = layer.down.columns, up = layer.up.rows;
  float* const wide = room(wide_, count * up);
  multiply(layer.up, normed(layer.feed_norm, 0, count), count, wide);
  if (!shape_.gated) {
    kernels_.gelu(wide, count * up);
    add(layer.down, wide, count);
    return;
  }
  float* const gated = room(heads_, count * hidden);
  for (Index i = 0; i < count; ++i) {
    float* const gate = wide + i * up + hidden;
    kernels_.gate(gate, wide + i * up, hidden);
    std::copy(gate, gate + hidden, gated + i * hidden);
  }
  add(layer.down, gated, count);
}

void TextDecoder::run(const std::int64_t* tokens, Index count, Index before, Index rows, const std::vector<LayerPorts>& ports, Index from,
                      float* logits) {
  require(count > 0 && before >= 0 && rows > 0 && from >= 0 && from < count && ports.size() == shape_.layers.size(),
          "there is nothing to say, or the ports are not the layers'");
  embed(tokens, count, before);
  for (std::size_t i = 0; i < ports.size(); ++i) {
    own(shape_.layers[i], ports[i], count, before);
    cross(shape_.layers[i], ports[i], count, rows);
    feed(shape_.layers[i], count);
  }
  multiply(shape_.head, normed(shape_.norm, from, count - from), count - from, logits);
}

}  // namespace auricle
