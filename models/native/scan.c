/*
 * The best rough score of each block of 32 items for up to 64 queries, from 8-bit codes, on processors that multiply and
 * add these: AVX-512 VNNI, or AMX's tiles where there are any.
 *
 * Letters: B queries, G blocks, M items, S = steps of four components, N rows. Queries are of signed bytes. Of an item's
 * codes 128 more are given, unsigned, as the instructions want one of both; that is 128 times the sum of a query too much,
 * for all items alike. Codes stand as (G, 2, S, 16, 4), so that a register holds four components of 16 items.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "lanes.h"
#include "tiles.h"

#define BLOCK 32
#define MOST 64       /* queries */
#define AT_ONCE 16    /* blocks whose maxima are gathered before they are written, a line of memory for each query */
#define AHEAD 8       /* blocks that are fetched before they are wanted */
#define LEAST -(1 << 30)

enum { NONE = 0, REGISTERS = 1, TILES = 2 };

typedef struct {
    int64_t blocks, steps;
    const uint8_t *codes;
    const int32_t *highest;           /* (G): the bias of each block's first item */
    const int32_t *below_at, *below;  /* (G): -1, or which 32 of these numbers the biases of its items lie below that */
    const int32_t *rows;              /* (M) */
    int64_t M, N, B;
    const int8_t *queries;            /* (64, 4 S); those from B on are anything */
    const int32_t *weights, *sums;    /* (B): what a step of bias counts for a query, and its components' sum */
    const uint8_t *allowed;           /* (B, N) or NULL */
    int64_t pairs;
    const int64_t *barred_queries, *barred_items;
    int32_t *maxima; /* (B, G) */
} Scan;

#ifdef TILES_OF_BYTES
#define WITH_REGISTERS __attribute__((target("avx512f,avx512bw,avx512vl,avx512dq,avx512vnni")))
#define WITH_TILES __attribute__((target("avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,amx-tile,amx-int8")))

/* As _mm512_dpbusd_epi32, of which gcc 12 makes a copy of the sum each time. */
WITH_REGISTERS INLINE void multiply_and_add(__m512i *sum, __m512i items, __m512i query) {
    __asm__("vpdpbusd %2, %1, %0" : "+v"(*sum) : "v"(items), "v"(query));
}

/* The greatest of the sixteen numbers of each of eight vectors. */
WITH_REGISTERS INLINE __m256i greatest(const __m512i v[8]) {
    __m512i four[2];
    for (int half = 0; half < 2; half++) {
        const __m512i *of = v + 4 * half;
        __m512i a = _mm512_max_epi32(_mm512_unpacklo_epi32(of[0], of[1]), _mm512_unpackhi_epi32(of[0], of[1]));
        __m512i b = _mm512_max_epi32(_mm512_unpacklo_epi32(of[2], of[3]), _mm512_unpackhi_epi32(of[2], of[3]));
        four[half] = _mm512_max_epi32(_mm512_unpacklo_epi64(a, b), _mm512_unpackhi_epi64(a, b));
    }
    __m512i x = _mm512_max_epi32(_mm512_shuffle_i32x4(four[0], four[1], 0x44),
                                 _mm512_shuffle_i32x4(four[0], four[1], 0xEE));
    x = _mm512_max_epi32(x, _mm512_shuffle_i32x4(x, x, 0xB1));
    return _mm256_inserti128_si256(_mm256_castsi128_si256(_mm512_castsi512_si128(x)), _mm512_extracti32x4_epi32(x, 2), 1);
}

/* Where biases differ within the block or items are not wanted: the same of scores as they are, (64, 32), one by one. */
WITH_REGISTERS static void with_care(const Scan *of, int64_t block, const int64_t *head, const int64_t *next,
                                     int32_t *scores, int32_t *best) {
    int64_t here = of->M - block * BLOCK < BLOCK ? of->M - block * BLOCK : BLOCK;
    const int32_t *below = of->below_at[block] < 0 ? NULL : of->below + (int64_t)of->below_at[block] * BLOCK;
    for (int64_t q = 0; q < of->B; q++) {
        int32_t *mine = scores + q * BLOCK;
        if (below != NULL)
            for (int i = 0; i < BLOCK; i++) mine[i] += below[i] * of->weights[q];
        if (of->allowed != NULL)
            for (int64_t i = 0; i < here; i++)
                if (!of->allowed[q * of->N + of->rows[block * BLOCK + i]]) mine[i] = LEAST;
    }
    for (int64_t pair = head[block]; pair >= 0; pair = next[pair])
        scores[of->barred_queries[pair] * BLOCK + of->barred_items[pair] % BLOCK] = LEAST;
    for (int64_t q = 0; q < of->B; q++) {
        int32_t most = scores[q * BLOCK];
        for (int i = 1; i < BLOCK; i++) most = scores[q * BLOCK + i] > most ? scores[q * BLOCK + i] : most;
        best[q] = most;
    }
}

