/*
 * Exact top K in two goes, by AMX: every item is scored in bfloat16, and again in float32 where that leaves it in doubt.
 * How far a rough score may be off is bounded, so that none of the best is missed; and the second goes by the same steps
 * as search.c, so that the scores are the same to the last bit.
 *
 * Letters: B queries, N items, r width, K results, G blocks of 32 items, S steps of 32 components. Codes stand as
 * (G, S, 2, 16, 16, 2): a tile holds 16 pairs of components of 16 items.
 */
#include <stdlib.h>
#include <string.h>

#include "found.h"
#include "tiles.h"

#define BLOCK 32
#define MOST 64  /* queries a block is read for at once */
#define ROOM 256 /* items of a query that may be in doubt at once */
#define AHEAD 8  /* blocks that are fetched before they are wanted */
#define TOO_FAR 1e6f /* scores beyond which steps are none: search.c knows what to do */

int innerloop_search(int64_t N, int64_t r, const float *panels, const float *biases, int64_t B, const float *users,
                     const uint8_t *allowed, int64_t pairs, const int64_t *queries, const int64_t *barred, int64_t k,
                     float grid, int64_t *rows, float *scores);

typedef struct {
    int64_t N, r, steps;
    const uint16_t *codes;
    const float *vectors, *panels, *biases; /* (N, r), and the others as search.c has them */
    float longest, off, highest;            /* of any item: its length, how far its code is from it, the size of its bias */
} Catalogue;

#ifdef TILES_OF_BFLOATS
#define WITH_TILES __attribute__((target("avx512f,avx512bw,avx512vl,avx512dq,amx-tile,amx-bf16")))

/* What may be among a query's best, by rough scores, in the order of rows. */
typedef struct {
    float margin, kth, least; /* what two scores may mislead by; the k-th best is no less than this; others must be more */
    int32_t count, lost;      /* lost: more are in doubt than there is room for */
    float scores[ROOM + LANES];
    int32_t rows[ROOM + LANES];
} Sieve;

WITH_TILES INLINE int64_t as_good(const Sieve *of, float score) {
    int64_t count = 0;
    for (int32_t i = 0; i < of->count; i += LANES)
        count += __builtin_popcount(_mm512_cmp_ps_mask(_mm512_loadu_ps(of->scores + i), _mm512_set1_ps(score), _CMP_GE_OQ));
    return count;
}

/* Adds those of sixteen items that may be among the best. */
WITH_TILES INLINE void add(Sieve *to, __m512 scores, __m512i rows, __mmask16 which) {
    _mm512_storeu_ps(to->scores + to->count, _mm512_maskz_compress_ps(which, scores));
    _mm512_storeu_si512(to->rows + to->count, _mm512_maskz_compress_epi32(which, rows));
    to->count += __builtin_popcount(which);
}

/* Drops what can no longer be among the k best. */
WITH_TILES static void tighten(Sieve *of, int64_t k) {
    if (of->count < k) return;
    _mm512_storeu_ps(of->scores + of->count, _mm512_set1_ps(-INFINITY));
    __m512 most = _mm512_set1_ps(-INFINITY), worst = _mm512_set1_ps(INFINITY);
    for (int32_t i = 0; i < of->count; i += LANES) {
        __m512 scores = _mm512_loadu_ps(of->scores + i);
        most = _mm512_max_ps(most, scores);
        worst = _mm512_mask_min_ps(worst, _mm512_cmp_ps_mask(scores, _mm512_set1_ps(-INFINITY), _CMP_GT_OQ), worst, scores);
    }
    float high = _mm512_reduce_max_ps(most), low = _mm512_reduce_min_ps(worst);
    if (of->kth > low) low = of->kth;
    for (int turn = 0; turn < 16; turn++) { /* k at least are as good as `low` */
        float middle = low + 0.5f * (high - low);
        int64_t count = as_good(of, middle);
        if (count < k) {
            high = middle;
            continue;
        }
        low = middle;
        if (count <= k + 1) break;
    }
    of->kth = low;
    of->least = low - of->margin;
    int32_t count = of->count;
    of->count = 0;
    for (int32_t i = 0; i < count; i += LANES) {
        __m512 scores = _mm512_loadu_ps(of->scores + i);
        add(of, scores, _mm512_loadu_si512(of->rows + i),
            _mm512_cmp_ps_mask(scores, _mm512_set1_ps(of->least), _CMP_GT_OQ));
    }
}

