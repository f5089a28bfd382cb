// Times the ring against boost's and moodycamel's queues, as far as their headers are found; started by native_ring.py.
// Prints one line for each round and candidate: QUESTION CANDIDATE NANOSECONDS_PER_BLOCK
#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

#include "auricle/ring.hpp"

#if __has_include(<boost/lockfree/spsc_queue.hpp>)
#include <boost/lockfree/spsc_queue.hpp>
#define HAVE_BOOST 1
#endif
#if __has_include(<readerwritercircularbuffer.h>)
#include <readerwritercircularbuffer.h>
#define HAVE_MOODYCAMEL 1
#endif

namespace {

constexpr std::int64_t kBlock = 512;      // float32 samples
constexpr std::int64_t kRing = 1 << 16;   // samples that each candidate holds
constexpr std::int64_t kBlocks = 20'000;  // of one round

using Block = std::array<float, kBlock>;

// Each candidate: put() and take() one block; false when there is no room or no block.
struct WithFlowControl {
  auricle::Ring ring{kRing};
  std::atomic<std::int64_t> taken{0};  // the flow control that the others bring along; the product's writer never waits
  bool put(const Block& block) {
    if (ring.head() + kBlock - taken.load(std::memory_order_acquire) > kRing) {
      return false;
    }
    ring.write(block.data(), kBlock);
    return true;
  }
  bool take(Block& block) {
    const std::int64_t start = taken.load(std::memory_order_relaxed);
    if (ring.read(start, block.data(), kBlock) != 0) {
      return false;
    }
    taken.store(start + kBlock, std::memory_order_release);
    return true;
  }
};

struct MutexRing {
  std::vector<float> samples = std::vector<float>(kRing);
  std::int64_t head = 0;
  std::int64_t tail = 0;
  std::mutex mutex;
  bool put(const Block& block) {
    const std::lock_guard<std::mutex> lock(mutex);
    if (head + kBlock - tail > kRing) {
      return false;
    }
    std::memcpy(&samples[static_cast<std::size_t>(head % kRing)], block.data(), sizeof block);
    head += kBlock;
    return true;
  }
  bool take(Block& block) {
    const std::lock_guard<std::mutex> lock(mutex);
    if (head == tail) {
      return false;
    }
    std::memcpy(block.data(), &samples[static_cast<std::size_t>(tail % kRing)], sizeof block);
    tail += kBlock;
    return true;
  }
};

// As the product uses it: the writer never waits.
struct Unchecked {
  auricle::Ring ring{kRing};
  bool put(const Block& block) {
    ring.write(block.data(), kBlock);
    return true;
  }
  bool take(Block& block) { return ring.read(ring.head() - kBlock, block.data(), kBlock) == 0; }
};

volatile std::size_t block_bytes = sizeof(Block);  // or the compiler would write the copies out, more slowly than libc

// The limit: two copies and nothing else.
struct Copies {
  std::vector<float> samples = std::vector<float>(kRing);
  std::int64_t head = 0;
  bool put(const Block& block) {
    std::memcpy(&samples[static_cast<std::size_t>(head % kRing)], block.data(), block_bytes);
    return true;
  }
  bool take(Block& block) {
    std::memcpy(block.data(), &samples[static_cast<std::size_t>(head % kRing)], block_bytes);
    head += kBlock;
    return true;
  }
};

#ifdef HAVE_BOOST
struct Boost {
  boost::lockfree::spsc_queue<float, boost::lockfree::capacity<kRing>> queue;
  bool put(const Block& block) { return queue.write_available() >= kBlock && queue.push(block.data(), kBlock) == kBlock; }
  bool take(Block& block) { return queue.read_available() >= kBlock && queue.pop(block.data(), kBlock) == kBlock; }
};
#endif

#ifdef HAVE_MOODYCAMEL
struct Moodycamel {
  moodycamel::BlockingReaderWriterCircularBuffer<Block> queue{kRing / kBlock};
  bool put(const Block& block) { return queue.try_enqueue(block); }
  bool take(Block& block) { return queue.try_dequeue(block); }
};
#endif

double now_ns() { return std::chrono::duration<double, std::nano>(std::chrono::steady_clock::now().time_since_epoch()).count(); }

template <typename Candidate>
double one_thread_ns(Candidate& candidate) {
  Block in{};
  Block out{};
  const double begin = now_ns();
  for (std::int64_t i = 0; i < kBlocks; ++i) {
    in[0] = static_cast<float>(i);
    if (!candidate.put(in) || !candidate.take(out) || out[0] != in[0]) {
      std::abort();
    }
  }
  return (now_ns() - begin) / static_cast<double>(kBlocks);
}

template <typename Candidate>
double two_threads_ns(Candidate& candidate) {
  const double begin = now_ns();
  std::thread writer([&] {
    Block in{};
    for (std::int64_t i = 0; i < kBlocks; ++i) {
      in[0] = static_cast<float>(i);
      while (!candidate.put(in)) {
        std::this_thread::yield();
      }
    }
  });
  Block out{};
  for (std::int64_t i = 0; i < kBlocks; ++i) {
    while (!candidate.take(out)) {
      std::this_thread::yield();
    }
    if (out[0] != static_cast<float>(i)) {
      std::abort();
    }
  }
  writer.join();
  return (now_ns() - begin) / static_cast<double>(kBlocks);
}

template <typename Candidate>
void one_thread(const char* name) {
  const auto candidate = std::make_unique<Candidate>();
  one_thread_ns(*candidate);  // warm-up
  std::printf("one_thread %s %.2f\n", name, one_thread_ns(*candidate));
}

template <typename Candidate>
void two_threads(const char* name) {
  const auto candidate = std::make_unique<Candidate>();
  std::printf("two_threads %s %.2f\n", name, two_threads_ns(*candidate));
}

}  // namespace

int main(int argc, char** argv) {
  const int rounds = argc > 1 ? std::atoi(argv[1]) : 20;
  for (int round = 0; round < rounds; ++round) {
    one_thread<Unchecked>("auricle");
    one_thread<Copies>("copies_only");
    one_thread<MutexRing>("mutex");
    two_threads<WithFlowControl>("auricle");
    two_threads<MutexRing>("mutex");
#ifdef HAVE_BOOST
    one_thread<Boost>("boost_spsc_bulk");
    two_threads<Boost>("boost_spsc_bulk");
#endif
#ifdef HAVE_MOODYCAMEL
    one_thread<Moodycamel>("moodycamel_circular");
    two_threads<Moodycamel>("moodycamel_circular");
#endif
  }
}
