// TextDecoder for Python: weights by name in arrays, which are held and not copied.
#pragma once

#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <cstdint>
#include <memory>
#include <mutex>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "auricle/text_decoder.hpp"
#include "python_unlocked.hpp"

namespace auricle::python {

namespace py = pybind11;
using Floats = py::array_t<float, py::array::c_style>;
using Bytes = py::array_t<std::int8_t, py::array::c_style>;

// Weights by name; a decoder must not outlive it. The dict is a copy: whoever gave it may take arrays out of theirs.
class Weights {
 public:
  explicit Weights(const py::dict& arrays) : arrays_(py::reinterpret_steal<py::dict>(PyDict_Copy(arrays.ptr()))) {}

  const float* vector(const std::string& name, std::int64_t size) const {
    const py::array array = find(name);
    if (!py::isinstance<Floats>(array) || array.ndim() != 1 || array.shape(0) != size) {
      throw py::value_error(name + " must be float32[" + std::to_string(size) + "]");
    }
    return static_cast<const float*>(array.data());
  }
  bool has(const std::string& name) const { return arrays_.contains(name.c_str()); }

  Norm norm(const std::string& name, std::int64_t width) const {
    return {vector(name + ".weight", width), has(name + ".bias") ? vector(name + ".bias", width) : nullptr};
  }
  Matrix matrix(const std::string& name) const {
    const py::array array = find(name + ".weight");
    Matrix found;
    if (array.ndim() != 2) {
      throw py::value_error(name + ".weight must have two dimensions");
    }
    found.rows = array.shape(0);
    found.columns = array.shape(1);
    if (py::isinstance<Floats>(array)) {
      found.weights = static_cast<const float*>(array.data());
    } else if (py::isinstance<Bytes>(array)) {
      found.quantized = static_cast<const std::int8_t*>(array.data());
      found.scale = vector(name + ".scale", found.rows);
    } else {
      throw py::value_error(name + ".weight must be float32 or int8, one row behind the other");
    }
    found.bias = has(name + ".bias") ? vector(name + ".bias", found.rows) : nullptr;
    return found;
  }

 private:
  py::array find(const std::string& name) const {
    if (!has(name) || !py::isinstance<py::array>(arrays_[name.c_str()])) {
      throw py::value_error("there are no weights called " + name);
    }
    return py::reinterpret_borrow<py::array>(arrays_[name.c_str()]);
  }
  py::dict arrays_;
};

inline DecoderShape shape_of(const Weights& weights, std::int64_t layers, std::int64_t heads, bool gated) {
  DecoderShape shape;
  shape.embedding = weights.matrix("token_embd");
  shape.head = weights.has("output.weight") ? weights.matrix("output") : shape.embedding;
  shape.width = shape.embedding.columns;
  shape.heads = heads;
  shape.gated = gated;
  shape.norm = weights.norm("output_norm", shape.width);
  if (weights.has("position_embd.weight")) {
    const Matrix positions = weights.matrix("position_embd");
    if (positions.weights == nullptr || positions.columns != shape.width) {
      throw py::value_error("position_embd.weight must be float32 and as wide as the embedding");
    }
    shape.positions = positions.weights;
    shape.most = positions.rows;
  }
  if (weights.has("rope_freqs.weight")) {
    const Matrix frequencies = weights.matrix("rope_freqs");
    if (frequencies.weights == nullptr || frequencies.rows != 1) {
      throw py::value_error("rope_freqs.weight must be one row of float32");
    }
    shape.frequencies.assign(frequencies.weights, frequencies.weights + frequencies.columns);
  }
  for (std::int64_t i = 0; i < layers; ++i) {
    const std::string name = "blk." + std::to_string(i) + ".";
    shape.layers.push_back({weights.norm(name + "attn_norm", shape.width), weights.norm(name + "cross_attn_norm", shape.width),
                            weights.norm(name + "ffn_norm", shape.width), weights.matrix(name + "attn_qkv"),
                            weights.matrix(name + "attn_output"), weights.matrix(name + "cross_attn_q"),
                            weights.matrix(name + "cross_attn_output"), weights.matrix(name + "ffn_up"),
                            weights.matrix(name + "ffn_down")});
  }
  return shape;
}

class PythonDecoder {
 public:
  PythonDecoder(const py::dict& arrays, std::int64_t layers, std::int64_t heads, bool gated, int threads)
      : weights_(arrays), decoder_(shape_of(weights_, layers, heads, gated), threads) {}

