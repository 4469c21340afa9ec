/* adapt.c for processors of x86-64-v3, whose registers hold eight numbers. */
#include <stdint.h>

#if defined(__x86_64__) && defined(__GLIBC__) && defined(__GNUC__) && __GNUC__ >= 12 && !defined(__clang__)
#pragma GCC target("arch=x86-64-v3")
#define LANES 8
#define ADAPT adapt_v3
#include "adapt.c"
#endif
