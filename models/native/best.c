/* Which of a call's compilations is the one: the best that this processor can. And what the library says of itself. */
#include "calls.h"
#include "learner.h"

#ifdef CLONES
/* Not target_clones: a vector longer than a register is kept in memory, at a tenth of the speed or less. */
#define CHOICE(call, Type)                                                                             \
    Type call##_anywhere HIDDEN, call##_v3 HIDDEN, call##_v4 HIDDEN;                                   \
    static Type *best_##call(void) {                                                                   \
        __builtin_cpu_init();                                                                          \
        if (__builtin_cpu_supports("x86-64-v4")) return call##_v4;                                     \
        return __builtin_cpu_supports("x86-64-v3") ? call##_v3 : call##_anywhere;                      \
    }                                                                                                  \
    Type innerloop_##call __attribute__((ifunc("best_" #call)));

CHOICE(adapt, Adapt)
CHOICE(search, Search)
#endif

/* Of what is compiled here; a library with another number is of another state of the sources. */
int innerloop_version(void) { return 8; }

/* Bytes of what compiled.py lays out too. */
int innerloop_layout(void) { return (int)(sizeof(Block) + sizeof(Learner)); }

/* Whether this processor has what makes these calls faster than torch's. */
int innerloop_suits(void) { return SUITS; }
