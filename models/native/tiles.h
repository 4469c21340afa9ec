/* AMX: whole tiles of 16 by 64 bytes, on a processor and by a compiler that know them; else nothing is defined here. */
#ifndef TILES_H
#define TILES_H

#if defined(__x86_64__) && defined(__GLIBC__) && defined(__GNUC__) && __GNUC__ >= 12 && !defined(__clang__)
#include <cpuid.h>
#include <immintrin.h>
#include <stdint.h>
#include <sys/syscall.h>
#include <unistd.h>

typedef struct {
    uint8_t palette, start, reserved[14];
    uint16_t bytes[16];
    uint8_t rows[16];
} __attribute__((packed)) Shapes;

static const Shapes whole_tiles = {1, 0, {0}, {64, 64, 64, 64, 64, 64, 64, 64}, {16, 16, 16, 16, 16, 16, 16, 16}};

/* What tiles may hold, by the processor's bit for it. */
#define TILES_OF_BFLOATS 22
#define TILES_OF_BYTES 25

#define ASK_FOR_TILES 0x1023 /* ARCH_REQ_XCOMP_PERM: the system keeps the tiles' state for this process from then on */
#define TILE_DATA 18

static inline int has_tiles(int of) {
    unsigned a, b, c, d;
    if (!__get_cpuid_count(7, 0, &a, &b, &c, &d) || !(d >> 24 & 1) || !(d >> of & 1)) return 0;
    return syscall(SYS_arch_prctl, ASK_FOR_TILES, TILE_DATA) == 0;
}
#endif

#endif
