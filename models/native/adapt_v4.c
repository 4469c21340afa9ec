/* adapt.c for processors of x86-64-v4, whose registers hold sixteen numbers. */
#include <stdint.h>

#if defined(__x86_64__) && defined(__GLIBC__) && defined(__GNUC__) && __GNUC__ >= 12 && !defined(__clang__)
#pragma GCC target("arch=x86-64-v4")
#define LANES 16
#define ADAPT adapt_v4
#include "adapt.c"
#endif