/* The processor's own prefetching ends with a page, which of 64 components is two blocks. */
WITH_REGISTERS INLINE void fetch(const Scan *of, int64_t block) {
    if (block >= of->blocks) return;
    for (int64_t line = 0; line < 2 * of->steps; line++)
        _mm_prefetch((const char *)of->codes + (block * 2 * of->steps + line) * 64, _MM_HINT_T1);
}

WITH_REGISTERS INLINE int needs_care(const Scan *of, int64_t block, const int64_t *head) {
    return of->allowed != NULL || of->below_at[block] >= 0 || head[block] >= 0;
}

/* Maxima of AT_ONCE blocks, (AT_ONCE, 64), to where they belong, with the biases of the blocks and without the 128. */
WITH_REGISTERS static void write_out(const Scan *of, const int32_t *best, int64_t from, int64_t count) {
    for (int64_t q = 0; q < of->B; q++)
        for (int64_t at = 0; at < count; at++)
            of->maxima[q * of->blocks + from + at] = best[at * MOST + q] + of->highest[from + at] * of->weights[q] - 128 * of->sums[q];
}

WITH_REGISTERS static void by_registers(const Scan *of, const int64_t *head, const int64_t *next) {
    int32_t best[AT_ONCE * MOST], scores[MOST * BLOCK];
    for (int64_t from = 0; from < of->blocks; from += AT_ONCE) {
        int64_t count = of->blocks - from < AT_ONCE ? of->blocks - from : AT_ONCE;
        for (int64_t at = 0; at < count; at++) {
            int64_t block = from + at;
            const uint8_t *low = of->codes + block * of->steps * 128, *high = low + of->steps * 64;
            int careful = needs_care(of, block, head);
            fetch(of, block + AHEAD);
            for (int64_t q = 0; q < of->B; q += 8) {
                const int8_t *asked = of->queries + q * 4 * of->steps;
                __m512i a[8], b[8];
                for (int i = 0; i < 8; i++) a[i] = b[i] = _mm512_setzero_si512();
                for (int64_t s = 0; s < of->steps; s++) {
                    __m512i x = _mm512_loadu_si512(low + s * 64), y = _mm512_loadu_si512(high + s * 64);
#pragma GCC unroll 8
                    for (int i = 0; i < 8; i++) {
                        int32_t four;
                        memcpy(&four, asked + (i * of->steps + s) * 4, 4);
                        __m512i query = _mm512_set1_epi32(four);
                        multiply_and_add(&a[i], x, query);
                        multiply_and_add(&b[i], y, query);
                    }
                }
                if (careful)
                    for (int i = 0; i < 8; i++) {
                        _mm512_storeu_si512(scores + (q + i) * BLOCK, a[i]);
                        _mm512_storeu_si512(scores + (q + i) * BLOCK + 16, b[i]);
                    }
                for (int i = 0; i < 8; i++) a[i] = _mm512_max_epi32(a[i], b[i]);
                _mm256_storeu_si256((__m256i *)(best + at * MOST + q), greatest(a));
            }
            if (careful) with_care(of, block, head, next, scores, best + at * MOST);
        }
        write_out(of, best, from, count);
    }
}

