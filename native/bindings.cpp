// The module edge._native: with the headers beside it the only place that knows Python. Checks, calls, wraps.
#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>

#include <algorithm>
#include <cstdint>
#include <memory>
#include <mutex>
#include <stdexcept>
#include <string>

#include "auricle/level.hpp"
#include "auricle/log_mel.hpp"
#include "auricle/portaudio_tap.hpp"
#include "auricle/ring.hpp"
#include "python_decoder.hpp"
#include "python_ring.hpp"
#include "python_samples.hpp"
#include "python_unlocked.hpp"

namespace py = pybind11;
using auricle::LogMel;
using auricle::PortAudioTap;
using auricle::Ring;
using auricle::python::Samples;

namespace {

// Samples worth more than a microsecond or two of work, from which on giving up the GIL pays.
constexpr std::int64_t kLong = 8000;

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
    const auricle::python::Unlocked released;
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
  m.doc() = "The native floor of edge: ring, level, log-mel, text decoder. Contracts: native/include/auricle/*.hpp.";

  py::class_<Ring, std::shared_ptr<Ring>> ring_class(m, "Ring",
                                                     "Audio addressed by a sample index that never wraps: one writer, many readers.");
  ring_class.def(py::init<std::int64_t>(), py::arg("capacity"))
      .def_property_readonly("capacity", &Ring::capacity, "Samples that it holds, a power of two.")
      .def_property_readonly("head", &Ring::head, "One past the newest sample.")
      .def_property_readonly("oldest", &Ring::oldest, "The oldest sample that can still be read.")
      .def("write", &auricle::python::write_samples, py::arg("samples"),
           "Appends float32[n], n <= capacity. Writer thread only; keeps the GIL.")
      .def("skip", &auricle::python::skip_samples, py::arg("n"),
           "Appends n zeros: lost audio keeps the time line true. Writer thread only.")
      .def("read", &auricle::python::read_samples, py::arg("start"), py::arg("out"),
           "Copies [start, start + len(out)) to out; returns how many leading samples were lost (they are zeros).")
      .def(
          "portaudio", [](std::shared_ptr<Ring> ring, int channels) { return std::make_shared<PortAudioTap>(ring, channels); },
          py::arg("channels"), "A C callback with its user data that writes a device's interleaved frames into this ring.");
  auricle::python::make_quick(ring_class);

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

  auricle::python::add_text_decoder(m);

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
