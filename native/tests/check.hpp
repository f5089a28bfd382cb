// The smallest thing that a test needs: a claim that stops the program when it is false, in every build type.
#pragma once

#include <cstdio>
#include <cstdlib>

#define CHECK(claim)                                                             \
  do {                                                                           \
    if (!(claim)) {                                                              \
      std::fprintf(stderr, "%s:%d: not true: %s\n", __FILE__, __LINE__, #claim); \
      std::exit(1);                                                              \
    }                                                                            \
  } while (false)

#define CHECK_THROWS(expression, exception)                                                    \
  do {                                                                                         \
    bool thrown = false;                                                                       \
    try {                                                                                      \
      (void)(expression);                                                                      \
    } catch (const exception&) {                                                               \
      thrown = true;                                                                           \
    }                                                                                          \
    if (!thrown) {                                                                             \
      std::fprintf(stderr, "%s:%d: no %s: %s\n", __FILE__, __LINE__, #exception, #expression); \
      std::exit(1);                                                                            \
    }                                                                                          \
  } while (false)
