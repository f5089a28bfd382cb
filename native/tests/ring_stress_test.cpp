// One writer at full speed, three readers who are overtaken all the time. Laws:
// - what a reader is given is exact, and what it is told is lost is zeros, however the threads interleave;
// - whoever sees head() sees what the writer did before: a trace beside the ring, plain memory written before each block,
//   is read without a lock. ThreadSanitizer reports a race on it when the publication loses its release or acquire.
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

constexpr std::int64_t kCapacity = 4096;
#if defined(__SANITIZE_THREAD__)
constexpr std::int64_t kTotal = 600'000;
#else
constexpr std::int64_t kTotal = 40'000'000;
#endif

struct Scene {
  Ring ring{kCapacity};
  std::vector<std::int64_t> trace = std::vector<std::int64_t>(static_cast<std::size_t>(kTotal));
  std::atomic<int> readers_ready{0};
};

struct Seen {
  std::int64_t whole = 0;
  std::int64_t lapped = 0;
};

void write_all(Scene& scene) {
  std::mt19937 random(1);
  std::vector<float> samples(static_cast<std::size_t>(kCapacity));
  while (scene.readers_ready.load() < 3) {
    std::this_thread::yield();
  }
  for (std::int64_t start = 0; start < kTotal;) {
    const std::int64_t n = std::min<std::int64_t>(1 + static_cast<std::int64_t>(random() % 700), kTotal - start);
    for (std::int64_t i = 0; i < n; ++i) {
      samples[static_cast<std::size_t>(i)] = counted(start + i);
    }
    scene.trace[static_cast<std::size_t>(start + n - 1)] = start + n;
    scene.ring.write(samples.data(), n);
    start += n;
  }
}

void read_all(Scene& scene, unsigned seed, Seen& seen) {
  std::mt19937 random(seed);
  std::vector<float> out(static_cast<std::size_t>(kCapacity));
  scene.readers_ready.fetch_add(1);
  for (std::int64_t head = 0, before = 0; head < kTotal; before = head) {
    head = scene.ring.head();
    CHECK(head >= before);
    if (head == 0) {
      std::this_thread::yield();
      continue;
    }
    CHECK(scene.trace[static_cast<std::size_t>(head - 1)] == head);
    // Anywhere in what the ring held, often at its oldest end, where the writer is at work.
    const std::int64_t oldest = std::max<std::int64_t>(0, head - kCapacity);
    const std::int64_t start = random() % 2 == 0 ? oldest : oldest + static_cast<std::int64_t>(random()) % (head - oldest);
    const std::int64_t n = 1 + static_cast<std::int64_t>(random()) % (head - start);
    const std::int64_t lost = scene.ring.read(start, out.data(), n);
    CHECK(lost >= 0 && lost <= n);
    for (std::int64_t i = 0; i < n; ++i) {
      CHECK(out[static_cast<std::size_t>(i)] == (i < lost ? 0.0F : counted(start + i)));
    }
    ++(lost == 0 ? seen.whole : seen.lapped);
  }
}

}  // namespace

int main() {
  Scene scene;
  Seen seen[3];
  std::vector<std::thread> threads;
  for (unsigned r = 0; r < 3; ++r) {
    threads.emplace_back(read_all, std::ref(scene), r + 2, std::ref(seen[r]));
  }
  threads.emplace_back(write_all, std::ref(scene));
  for (std::thread& thread : threads) {
    thread.join();
  }
  const std::int64_t whole = seen[0].whole + seen[1].whole + seen[2].whole;
  const std::int64_t lapped = seen[0].lapped + seen[1].lapped + seen[2].lapped;
  std::printf("%lld reads whole, %lld overtaken\n", static_cast<long long>(whole), static_cast<long long>(lapped));
  CHECK(whole > 0 && lapped > 0);  // or nothing was tested
}
