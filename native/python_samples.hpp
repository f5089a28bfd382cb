// A look at float32 samples that Python holds.
//
// They come in through the buffer protocol itself: a third of the time that py::array_t takes to look at a block.
#pragma once

#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>

#include <cstdint>
#include <exception>
#include <string>

namespace auricle::python {

namespace py = pybind11;

inline bool is_float32(const Py_buffer& view) {
  const char* format = view.format != nullptr ? view.format : "B";
  if (*format == '@' || *format == '=') {
    ++format;
  }
#if PY_LITTLE_ENDIAN
  if (*format == '<') {
    ++format;
  }
#endif
  return format[0] == 'f' && format[1] == '\0';
}

// A borrowed view of contiguous 1-D float32 samples; the exporter cannot move or resize them meanwhile.
class Samples {
 public:
  Samples(py::handle object, bool writable) {
    if (PyObject_CheckBuffer(object.ptr()) == 0) {
      throw py::type_error(std::string("samples must be float32 in a buffer such as numpy.ndarray, not ") + Py_TYPE(object.ptr())->tp_name);
    }
    if (PyObject_GetBuffer(object.ptr(), &view_, PyBUF_STRIDES | PyBUF_FORMAT) != 0) {
      throw py::error_already_set();
    }
    try {
      check(writable);
    } catch (...) {
      PyBuffer_Release(&view_);
      throw;
    }
  }
  ~Samples() { PyBuffer_Release(&view_); }
  Samples(const Samples&) = delete;
  Samples& operator=(const Samples&) = delete;

  float* data() const { return static_cast<float*>(view_.buf); }
  std::int64_t size() const { return view_.shape[0]; }

 private:
  void check(bool writable) const {
    if (!is_float32(view_)) {
      throw py::type_error("samples must be float32, not format '" + std::string(view_.format ? view_.format : "B") + "'");
    }
    if (view_.ndim != 1) {
      throw py::value_error("samples must have one dimension, not " + std::to_string(view_.ndim));
    }
    if (view_.shape[0] > 1 && view_.strides[0] != static_cast<Py_ssize_t>(sizeof(float))) {
      throw py::value_error("samples must be contiguous; copy them first");
    }
    if (writable && view_.readonly != 0) {
      throw py::value_error("samples must be writable");
    }
    if (reinterpret_cast<std::uintptr_t>(view_.buf) % alignof(float) != 0) {
      throw py::value_error("samples must be aligned to 4 bytes; copy them first");
    }
  }

  Py_buffer view_{};
};

// The array's data where it is what is expected: a numpy.ndarray of contiguous, aligned float32 with one dimension (and writable);
// otherwise nullptr, also where there is no numpy. It asks numpy's own structure instead of having a buffer exported; so nothing keeps
// the array from being resized, and it may only be used while the GIL is held. Throws nothing: CPython calls what calls it.
inline float* plain_samples(PyObject* object, bool writable) noexcept {
  try {
    if (Py_TYPE(object) != py::detail::npy_api::get().PyArray_Type_) {
      return nullptr;
    }
  } catch (const std::exception&) {
    return nullptr;
  }
  const auto* array = py::detail::array_proxy(object);
  const auto* kind = py::detail::array_descriptor_proxy(array->descr);
  const int wanted = py::detail::npy_api::NPY_ARRAY_C_CONTIGUOUS_ | py::detail::npy_api::NPY_ARRAY_ALIGNED_ |
                     (writable ? py::detail::npy_api::NPY_ARRAY_WRITEABLE_ : 0);
  const bool plain =
      array->nd == 1 && (array->flags & wanted) == wanted && kind->type_num == py::detail::npy_api::NPY_FLOAT_ && kind->byteorder == '=';
  return plain ? reinterpret_cast<float*>(array->data) : nullptr;
}

}  // namespace auricle::python
