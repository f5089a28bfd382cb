#include "auricle/portaudio_tap.hpp"

#include <atomic>
#include <chrono>
#include <memory>
#include <stdexcept>
#include <thread>
#include <vector>

#include "allocations.hpp"
#include "check.hpp"
#include "counted.hpp"

namespace {

using auricle::PortAudioTap;
using auricle::Ring;

constexpr unsigned long kOverflow = 0x2;  // paInputOverflow

int call(PortAudioTap& tap, const float* input, unsigned long frames, unsigned long flags = 0) {
  return auricle_portaudio_callback(input, nullptr, frames, nullptr, flags, &tap);
}

double now_s() { return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count(); }

std::vector<float> counted_samples(std::size_t n) {
  std::vector<float> samples(n);
  for (std::size_t i = 0; i < n; ++i) {
    samples[i] = counted(static_cast<std::int64_t>(i));
  }
  return samples;
}

void check_newest(const Ring& ring, std::int64_t start) {
  float out = 0.0F;
  for (std::int64_t i = start; i < ring.head(); ++i) {
    CHECK(ring.read(i, &out, 1) == 0);
    CHECK(out == counted(i));
  }
}

void interleaved_frames_land_in_order_and_are_counted() {
  const auto ring = std::make_shared<Ring>(4096);
  PortAudioTap tap(ring, 3);
  CHECK(tap.last_callback_s() == 0.0);
  const std::vector<float> samples = counted_samples(900);
  const double before_s = now_s();
  CHECK(call(tap, samples.data(), 100) == 0);
  CHECK(call(tap, samples.data() + 300, 200, kOverflow) == 0);
  CHECK(call(tap, samples.data() + 900, 0) == 0);
  CHECK(tap.frames() == 300 && tap.callbacks() == 3 && tap.overflows() == 1);
  CHECK(tap.last_callback_s() >= before_s - 1e-6 && tap.last_callback_s() <= now_s());
  CHECK(ring->head() == 900);
  check_newest(*ring, 0);
}

void only_the_overflow_flag_counts_as_overflow() {
  const auto ring = std::make_shared<Ring>(64);
  PortAudioTap tap(ring, 1);
  for (const unsigned long flag : {0x0UL, 0x1UL, 0x4UL, 0x8UL, 0x10UL}) {
    call(tap, nullptr, 1, flag);
  }
  CHECK(tap.overflows() == 0);
  call(tap, nullptr, 1, kOverflow | 0x1UL);
  CHECK(tap.overflows() == 1);
}

void a_callback_without_input_is_zeros() {
  const auto ring = std::make_shared<Ring>(64);
  PortAudioTap tap(ring, 2);
  CHECK(call(tap, nullptr, 5) == 0);
  CHECK(ring->head() == 10 && tap.frames() == 5);
  float out[10];
  CHECK(ring->read(0, out, 10) == 0);
  for (const float sample : out) {
    CHECK(sample == 0.0F);
  }
}

void a_callback_larger_than_the_ring_leaves_the_newest_samples() {
  const auto ring = std::make_shared<Ring>(64);
  PortAudioTap tap(ring, 2);
  const std::vector<float> samples = counted_samples(1000);
  call(tap, samples.data(), 500);
  CHECK(ring->head() == 1000 && ring->oldest() == 936);
  check_newest(*ring, 936);
}

void the_callback_allocates_nothing() {
  PortAudioTap tap(std::make_shared<Ring>(1024), 2);
  const std::vector<float> samples = counted_samples(2000);
  const long before = allocations.load();
  for (int i = 0; i < 10; ++i) {
    call(tap, samples.data(), 1000, kOverflow);
    call(tap, nullptr, 1000);
  }
  CHECK(allocations.load() == before);
}

void a_device_thread_and_a_listener_need_no_lock() {
  const auto ring = std::make_shared<Ring>(1 << 16);
  PortAudioTap tap(ring, 2);
  const std::vector<float> samples = counted_samples(60000);
  std::thread device([&] {
    for (std::size_t at = 0; at < samples.size(); at += 200) {
      call(tap, samples.data() + at, 100);
    }
  });
  float out[200];
  std::int64_t callbacks = 0;
  for (std::int64_t start = 0; start < 60000;) {
    CHECK(tap.callbacks() >= callbacks);
    callbacks = tap.callbacks();
    CHECK(tap.overflows() == 0 && tap.last_callback_s() >= 0.0);
    if (ring->head() < start + 200) {
      std::this_thread::yield();
      continue;
    }
    CHECK(ring->read(start, out, 200) == 0);
    for (int i = 0; i < 200; ++i) {
      CHECK(out[i] == counted(start + i));
    }
    start += 200;
  }
  device.join();
  CHECK(tap.frames() == 30000 && tap.callbacks() == 300);
}

void impossible_channels_are_refused() {
  const auto ring = std::make_shared<Ring>(64);
  CHECK_THROWS(PortAudioTap(ring, 0), std::invalid_argument);
  CHECK_THROWS(PortAudioTap(ring, 65), std::invalid_argument);
}

}  // namespace

int main() {
  interleaved_frames_land_in_order_and_are_counted();
  only_the_overflow_flag_counts_as_overflow();
  a_callback_without_input_is_zeros();
  a_callback_larger_than_the_ring_leaves_the_newest_samples();
  the_callback_allocates_nothing();
  a_device_thread_and_a_listener_need_no_lock();
  impossible_channels_are_refused();
}
