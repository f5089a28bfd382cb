// The only file that knows Python: checks, calls, wraps.
//
// Samples come in through the buffer protocol itself: a third of the time that py::array_t takes to look at a block.
#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>

#include <algorithm>
#include <cstdint>
#include <limits>
#include <memory>
#include <mutex>
#include <stdexcept>
#include <string>

#include "auricle/level.hpp"
#include "auricle/log_mel.hpp"
#include "auricle/portaudio_tap.hpp"
#include "auricle/ring.hpp"

namespace py = pybind11;
using auricle::LogMel;
using auricle::PortAudioTap;
using auricle::Ring;

namespace {

// Samples worth more than a microsecond or two of work, from which on giving up the GIL pays.
constexpr std::int64_t kLong = 8000;

bool is_float32(const Py_buffer& view) {
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

void check_room(const Ring& ring, std::int64_t n) {
  if (n > std::numeric_limits<std::int64_t>::max() - ring.head()) {
    throw py::value_error("the sample index would pass 2**63");
  }
}

void write_samples(Ring& ring, py::handle object) {
  const Samples samples(object, false);
  if (samples.size() > ring.capacity()) {
    throw py::value_error("cannot write " + std::to_string(samples.size()) + " samples into a ring of " + std::to_string(ring.capacity()) +
                          "; write them in pieces");
  }
  check_room(ring, samples.size());
  ring.write(samples.data(), samples.size());
}

void skip_samples(Ring& ring, std::int64_t n) {
  if (n < 0) {
    throw py::value_error("cannot skip " + std::to_string(n) + " samples");
  }
  check_room(ring, n);
  ring.skip(n);
}

std::int64_t read_samples(const Ring& ring, std::int64_t start, py::handle object) {
  const Samples out(object, true);
  const std::int64_t lost = ring.read(start, out.data(), out.size());
  if (lost < 0) {
    throw py::value_error("cannot read " + std::to_string(out.size()) + " samples from " + std::to_string(start) + ": written are 0 to " +
                          std::to_string(ring.head()));
  }
  return lost;
}

double level_of(py::handle object) {
  const Samples samples(object, false);
  return auricle::level_dbfs(samples.data(), samples.size());
}

std::int64_t clean_in_place(py::handle object) {
  const Samples samples(object, true);
  return auricle::clean(samples.data(), samples.size());
}

py::array_t<float> extend(LogMel& log_mel, const Samples& samples) {
  const std::int64_t rows = log_mel.rows(samples.size());
  py::array_t<float> out({static_cast<py::ssize_t>(rows), static_cast<py::ssize_t>(log_mel.bands())});
  float* const first = out.mutable_data();
  if (samples.size() < kLong) {
    log_mel.extend(samples.data(), samples.size(), first);
  } else {
    const py::gil_scoped_release released;
    log_mel.extend(samples.data(), samples.size(), first);
  }
  return out;
}

// A LogMel that refuses, instead of mixing up its samples, when a second thread comes while the GIL is released.
struct Stream {
  Stream(int bands, double low_hz, double high_hz) : log_mel(bands, low_hz, high_hz) {}
  std::unique_lock<std::mutex> use() {
    std::unique_lock<std::mutex> lock(mutex, std::try_to_lock);
    if (!lock.owns_lock()) {
      throw std::runtime_error("this LogMel is in use by another thread; give each thread its own");
    }
    return lock;
  }
  LogMel log_mel;
  std::mutex mutex;
};

}  // namespace

PYBIND11_MODULE(_native, m) {
  m.doc() = "The native floor of edge: ring, level, log-mel. Contracts: native/include/auricle/*.hpp.";

  py::class_<Ring, std::shared_ptr<Ring>>(m, "Ring", "Audio addressed by a sample index that never wraps: one writer, many readers.")
      .def(py::init<std::int64_t>(), py::arg("capacity"))
      .def_property_readonly("capacity", &Ring::capacity, "Samples that it holds, a power of two.")
      .def_property_readonly("head", &Ring::head, "One past the newest sample.")
      .def_property_readonly("oldest", &Ring::oldest, "The oldest sample that can still be read.")
      .def("write", &write_samples, py::arg("samples"), "Appends float32[n], n <= capacity. Writer thread only; keeps the GIL.")
      .def("skip", &skip_samples, py::arg("n"), "Appends n zeros: lost audio keeps the time line true. Writer thread only.")
      .def("read", &read_samples, py::arg("start"), py::arg("out"),
           "Copies [start, start + len(out)) to out; returns how many leading samples were lost (they are zeros).")
      .def(
          "portaudio", [](std::shared_ptr<Ring> ring, int channels) { return std::make_shared<PortAudioTap>(ring, channels); },
          py::arg("channels"), "A C callback with its user data that writes a device's interleaved frames into this ring.");

  py::class_<PortAudioTap, std::shared_ptr<PortAudioTap>>(m, "PortAudioTap", "User data of the C callback; must outlive the stream.")
      .def_property_readonly(
          "callback_address", [](const PortAudioTap&) { return reinterpret_cast<std::uintptr_t>(&auricle_portaudio_callback); },
          "Address of a PaStreamCallback.")
      .def_property_readonly(
          "user_data_address", [](const PortAudioTap& tap) { return reinterpret_cast<std::uintptr_t>(&tap); },
          "Address to pass as userData.")
      .def_property_readonly("channels", &PortAudioTap::channels)
      .def_property_readonly("frames", &PortAudioTap::frames, "Frames taken so far.")
      .def_property_readonly("callbacks", &PortAudioTap::callbacks, "Callbacks so far.")
      .def_property_readonly("overflows", &PortAudioTap::overflows, "Callbacks with paInputOverflow so far.")
      .def_property_readonly("last_callback_s", &PortAudioTap::last_callback_s, "time.monotonic() of the newest callback, or 0.0.")
      .def_property_readonly("ring", &PortAudioTap::ring);

  m.def("level_dbfs", &level_of, py::arg("samples"), "RMS of float32[n] in dBFS, at least -120; NaN and infinities count as 0.");
  m.def("clean", &clean_in_place, py::arg("samples"),
        "Sets NaN and infinities to 0 and clips to [-1, 1], in place; returns how many it changed.");

  py::class_<Stream>(m, "LogMel", "Streaming log-mel; equal to log_mel() bit for bit for any division into calls.")
      .def(py::init<int, double, double>(), py::arg("bands") = 80, py::arg("low_hz") = 0.0, py::arg("high_hz") = 8000.0)
      .def_property_readonly("bands", [](const Stream& stream) { return stream.log_mel.bands(); })
      .def(
          "extend",
          [](Stream& stream, py::handle samples) {
            const auto in_use = stream.use();
            return extend(stream.log_mel, Samples(samples, false));
          },
          py::arg("samples"), "Takes float32[n]; returns float32[T, bands], every row that they complete.")
      .def(
          "reset",
          [](Stream& stream) {
            const auto in_use = stream.use();
            stream.log_mel.reset();
          },
          "Forgets all samples.");

  m.def(
      "log_mel",
      [](py::handle samples, int bands, double low_hz, double high_hz) {
        LogMel log_mel(bands, low_hz, high_hz);
        return extend(log_mel, Samples(samples, false));
      },
      py::arg("samples"), py::arg("bands") = 80, py::arg("low_hz") = 0.0, py::arg("high_hz") = 8000.0,
      "Log-mel energies of one segment: float32[T, bands], T = max(0, 1 + (n - 400) // 160).");
}