/* A query in bfloat16 and what it misleads by; where that cannot be said it is lost. */
WITH_TILES static void begin(const Catalogue *in, const float *user, uint16_t *code, float grid, Sieve *sieve) {
    float whole = 0, rough = 0, rest = 0;
    for (int64_t i = 0; i < in->r; i++) {
        uint32_t bits;
        float back;
        memcpy(&bits, user + i, 4);
        code[i] = (bits + 0x7fff + (bits >> 16 & 1)) >> 16;
        bits = (uint32_t)code[i] << 16;
        memcpy(&back, &bits, 4);
        whole += user[i] * user[i];
        rough += back * back;
        rest += (user[i] - back) * (user[i] - back);
    }
    float furthest = sqrtf(whole) * in->longest + in->highest, sums = 2.4e-7f * (in->r + 8) * furthest;
    *sieve = (Sieve){.kth = -INFINITY, .least = -INFINITY, .lost = !(furthest < TOO_FAR)};
    sieve->margin = 2 * (sqrtf(rest) * in->longest + sqrtf(rough) * in->off + sums) + 2 / grid;
}

/* What is left, scored as search.c would. */
WITH_TILES static void end(const Catalogue *in, const float *user, const Sieve *sieve, int64_t k, float grid, Found *found) {
    for (int32_t from = 0; from < sieve->count; from += LANES) {
        __mmask16 here = sieve->count - from < LANES ? (1 << (sieve->count - from)) - 1 : 0xffff;
        __m512i rows = _mm512_maskz_loadu_epi32(here, sieve->rows + from);
        __m512i places = _mm512_mullo_epi32(rows, _mm512_set1_epi32((int)in->r));
        __m512 sum = _mm512_i32gather_ps(rows, in->biases, 4);
        for (int64_t i = 0; i < in->r; i++)
            sum = _mm512_fmadd_ps(_mm512_set1_ps(user[i]), _mm512_i32gather_ps(places, in->vectors + i, 4), sum);
        float scores[LANES];
        _mm512_storeu_ps(scores, sum);
        for (int32_t i = 0; i < LANES && from + i < sieve->count; i++)
            take(found, scores[i], sieve->rows[from + i], k, grid);
    }
    finish(found, k, grid);
}

/* Rough scores of a block for up to 64 queries, (64, 32). Tiles as in scan.c; the sums begin with the biases. */
WITH_TILES INLINE void score(const Catalogue *in, int64_t block, int64_t many, const uint16_t *asked, float *scores) {
    const uint16_t *codes = in->codes + block * in->steps * BLOCK * 32;
    const float *biases = in->biases + block * BLOCK;
    for (int64_t line = 0; line < 32 * in->steps; line++)
        _mm_prefetch((const char *)(codes + (AHEAD * in->steps + line) * 32), _MM_HINT_T0);
    for (int64_t q = 0; q < many; q += 32) {
        int both = many - q > 16;
        _tile_loadd(0, biases, 0);
        _tile_loadd(1, biases + 16, 0);
        if (both) _tile_loadd(2, biases, 0);
        if (both) _tile_loadd(3, biases + 16, 0);
        for (int64_t s = 0; s < in->steps; s++) {
            _tile_loadd(6, codes + s * 1024, 64);
            _tile_loadd(7, codes + s * 1024 + 512, 64);
            _tile_loadd(4, asked + (q * in->steps + s) * 32, 64 * in->steps);
            _tile_dpbf16ps(0, 4, 6);
            _tile_dpbf16ps(1, 4, 7);
            if (!both) continue;
            _tile_loadd(5, asked + ((q + 16) * in->steps + s) * 32, 64 * in->steps);
            _tile_dpbf16ps(2, 5, 6);
            _tile_dpbf16ps(3, 5, 7);
        }
        _tile_stored(0, scores + q * BLOCK, 4 * BLOCK);
        _tile_stored(1, scores + q * BLOCK + 16, 4 * BLOCK);
        if (both) _tile_stored(2, scores + (q + 16) * BLOCK, 4 * BLOCK);
        if (both) _tile_stored(3, scores + (q + 16) * BLOCK + 16, 4 * BLOCK);
    }
}