/* S is a multiple of 16: a caller that wants tiles fills up with zeros. Tiles 0 to 3: sums of two times 16 queries and two times 16 items; 4, 5: queries; 6, 7: items. */
WITH_TILES static void by_tiles(const Scan *of, const int64_t *head, const int64_t *next) {
    int32_t best[AT_ONCE * MOST], scores[MOST * BLOCK] __attribute__((aligned(64)));
    int64_t wide = 4 * of->steps;
    _tile_loadconfig(&whole_tiles);
    for (int64_t from = 0; from < of->blocks; from += AT_ONCE) {
        int64_t count = of->blocks - from < AT_ONCE ? of->blocks - from : AT_ONCE;
        for (int64_t at = 0; at < count; at++) {
            int64_t block = from + at;
            const uint8_t *low = of->codes + block * of->steps * 128, *high = low + of->steps * 64;
            fetch(of, block + AHEAD);
            for (int64_t q = 0; q < of->B; q += 32) {
                _tile_zero(0);
                _tile_zero(1);
                _tile_zero(2);
                _tile_zero(3);
                for (int64_t s = 0; s < of->steps; s += 16) {
                    _tile_loadd(6, low + s * 64, 64);
                    _tile_loadd(7, high + s * 64, 64);
                    _tile_loadd(4, of->queries + q * wide + s * 4, wide);
                    _tile_loadd(5, of->queries + (q + 16) * wide + s * 4, wide);
                    _tile_dpbsud(0, 4, 6);
                    _tile_dpbsud(1, 4, 7);
                    _tile_dpbsud(2, 5, 6);
                    _tile_dpbsud(3, 5, 7);
                }
                int32_t *to = scores + q * BLOCK;
                _tile_stored(0, to, 4 * BLOCK);
                _tile_stored(1, to + 16, 4 * BLOCK);
                _tile_stored(2, to + 16 * BLOCK, 4 * BLOCK);
                _tile_stored(3, to + 16 * BLOCK + 16, 4 * BLOCK);
            }
            if (needs_care(of, block, head)) {
                with_care(of, block, head, next, scores, best + at * MOST);
                continue;
            }
            for (int64_t q = 0; q < of->B; q += 8) {
                __m512i most[8];
                for (int i = 0; i < 8; i++) {
                    const int32_t *mine = scores + (q + i) * BLOCK;
                    most[i] = _mm512_max_epi32(_mm512_load_si512(mine), _mm512_load_si512(mine + 16));
                }
                _mm256_storeu_si256((__m256i *)(best + at * MOST + q), greatest(most));
            }
        }
        write_out(of, best, from, count);
    }
    _tile_release();
}

/* The best of what this processor has. */
int innerloop_scans(void) {
    if (!__builtin_cpu_supports("avx512f") || !__builtin_cpu_supports("avx512bw") || !__builtin_cpu_supports("avx512vl") ||
        !__builtin_cpu_supports("avx512dq") || !__builtin_cpu_supports("avx512vnni"))
        return NONE;
    return has_tiles(TILES_OF_BYTES) ? TILES : REGISTERS;
}

static void scan(const Scan *of, int by, const int64_t *head, const int64_t *next) {
    if (by == TILES)
        by_tiles(of, head, next);
    else
        by_registers(of, head, next);
}
#else
int innerloop_scans(void) { return NONE; }
static void scan(const Scan *of, int by, const int64_t *head, const int64_t *next) {
    (void)of, (void)by, (void)head, (void)next;
}
#endif

/* What callers lay codes out by. */
int innerloop_scan_block(void) { return BLOCK; }

/* As `Scan` has it; `by` is no more than what innerloop_scans() says. 0, or -1 where there is no memory. */
int innerloop_scan(int64_t by, int64_t blocks, int64_t steps, const uint8_t *codes, const int32_t *highest,
                   const int32_t *below_at, const int32_t *below, int64_t M, int64_t N,
                   const int32_t *rows, int64_t B, const int8_t *queries, const int32_t *weights, const int32_t *sums,
                   const uint8_t *allowed,
                   int64_t pairs, const int64_t *barred_queries, const int64_t *barred_items, int32_t *maxima) {
    Scan of = {blocks, steps, codes, highest, below_at, below, rows, M, N, B, queries, weights, sums, allowed, pairs,
               barred_queries, barred_items, maxima};
    int64_t *next = malloc(sizeof(int64_t) * (blocks + pairs + 1)); /* a chain of pairs for each block */
    if (next == NULL) return -1;
    int64_t *head = next + pairs;
    for (int64_t block = 0; block < blocks; block++) head[block] = -1;
    for (int64_t pair = 0; pair < pairs; pair++) {
        next[pair] = head[barred_items[pair] / BLOCK];
        head[barred_items[pair] / BLOCK] = pair;
    }
    scan(&of, (int)by, head, next);
    free(next);
    return 0;
}
