// The oracle of the ring's tests: the value of sample n says which sample it is.
#pragma once

#include <cstdint>

// Different for any two samples less than 2^24 apart, which is more than any ring here holds; never 0, which means lost.
inline float counted(std::int64_t n) { return static_cast<float>((n & 0xffffff) + 1); }
