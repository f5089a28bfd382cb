// What is compiled for one kind of processor must lie inside the function that is.
#pragma once

#if defined(__GNUC__)
#define AURICLE_INLINE inline __attribute__((always_inline))
#else
#define AURICLE_INLINE inline
#endif
