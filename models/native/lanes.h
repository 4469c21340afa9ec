/* What the calls are made of: as many numbers at a time as a register holds. */
#ifndef LANES_H
#define LANES_H

#include <stdint.h>
#include <string.h>

#ifndef LANES /* for any processor: v3.c and v4.c are the same sources for better ones */
#define LANES 4
#define PROCESSOR anywhere
#endif

typedef float lanes __attribute__((vector_size(4 * LANES), aligned(4)));
typedef float quad __attribute__((vector_size(16), aligned(4)));
typedef int32_t wholes __attribute__((vector_size(4 * LANES), aligned(4)));

/* On x86 best.c has the loader take what suits the machine it runs on, so that one build serves them all. */
#if defined(__x86_64__) && defined(__GLIBC__) && defined(__GNUC__) && __GNUC__ >= 12 && !defined(__clang__)
#define CLONES
#define SUITS (__builtin_cpu_supports("x86-64-v3") != 0)
#define OF(call, processor) call##_##processor
#define OWN(call, processor) OF(call, processor)
#define CALL(call) HIDDEN OWN(call, PROCESSOR)
#else
#ifdef __x86_64__
#define SUITS 0 /* compiled for the oldest of its kind: torch is faster */
#else
#define SUITS 1
#endif
#define CALL(call) innerloop_##call
#endif
#define HIDDEN __attribute__((visibility("hidden"))) /* so that its place is known before the loader is done */
#define INLINE static inline __attribute__((always_inline))

INLINE lanes load(const float *from) { return *(const lanes *)from; }
INLINE void store(float *to, lanes x) { *(lanes *)to = x; }
INLINE lanes all(float x) { return (lanes){0} + x; }
INLINE quad folded(lanes x) {
    quad q[LANES / 4];
    memcpy(q, &x, sizeof(q));
    for (int half = LANES / 8; half > 0; half /= 2)
        for (int i = 0; i < half; i++) q[i] += q[i + half];
    return q[0];
}
INLINE float total(lanes x) {
    quad q = folded(x);
    return (q[0] + q[1]) + (q[2] + q[3]);
}
INLINE lanes either(wholes which, lanes a, lanes b) { return (lanes)((which & (wholes)a) | (~which & (wholes)b)); }

#endif
