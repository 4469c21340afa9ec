/* What the calls are made of: sixteen numbers at a time, and the processors for which each call is compiled. */
#ifndef LANES_H
#define LANES_H

#include <stdint.h>
#include <string.h>

#define LANES 16

typedef float lanes __attribute__((vector_size(4 * LANES), aligned(4)));
typedef float quarter __attribute__((vector_size(LANES), aligned(4)));
typedef int32_t wholes __attribute__((vector_size(4 * LANES), aligned(4)));

/* On x86 the loader takes the best of these for the machine it runs on, so that one build serves them all. */
#if defined(__x86_64__) && defined(__GLIBC__) && defined(__GNUC__) && __GNUC__ >= 12 && !defined(__clang__)
#define EVERYWHERE __attribute__((target_clones("arch=x86-64-v4", "arch=x86-64-v3", "default")))
#define SUITS (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"))
#elif defined(__x86_64__)
#define EVERYWHERE
#define SUITS 0 /* compiled for the oldest of its kind: torch is faster */
#else
#define EVERYWHERE
#define SUITS 1
#endif
#define INLINE static inline __attribute__((always_inline))

INLINE lanes load(const float *from) { return *(const lanes *)from; }
INLINE void store(float *to, lanes x) { *(lanes *)to = x; }
INLINE lanes all(float x) { return (lanes){0} + x; }
INLINE quarter folded(lanes x) {
    quarter q[4];
    memcpy(q, &x, sizeof(q));
    return (q[0] + q[1]) + (q[2] + q[3]);
}
INLINE float total(lanes x) {
    quarter q = folded(x);
    return (q[0] + q[1]) + (q[2] + q[3]);
}
INLINE lanes either(wholes which, lanes a, lanes b) { return (lanes)((which & (wholes)a) | (~which & (wholes)b)); }

#endif