/* All blocks for up to 64 queries. `head` and `next` chain what is barred, by blocks. */
WITH_TILES static void sift(const Catalogue *in, int64_t first, int64_t many, const uint16_t *asked, int64_t k,
                            const int64_t *queries, const int64_t *barred, const int64_t *head, const int64_t *next,
                            Sieve *sieves) {
    float scores[MOST * BLOCK] __attribute__((aligned(64)));
    int64_t blocks = (in->N + BLOCK - 1) / BLOCK, then = 2;
    __m512i within = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
    _tile_loadconfig(&whole_tiles);
    for (int64_t block = 0; block < blocks; block++) {
        score(in, block, many, asked, scores);
        for (int64_t pair = head[block]; pair >= 0; pair = next[pair])
            scores[(queries[pair] - first) * BLOCK + barred[pair] % BLOCK] = -INFINITY;
        __m512i low = _mm512_add_epi32(_mm512_set1_epi32((int)(block * BLOCK)), within);
        __m512i high = _mm512_add_epi32(low, _mm512_set1_epi32(16));
        for (int64_t q = 0; q < many; q++) {
            Sieve *sieve = sieves + q;
            __m512 a = _mm512_load_ps(scores + q * BLOCK), b = _mm512_load_ps(scores + q * BLOCK + 16);
            __m512 least = _mm512_set1_ps(sieve->least);
            __mmask16 these = _mm512_cmp_ps_mask(a, least, _CMP_GT_OQ), those = _mm512_cmp_ps_mask(b, least, _CMP_GT_OQ);
            if (!(these | those) || sieve->lost) continue;
            add(sieve, a, low, these);
            add(sieve, b, high, those);
            if (sieve->count <= ROOM - BLOCK) continue;
            tighten(sieve, k);
            sieve->lost = sieve->count > ROOM - BLOCK;
        }
        if (block + 1 < then && block + 1 < blocks) continue;
        for (int64_t q = 0; q < many; q++) tighten(sieves + q, k);
        then *= 2;
    }
    _tile_release();
}

/* One query by search.c. */
static int by_search(const Catalogue *in, const float *user, int64_t query, int64_t pairs, const int64_t *queries,
                     const int64_t *barred, int64_t k, float grid, int64_t *rows, float *scores) {
    int64_t *own = calloc(2 * pairs + 1, sizeof(int64_t)), count = 0, fault; /* whose is what: all are of query 0 */
    if (own == NULL) return -1;
    for (int64_t pair = 0; pair < pairs; pair++)
        if (queries[pair] == query) own[pairs + count++] = barred[pair];
    fault = innerloop_search(in->N, in->r, in->panels, in->biases, 1, user, NULL, count, own, own + pairs, k, grid, rows,
                             scores);
    free(own);
    return (int)fault;
}

/* Rows (B, k) and their scores, as of `innerloop_search`; k is no more than 100. 0, or -1 where there is no memory. */
int innerloop_sieve(const Catalogue *in, int64_t B, const float *users, int64_t pairs, const int64_t *queries,
                    const int64_t *barred, int64_t k, float grid, int64_t *rows, float *scores) {
    int64_t blocks = (in->N + BLOCK - 1) / BLOCK, wide = 32 * in->steps;
    int64_t *next = malloc(sizeof(int64_t) * (blocks + pairs)), *head = next + pairs;
    Sieve *sieves = malloc(sizeof(Sieve) * MOST);
    uint16_t *asked = calloc(MOST * wide, sizeof(uint16_t));
    int fault = next == NULL || sieves == NULL || asked == NULL ? -1 : 0;
    for (int64_t first = 0; first < B && !fault; first += MOST) {
        int64_t many = B - first < MOST ? B - first : MOST;
        for (int64_t q = 0; q < many; q++) begin(in, users + (first + q) * in->r, asked + q * wide, grid, sieves + q);
        for (int64_t block = 0; block < blocks; block++) head[block] = -1;
        for (int64_t pair = 0; pair < pairs; pair++)
            if (queries[pair] >= first && queries[pair] < first + many) {
                next[pair] = head[barred[pair] / BLOCK];
                head[barred[pair] / BLOCK] = pair;
            }
        __asm__ volatile("" ::: "memory"); /* the compiler does not know that a tile reads it */
        sift(in, first, many, asked, k, queries, barred, head, next, sieves);
        for (int64_t q = 0; q < many && !fault; q++) {
            int64_t at = first + q;
            Found found = nothing(scores + at * k, rows + at * k);
            if (sieves[q].lost)
                fault = by_search(in, users + at * in->r, at, pairs, queries, barred, k, grid, rows + at * k, scores + at * k);
            else
                end(in, users + at * in->r, sieves + q, k, grid, &found);
        }
    }
    free(next);
    free(sieves);
    free(asked);
    return fault;
}

/* Whether this processor can. */
int innerloop_sieves(void) {
    return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl") &&
           __builtin_cpu_supports("avx512dq") && has_tiles(TILES_OF_BFLOATS);
}
#else
int innerloop_sieve(const Catalogue *in, int64_t B, const float *users, int64_t pairs, const int64_t *queries,
                    const int64_t *barred, int64_t k, float grid, int64_t *rows, float *scores) {
    return innerloop_search(in->N, in->r, in->panels, in->biases, B, users, NULL, pairs, queries, barred, k, grid, rows,
                            scores);
}
int innerloop_sieves(void) { return 0; }
#endif
