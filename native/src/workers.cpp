#include "auricle/workers.hpp"

#include <stdexcept>

namespace auricle {

Workers::Workers(int threads) {
  if (threads < 1) {
    throw std::invalid_argument("threads must be at least 1");
  }
  try {
    for (int i = 1; i < threads; ++i) {
      others_.emplace_back([this] { work(); });
    }
  } catch (...) {  // no more threads are to be had: those that are there do
  }
}

Workers::~Workers() {
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    closed_ = true;
  }
  begun_.notify_all();
  for (std::thread& other : others_) {
    other.join();
  }
}

void Workers::take(const std::function<void(std::int64_t)>& part, std::int64_t parts) {
  for (std::int64_t at = next_.fetch_add(1); at < parts; at = next_.fetch_add(1)) {
    part(at);
  }
}

void Workers::run(std::int64_t parts, const std::function<void(std::int64_t)>& part) {
  if (others_.empty() || parts < 2) {
    for (std::int64_t at = 0; at < parts; ++at) {
      part(at);
    }
    return;
  }
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    part_ = &part;
    parts_ = parts;
    next_ = 0;
    busy_ = static_cast<int>(others_.size());
    ++round_;
  }
  begun_.notify_all();
  take(part, parts);
  std::unique_lock<std::mutex> lock(mutex_);
  ended_.wait(lock, [this] { return busy_ == 0; });
}

void Workers::work() {
  std::int64_t done = 0;
  std::unique_lock<std::mutex> lock(mutex_);
  while (true) {
    begun_.wait(lock, [&] { return closed_ || round_ != done; });
    if (closed_) {
      return;
    }
    done = round_;
    const auto& part = *part_;
    const std::int64_t parts = parts_;
    lock.unlock();
    take(part, parts);
    lock.lock();
    if (--busy_ == 0) {
      ended_.notify_one();
    }
  }
}

}  // namespace auricle