  // (logits, grown keys and values of each layer by turns, attention of each layer).
  py::tuple run(const py::array_t<std::int64_t, py::array::c_style>& tokens, const std::vector<Floats>& past,
                const std::vector<Floats>& heard, std::int64_t from) {
    const std::unique_lock<std::mutex> lock(mutex_, std::try_to_lock);
    if (!lock.owns_lock()) {
      throw std::runtime_error("this TextDecoder is in use by another thread; give each thread its own");
    }
    const DecoderShape& shape = decoder_.shape();
    const auto layers = static_cast<std::int64_t>(shape.layers.size());
    const std::int64_t d = shape.width / shape.heads, count = tokens.size();
    if (static_cast<std::int64_t>(past.size()) != 2 * layers || static_cast<std::int64_t>(heard.size()) != 2 * layers) {
      throw py::value_error("there must be keys and values of each layer");
    }
    const std::int64_t before = past[0].ndim() == 4 ? past[0].shape(2) : 0, rows = heard[0].ndim() == 4 ? heard[0].shape(3) : 0;
    if (tokens.ndim() != 2 || tokens.shape(0) != 1 || count < 1 || from < 0 || from >= count || rows < 1) {
      throw py::value_error("input_ids must be int64[1, n], n >= 1, logits_from one of them, and the encoder must have heard something");
    }
    Floats logits({std::int64_t{1}, count - from, shape.embedding.rows});
    std::vector<LayerPorts> ports;
    py::list grown, looked;
    for (std::int64_t i = 0; i < layers; ++i) {
      const auto at = static_cast<std::size_t>(2 * i);
      check(past[at], {1, shape.heads, before, d});
      check(past[at + 1], {1, shape.heads, before, d});
      check(heard[at], {1, shape.heads, d, rows});
      check(heard[at + 1], {1, shape.heads, rows, d});
      Floats keys({std::int64_t{1}, shape.heads, before + count, d}), values({std::int64_t{1}, shape.heads, before + count, d});
      Floats attention({std::int64_t{1}, shape.heads, count, rows});
      ports.push_back({past[at].data(), past[at + 1].data(), heard[at].data(), heard[at + 1].data(), keys.mutable_data(),
                       values.mutable_data(), attention.mutable_data()});
      grown.append(std::move(keys));
      grown.append(std::move(values));
      looked.append(std::move(attention));
    }
    const std::int64_t* const said = tokens.data();
    float* const scores = logits.mutable_data();
    {
      const Unlocked released;
      decoder_.run(said, count, before, rows, ports, from, scores);
    }
    return py::make_tuple(std::move(logits), std::move(grown), std::move(looked));
  }

 private:
  static void check(const Floats& array, const std::vector<std::int64_t>& shape) {
    bool same = array.ndim() == static_cast<py::ssize_t>(shape.size());
    for (std::size_t axis = 0; same && axis < shape.size(); ++axis) {
      same = array.shape(static_cast<py::ssize_t>(axis)) == shape[axis];
    }
    if (!same) {
      throw py::value_error("keys and values do not go together, or are another model's");
    }
  }
  Weights weights_;
  TextDecoder decoder_;
  std::mutex mutex_;
};

inline void add_text_decoder(py::module_& m) {
  py::class_<PythonDecoder>(m, "TextDecoder", "The decoder of an encoder-decoder transformer, see auricle/text_decoder.hpp.")
      .def(py::init<const py::dict&, std::int64_t, std::int64_t, bool, int>(), py::arg("weights"), py::arg("layers"), py::arg("heads"),
           py::arg("gated"), py::arg("threads"))
      .def("run", &PythonDecoder::run, py::arg("tokens"), py::arg("past"), py::arg("heard"), py::arg("logits_from"),
           "Logits behind the tokens, keys and values with theirs, attention to the encoder's rows.");
}

}  // namespace auricle::python
