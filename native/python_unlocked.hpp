// Work without the interpreter's lock, by threads that may still be at it when the interpreter ends.
#pragma once

#include <Python.h>
#include <unistd.h>

namespace auricle::python {

// Gives the lock up until the end of the scope. Before 3.14 Python ends a daemon thread that asks for the lock while the interpreter ends,
// by unwinding its stack; through a destructor, as pybind11's gil_scoped_release has, that aborts the process. So the thread waits here for
// the process to end, as it does in 3.14: nothing on its stack may be released without the lock.
class Unlocked {
 public:
  Unlocked() : state_(PyEval_SaveThread()) {}
  Unlocked(const Unlocked&) = delete;
  Unlocked& operator=(const Unlocked&) = delete;
  ~Unlocked() {
    try {
      PyEval_RestoreThread(state_);
    } catch (...) {
      for (;;) {
        pause();
      }
    }
  }

 private:
  PyThreadState* state_;
};

}  // namespace auricle::python
