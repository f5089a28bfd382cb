// What Python may do with a Ring.
//
// A call through pybind11 takes a tenth of a microsecond and numpy's export of a buffer half as much: more than the copy of a block. What
// runs once for every block (write, read, head) is therefore called by CPython itself. Only ordinary arguments are dealt with there;
// whatever else comes goes on to what pybind11 bound, which has the checks and the sentences.
#pragma once

#include <algorithm>
#include <array>
#include <limits>
#include <memory>

#include "auricle/ring.hpp"
#include "python_samples.hpp"

namespace auricle::python {

inline void check_room(const Ring& ring, std::int64_t n) {
  if (n > std::numeric_limits<std::int64_t>::max() - ring.head()) {
    throw py::value_error("the sample index would pass 2**63");
  }
}

inline void write_samples(Ring& ring, py::handle object) {
  const Samples samples(object, false);
  if (samples.size() > ring.capacity()) {
    throw py::value_error("cannot write " + std::to_string(samples.size()) + " samples into a ring of " + std::to_string(ring.capacity()) +
                          "; write them in pieces");
  }
  check_room(ring, samples.size());
  ring.write(samples.data(), samples.size());
}

inline void skip_samples(Ring& ring, std::int64_t n) {
  if (n < 0) {
    throw py::value_error("cannot skip " + std::to_string(n) + " samples");
  }
  check_room(ring, n);
  ring.skip(n);
}

inline std::int64_t read_samples(const Ring& ring, std::int64_t start, py::handle object) {
  const Samples out(object, true);
  const std::int64_t lost = ring.read(start, out.data(), out.size());
  if (lost < 0) {
    throw py::value_error("cannot read " + std::to_string(out.size()) + " samples from " + std::to_string(start) + ": written are 0 to " +
                          std::to_string(ring.head()));
  }
  return lost;
}

// The ring of an instance whose type the method descriptor has checked; nullptr and a TypeError when __init__ has not run.
inline Ring* ring_of(PyObject* self) {
  void* const ring = reinterpret_cast<py::detail::instance*>(self)->get_value_and_holder().value_ptr();
  if (ring == nullptr) {
    PyErr_SetString(PyExc_TypeError, "Ring.__init__() must be called first");
  }
  return static_cast<Ring*>(ring);
}

// What pybind11 bound before; they live as long as the process.
inline PyObject* bound_write = nullptr;
inline PyObject* bound_read = nullptr;

inline PyObject* as_bound(PyObject* bound, PyObject* self, PyObject* const* arguments, Py_ssize_t count, PyObject* names) {
  std::array<PyObject*, 8> all{self};
  const Py_ssize_t given = count + (names != nullptr ? PyTuple_GET_SIZE(names) : 0);
  if (given >= static_cast<Py_ssize_t>(all.size())) {
    PyErr_Format(PyExc_TypeError, "Ring takes no method with %zd arguments", given);
    return nullptr;
  }
  std::copy(arguments, arguments + given, all.begin() + 1);
  return PyObject_Vectorcall(bound, all.data(), static_cast<std::size_t>(count + 1), names);
}

inline PyObject* quick_write(PyObject* self, PyObject* const* arguments, Py_ssize_t count, PyObject* names) {
  Ring* const ring = ring_of(self);
  if (ring == nullptr) {
    return nullptr;
  }
  const float* const samples = count == 1 && names == nullptr ? plain_samples(arguments[0], false) : nullptr;
  if (samples == nullptr) {
    return as_bound(bound_write, self, arguments, count, names);
  }
  const std::int64_t n = py::detail::array_proxy(arguments[0])->dimensions[0];
  if (n > ring->capacity() || n > std::numeric_limits<std::int64_t>::max() - ring->head()) {
    return as_bound(bound_write, self, arguments, count, names);
  }
  ring->write(samples, n);
  Py_RETURN_NONE;
}

inline PyObject* quick_read(PyObject* self, PyObject* const* arguments, Py_ssize_t count, PyObject* names) {
  const Ring* const ring = ring_of(self);
  if (ring == nullptr) {
    return nullptr;
  }
  const bool ordinary = count == 2 && names == nullptr && PyLong_CheckExact(arguments[0]) != 0;
  float* const out = ordinary ? plain_samples(arguments[1], true) : nullptr;
  if (out != nullptr) {
    int beyond = 0;
    const long long start = PyLong_AsLongLongAndOverflow(arguments[0], &beyond);
    const std::int64_t lost = beyond != 0 ? -1 : ring->read(start, out, py::detail::array_proxy(arguments[1])->dimensions[0]);
    if (lost >= 0) {
      return PyLong_FromLongLong(lost);
    }
  }
  return as_bound(bound_read, self, arguments, count, names);
}

inline PyObject* quick_head(PyObject* self, void*) {
  const Ring* const ring = ring_of(self);
  return ring == nullptr ? nullptr : PyLong_FromLongLong(ring->head());
}

// Puts the quick ways before what pybind11 bound.
inline void make_quick(py::class_<Ring, std::shared_ptr<Ring>>& ring) {
  // CPython's own cast: a method with METH_FASTCALL has another signature than PyCFunction.
  static PyMethodDef write{"write", reinterpret_cast<PyCFunction>(reinterpret_cast<void (*)()>(&quick_write)),
                           METH_FASTCALL | METH_KEYWORDS, "Appends float32[n], n <= capacity. Writer thread only; keeps the GIL."};
  static PyMethodDef read{"read", reinterpret_cast<PyCFunction>(reinterpret_cast<void (*)()>(&quick_read)), METH_FASTCALL | METH_KEYWORDS,
                          "Copies [start, start + len(out)) to out; returns how many leading samples were lost (they are zeros)."};
  static PyGetSetDef head{"head", &quick_head, nullptr, "One past the newest sample.", nullptr};
  auto* const type = reinterpret_cast<PyTypeObject*>(ring.ptr());
  bound_write = py::object(ring.attr("write")).release().ptr();
  bound_read = py::object(ring.attr("read")).release().ptr();
  ring.attr("write") = py::reinterpret_steal<py::object>(PyDescr_NewMethod(type, &write));
  ring.attr("read") = py::reinterpret_steal<py::object>(PyDescr_NewMethod(type, &read));
  ring.attr("head") = py::reinterpret_steal<py::object>(PyDescr_NewGetSet(type, &head));
}

}  // namespace auricle::python
