// One writer and two readers whom it waits for, so that nobody is ever overtaken. Law: then no sample is lost or wrong, and
// the copies themselves, made with the memcpy that is shipped (AURICLE_PLAIN_COPY under ThreadSanitizer), are free of races.
#include <algorithm>
#include <atomic>
#include <functional>
#include <random>
#include <thread>
#include <vector>

#include "auricle/ring.hpp"
#include "check.hpp"
#include "counted.hpp"

namespace {

using auricle::Ring;

constexpr std::int64_t kCapacity = 1024;
#if defined(__SANITIZE_THREAD__)
constexpr std::int64_t kTotal = 2'000'000;
#else
constexpr std::int64_t kTotal = 10'000'000;
#endif

struct Scene {
  Ring ring{kCapacity};
  std::atomic<std::int64_t> read_up_to[2] = {};
};

void write_all(Scene& scene) {
  std::mt19937 random(1);
  std::vector<float> samples(static_cast<std::size_t>(kCapacity));
  for (std::int64_t start = 0; start < kTotal;) {
    const std::int64_t n = std::min<std::int64_t>(1 + static_cast<std::int64_t>(random()) % kCapacity, kTotal - start);
    for (std::int64_t i = 0; i < n; ++i) {
      samples[static_cast<std::size_t>(i)] = counted(start + i);
    }
    for (const std::atomic<std::int64_t>& position : scene.read_up_to) {
      while (position.load(std::memory_order_acquire) < start + n - kCapacity) {
        std::this_thread::yield();
      }
    }
    scene.ring.write(samples.data(), n);
    start += n;
  }
}

void read_all(Scene& scene, std::atomic<std::int64_t>& position) {
  std::vector<float> out(static_cast<std::size_t>(kCapacity));
  for (std::int64_t start = 0; start < kTotal;) {
    const std::int64_t n = scene.ring.head() - start;
    if (n == 0) {
      std::this_thread::yield();
      continue;
    }
    CHECK(n <= kCapacity);
    CHECK(scene.ring.read(start, out.data(), n) == 0);
    for (std::int64_t i = 0; i < n; ++i) {
      CHECK(out[static_cast<std::size_t>(i)] == counted(start + i));
    }
    start += n;
    position.store(start, std::memory_order_release);
  }
}

}  // namespace

int main() {
  Scene scene;
  std::thread first(read_all, std::ref(scene), std::ref(scene.read_up_to[0]));
  std::thread second(read_all, std::ref(scene), std::ref(scene.read_up_to[1]));
  write_all(scene);
  first.join();
  second.join();
}
