/* What is compiled by the width of registers, for processors of x86-64-v3: theirs hold eight numbers. */
#include <stdint.h>

#if defined(__x86_64__) && defined(__GLIBC__) && defined(__GNUC__) && __GNUC__ >= 12 && !defined(__clang__)
#pragma GCC target("arch=x86-64-v3")
#define LANES 8
#define PROCESSOR v3
#include "adapt.c"
#include "search.c"
#endif
