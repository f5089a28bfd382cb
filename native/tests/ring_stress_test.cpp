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

// Large enough that a copy of the whole ring takes a while: the writer should come in the middle of it. ThreadSanitizer's
// copies are slow in any case.
#if defined(__SANITIZE_THREAD__)
constexpr std::int64_t kCapacity = 1 << 13;
constexpr std::int64_t kTotal = 400'000;
#else
constexpr std::int64_t kCapacity = 1 << 18;
constexpr std::int64_t kTotal = 20'000'000;
#endif
constexpr int kReaders = 3;
constexpr int kMostRounds = 200;

struct Seen {
  std::int64_t whole = 0;
  std::int64_t overtaken = 0;
  std::int64_t overtaken_while_copying = 0;
};

struct Scene {
  Ring ring{kCapacity};
  std::vector<std::int64_t> trace = std::vector<std::int64_t>(static_cast<std::size_t>(kTotal));
  std::atomic<int> readers_ready{0};
  Seen seen[kReaders];
};

void write_all(Scene& scene, unsigned seed) {
  std::mt19937 random(seed);
  std::vector<float> samples(2000);
  while (scene.readers_ready.load() < kReaders) {
    std::this_thread::yield();
  }
  for (std::int64_t start = 0; start < kTotal;) {
    const std::int64_t n = std::min<std::int64_t>(1 + static_cast<std::int64_t>(random() % 2000), kTotal - start);
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
    // Anywhere in what the ring held, often all of it from its oldest end, where the writer is at work.
    const std::int64_t held_from = std::max<std::int64_t>(0, head - kCapacity);
    const bool all = random() % 2 == 0;
    const std::int64_t start = all ? held_from : held_from + static_cast<std::int64_t>(random()) % (head - held_from);
    const std::int64_t n = all ? head - start : 1 + static_cast<std::int64_t>(random()) % (head - start);
    const std::int64_t gone = std::max<std::int64_t>(0, scene.ring.oldest() - start);
    const std::int64_t lost = scene.ring.read(start, out.data(), n);
    CHECK(lost >= std::min(gone, n) && lost <= n);
    for (std::int64_t i = 0; i < n; ++i) {
      CHECK(out[static_cast<std::size_t>(i)] == (i < lost ? 0.0F : counted(start + i)));
    }
    ++(lost == 0 ? seen.whole : seen.overtaken);
    seen.overtaken_while_copying += gone < lost && gone < n ? 1 : 0;
  }
}

Seen play(unsigned round) {
  Scene scene;
  std::vector<std::thread> threads;
  for (unsigned r = 0; r < kReaders; ++r) {
    threads.emplace_back(read_all, std::ref(scene), 100 * round + r, std::ref(scene.seen[r]));
  }
  threads.emplace_back(write_all, std::ref(scene), 100 * round + kReaders);
  Seen sum;
  for (std::thread& thread : threads) {
    thread.join();
  }
  for (const Seen& seen : scene.seen) {
    sum.whole += seen.whole;
    sum.overtaken += seen.overtaken;
    sum.overtaken_while_copying += seen.overtaken_while_copying;
  }
  return sum;
}

}  // namespace

int main() {
  Seen sum;
  int round = 0;
  // How threads interleave is not ours to say, so play until every case has come up often enough to mean something.
  for (; round < kMostRounds && (sum.whole < 300 || sum.overtaken < 50 || sum.overtaken_while_copying < 5); ++round) {
    const Seen seen = play(static_cast<unsigned>(round));
    sum.whole += seen.whole;
    sum.overtaken += seen.overtaken;
    sum.overtaken_while_copying += seen.overtaken_while_copying;
  }
  std::printf("%d rounds, reads: %lld whole, %lld overtaken, %lld of these while copying\n", round, static_cast<long long>(sum.whole),
              static_cast<long long>(sum.overtaken), static_cast<long long>(sum.overtaken_while_copying));
  CHECK(round < kMostRounds);
}
