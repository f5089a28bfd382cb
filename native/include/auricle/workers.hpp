// A few threads that share the parts of one piece of work.
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <mutex>
#include <thread>
#include <vector>

namespace auricle {

// run() is for one thread at a time. The threads sleep between two runs; with threads = 1 there are none.
class Workers {
 public:
  explicit Workers(int threads);
  ~Workers();
  Workers(const Workers&) = delete;
  Workers& operator=(const Workers&) = delete;

  int threads() const noexcept { return static_cast<int>(others_.size()) + 1; }
  // Calls part(0) … part(parts - 1), each once, in any order; returns when all have returned. `part` must not throw.
  void run(std::int64_t parts, const std::function<void(std::int64_t)>& part);

 private:
  void work();
  void take(const std::function<void(std::int64_t)>& part, std::int64_t parts);

  std::mutex mutex_;
  std::condition_variable begun_, ended_;
  const std::function<void(std::int64_t)>* part_ = nullptr;
  std::int64_t parts_ = 0;
  std::int64_t round_ = 0;
  int busy_ = 0;
  bool closed_ = false;
  std::atomic<std::int64_t> next_{0};
  std::vector<std::thread> others_;
};

}  // namespace auricle
