#include "auricle/ring.hpp"

#include <limits>
#include <stdexcept>
#include <vector>

#include "allocations.hpp"
#include "check.hpp"
#include "counted.hpp"

namespace {

using auricle::Ring;

std::vector<float> block(std::int64_t start, std::int64_t n) {
  std::vector<float> samples(static_cast<std::size_t>(n));
  for (std::int64_t i = 0; i < n; ++i) {
    samples[static_cast<std::size_t>(i)] = counted(start + i);
  }
  return samples;
}

void write_counted(Ring& ring, std::int64_t n) {
  const std::vector<float> samples = block(ring.head(), n);
  ring.write(samples.data(), n);
}

// Reads [start, start + n), demands that exactly `lost` leading samples are lost and that the others are right.
void check_read(const Ring& ring, std::int64_t start, std::int64_t n, std::int64_t lost) {
  std::vector<float> out(static_cast<std::size_t>(n) + 2, -7.0F);
  CHECK(ring.read(start, out.data() + 1, n) == lost);
  for (std::int64_t i = 0; i < n; ++i) {
    CHECK(out[static_cast<std::size_t>(i) + 1] == (i < lost ? 0.0F : counted(start + i)));
  }
  CHECK(out.front() == -7.0F && out.back() == -7.0F);
}

void capacity_is_rounded_up_to_a_power_of_two() {
  CHECK(Ring(1).capacity() == 1);
  CHECK(Ring(2).capacity() == 2);
  CHECK(Ring(3).capacity() == 4);
  CHECK(Ring(1000).capacity() == 1024);
  CHECK(Ring(1024).capacity() == 1024);
  CHECK_THROWS(Ring(0), std::invalid_argument);
  CHECK_THROWS(Ring(-1), std::invalid_argument);
  CHECK_THROWS(Ring(Ring::kLargestCapacity + 1), std::invalid_argument);
}

void every_sample_comes_back_at_its_index() {
  for (const std::int64_t capacity : {1, 2, 8, 64}) {
    for (std::int64_t size = 0; size <= capacity; ++size) {
      Ring ring(capacity);
      std::int64_t written = 0;
      for (int turn = 0; turn < 20; ++turn) {
        write_counted(ring, size);
        written += size;
        CHECK(ring.head() == written);
        const std::int64_t oldest = written > capacity ? written - capacity : 0;
        CHECK(ring.oldest() == oldest);
        for (std::int64_t start = oldest; start <= written; ++start) {
          check_read(ring, start, written - start, 0);
        }
      }
    }
  }
}

void an_overtaken_reader_is_told_how_much_it_lost() {
  Ring ring(8);
  for (int i = 0; i < 5; ++i) {
    write_counted(ring, 4);
  }
  check_read(ring, 12, 8, 0);
  check_read(ring, 11, 9, 1);
  check_read(ring, 10, 4, 2);
  check_read(ring, 0, 20, 12);
  check_read(ring, 0, 5, 5);
  check_read(ring, 0, 0, 0);
}

void what_is_not_written_yet_cannot_be_read() {
  Ring ring(8);
  write_counted(ring, 5);
  float out[8] = {-7.0F};
  CHECK(ring.read(0, out, 6) == -1);
  CHECK(ring.read(6, out, 0) == -1);
  CHECK(ring.read(-1, out, 1) == -1);
  CHECK(ring.read(0, out, -1) == -1);
  CHECK(ring.read(std::numeric_limits<std::int64_t>::max(), out, std::numeric_limits<std::int64_t>::max()) == -1);
  CHECK(out[0] == -7.0F);
}

void skipped_samples_are_zeros_and_count() {
  for (std::int64_t n = 0; n <= 20; ++n) {
    for (std::int64_t before = 0; before <= 8; ++before) {
      Ring ring(8);
      write_counted(ring, before);
      ring.skip(n);
      CHECK(ring.head() == before + n);
      float out[8];
      for (std::int64_t i = ring.oldest(); i < ring.head(); ++i) {
        CHECK(ring.read(i, out, 1) == 0);
        CHECK(out[0] == (i < before ? counted(i) : 0.0F));
      }
      write_counted(ring, 8);
      check_read(ring, before + n, 8, 0);
    }
  }
}

void the_index_never_wraps() {
  const std::int64_t hour = 3600 * 16000;
  Ring ring(1024);
  for (const std::int64_t far : {std::int64_t{1} << 31, std::int64_t{1} << 32, 1000000 * hour, std::int64_t{1} << 62}) {
    ring.skip(far - ring.head() - 3);
    write_counted(ring, 1000);
    CHECK(ring.head() == far + 997);
    check_read(ring, far - 3, 1000, 0);
    write_counted(ring, 1000);
    check_read(ring, far - 3, 1000, 976);
  }
}

void the_way_of_a_block_allocates_nothing() {
  Ring ring(1024);
  float samples[700] = {};
  const long before = allocations.load();
  for (int i = 0; i < 10; ++i) {
    ring.write(samples, 700);
    ring.read(ring.head() - 700, samples, 700);
    ring.skip(5000);
  }
  CHECK(allocations.load() == before);
  CHECK(before > 0);  // or the counter does not count
}

}  // namespace

int main() {
  capacity_is_rounded_up_to_a_power_of_two();
  every_sample_comes_back_at_its_index();
  an_overtaken_reader_is_told_how_much_it_lost();
  what_is_not_written_yet_cannot_be_read();
  skipped_samples_are_zeros_and_count();
  the_index_never_wraps();
  the_way_of_a_block_allocates_nothing();
}
