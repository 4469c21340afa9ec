/*
 * Exact top K in two goes, by AMX: every item is scored in bfloat16, and again in float32 where that leaves it in doubt.
 * How far a rough score may be off is bounded, so that none of the best is missed; and the second goes by the same steps
 * as search.c, so that the scores are the same to the last bit. A query that leaves too many in doubt is lost: search.c
 * answers it, together with all others that were.
 *
 * Letters: B queries, N items, r width, K results, G blocks of 32 items, S steps of 32 components. Codes stand as
 * (G, S, 2, 16, 16, 2): a tile holds 16 pairs of components of 16 items.
 */
#include <stdlib.h>
#include <string.h>

#define LANES 16

#include "calls.h"
#include "found.h"
#include "tiles.h"

#define BLOCK 32
#define QUERIES 64     /* that a block is read for at once */
#define RESULTS 100    /* of a query; search.c answers those who ask for more */
#define ROOM 256       /* items of a query that may be in doubt at once */
#define TOO_FAR 1e6f   /* scores beyond which steps are none: search.c knows what to do */
#define TOO_LONG 1e15f /* of what is shorter, no square that is too small for a number matters */

typedef struct {
    int64_t N, r, steps;
    const uint16_t *codes;
    const float *vectors, *panels, *biases; /* (N, r), and the others as search.c has them */
    const float *lengths, *offs;            /* (G): the longest item of a block, and how far a code there is from its item */
    float longest, highest;                 /* of any item: its length, the size of its bias */
} Catalogue;

#ifdef TILES_OF_BFLOATS
#define WITH_TILES __attribute__((target("avx512f,avx512bw,avx512vl,avx512dq,amx-tile,amx-bf16")))

/* What may be among a query's best, in the order of rows: each one's score is no less than `low` and no more than `high`. */
typedef struct {
    int32_t count;
    float low[ROOM + LANES], high[ROOM + LANES];
    int32_t rows[ROOM + LANES];
} Sieve;

/* Of each query: what its rough scores are off by, for the length and the off of a block and for any; and what `high`
   must be more than, since its k-th best is no less. Of one that is lost nothing is. */
typedef struct {
    float by_length[QUERIES], by_off[QUERIES], always[QUERIES], least[QUERIES];
} __attribute__((aligned(64))) Bounds;

WITH_TILES INLINE int64_t as_good(const Sieve *of, float score) {
    int64_t count = 0;
    for (int32_t i = 0; i < of->count; i += LANES)
        count += __builtin_popcount(_mm512_cmp_ps_mask(_mm512_loadu_ps(of->low + i), _mm512_set1_ps(score), _CMP_GE_OQ));
    return count;
}

/* Adds those of sixteen items that may be among the best. */
WITH_TILES INLINE void add(Sieve *to, __m512 low, __m512 high, __m512i rows, __mmask16 which) {
    _mm512_storeu_ps(to->low + to->count, _mm512_maskz_compress_ps(which, low));
    _mm512_storeu_ps(to->high + to->count, _mm512_maskz_compress_ps(which, high));
    _mm512_storeu_si512(to->rows + to->count, _mm512_maskz_compress_epi32(which, rows));
    to->count += __builtin_popcount(which);
}

/* Drops what can no longer be among the k best. */
WITH_TILES static void tighten(Sieve *of, float *least, int64_t k) {
    if (of->count < k) return;
    __m512 most = _mm512_set1_ps(-INFINITY), worst = _mm512_set1_ps(INFINITY);
    _mm512_storeu_ps(of->low + of->count, most);
    _mm512_storeu_ps(of->high + of->count, most);
    for (int32_t i = 0; i < of->count; i += LANES) {
        __m512 scores = _mm512_loadu_ps(of->low + i);
        most = _mm512_max_ps(most, scores);
        worst = _mm512_mask_min_ps(worst, _mm512_cmp_ps_mask(scores, _mm512_set1_ps(-INFINITY), _CMP_GT_OQ), worst, scores);
    }
    float high = _mm512_reduce_max_ps(most), low = _mm512_reduce_min_ps(worst);
    if (*least > low) low = *least;
    for (int turn = 0; turn < 16; turn++) { /* k at least are as good as `low` */
        float middle = low + 0.5f * (high - low);
        int64_t count = as_good(of, middle);
        if (count < k) high = middle;
        else low = middle;
        if (count == k || count == k + 1) break;
    }
    *least = low;
    int32_t count = of->count;
    of->count = 0;
    for (int32_t i = 0; i < count; i += LANES) {
        __m512 highs = _mm512_loadu_ps(of->high + i);
        add(of, _mm512_loadu_ps(of->low + i), highs, _mm512_loadu_si512(of->rows + i),
            _mm512_cmp_ps_mask(highs, _mm512_set1_ps(low), _CMP_GT_OQ));
    }
}

/* Nothing is added to it any more. */
INLINE void lose(Bounds *bounds, int64_t q) {
    bounds->by_length[q] = bounds->by_off[q] = bounds->always[q] = 0;
    bounds->least[q] = INFINITY;
}

/*
 * A query in bfloat16 and what its scores are then off by; where that cannot be said it is lost. Its u becomes u', an
 * item's v became v', and u.v - u'.v' = (u - u').v + u'.(v - v'), each no more than its lengths; then come what the sums
 * of either go are off by, and a step of the grid.
 */
WITH_TILES static void begin(const Catalogue *in, const float *user, uint16_t *code, float grid, Bounds *bounds, int64_t q) {
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
    float length = sqrtf(whole), sums = 2.4e-7f * (in->r + 8);
    bounds->by_length[q] = sqrtf(rest) + sums * length;
    bounds->by_off[q] = sqrtf(rough);
    bounds->always[q] = sums * in->highest + 1 / grid;
    bounds->least[q] = -INFINITY;
    if (!(length < TOO_LONG && length * in->longest + in->highest < TOO_FAR)) lose(bounds, q);
}

/* What is left, scored as search.c would. */
WITH_TILES static void end(const Catalogue *in, const float *user, const Sieve *sieve, int64_t k, float grid, int64_t *best,
                           float *marks) {
    Found found = nothing(marks, best);
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
            take(&found, scores[i], sieve->rows[from + i], k, grid);
    }
    finish(&found, k, grid);
}

/* Rough scores of a block for up to 64 queries, (64, 32). Tiles as in scan.c; the sums begin with the biases. */
WITH_TILES INLINE void score(const Catalogue *in, int64_t block, int64_t many, const uint16_t *asked, float *scores) {
    const uint16_t *codes = in->codes + block * in->steps * BLOCK * 32;
    const float *biases = in->biases + block * BLOCK;
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

/* All blocks for up to 64 queries, or as far as any is not lost. `head` and `next` chain what is barred, by blocks. */
WITH_TILES static void sift(const Catalogue *in, int64_t first, int64_t many, const uint16_t *asked, int64_t k,
                            const int64_t *queries, const int64_t *barred, const int64_t *head, const int64_t *next,
                            Bounds *bounds, Sieve *sieves) {
    float scores[QUERIES * BLOCK] __attribute__((aligned(64)));
    float off[QUERIES] __attribute__((aligned(64))), enough[QUERIES] __attribute__((aligned(64)));
    int64_t blocks = (in->N + BLOCK - 1) / BLOCK, then = 2, left = 0;
    __m512i within = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
    for (int64_t q = 0; q < many; q++) left += bounds->least[q] < INFINITY;
    for (int64_t q = 0; q < many; q++) sieves[q].count = 0;
    _tile_loadconfig(&whole_tiles);
    for (int64_t block = 0; block < blocks && left > 0; block++) {
        score(in, block, many, asked, scores);
        for (int64_t pair = head[block]; pair >= 0; pair = next[pair])
            scores[(queries[pair] - first) * BLOCK + barred[pair] % BLOCK] = -INFINITY;
        for (int64_t q = 0; q < many; q += LANES) {
            __m512 by = _mm512_fmadd_ps(_mm512_load_ps(bounds->by_length + q), _mm512_set1_ps(in->lengths[block]),
                                        _mm512_load_ps(bounds->always + q));
            by = _mm512_fmadd_ps(_mm512_load_ps(bounds->by_off + q), _mm512_set1_ps(in->offs[block]), by);
            _mm512_store_ps(off + q, by);
            _mm512_store_ps(enough + q, _mm512_sub_ps(_mm512_load_ps(bounds->least + q), by));
        }
        __m512i low = _mm512_add_epi32(_mm512_set1_epi32((int)(block * BLOCK)), within);
        __m512i high = _mm512_add_epi32(low, _mm512_set1_epi32(16));
        for (int64_t q = 0; q < many; q++) {
            __m512 a = _mm512_load_ps(scores + q * BLOCK), b = _mm512_load_ps(scores + q * BLOCK + 16);
            __m512 least = _mm512_set1_ps(enough[q]), by = _mm512_set1_ps(off[q]);
            __mmask16 these = _mm512_cmp_ps_mask(a, least, _CMP_GT_OQ), those = _mm512_cmp_ps_mask(b, least, _CMP_GT_OQ);
            if (!(these | those)) continue;
            Sieve *sieve = sieves + q;
            add(sieve, _mm512_sub_ps(a, by), _mm512_add_ps(a, by), low, these);
            add(sieve, _mm512_sub_ps(b, by), _mm512_add_ps(b, by), high, those);
            if (sieve->count <= ROOM - BLOCK) continue;
            tighten(sieve, bounds->least + q, k);
            if (sieve->count <= ROOM - BLOCK) continue;
            lose(bounds, q);
            left--;
        }
        if (block + 1 < then && block + 1 < blocks) continue;
        for (int64_t q = 0; q < many; q++)
            if (bounds->least[q] < INFINITY) tighten(sieves + q, bounds->least + q, k);
        then *= 2;
    }
    _tile_release();
}

/* Those that were lost, by search.c, at once. `lost` are their places in the batch, rising. */
static int by_search(const Catalogue *in, int64_t B, const int64_t *lost, int64_t many, const float *users, int64_t pairs,
                     const int64_t *queries, const int64_t *barred, int64_t k, float grid, int64_t *rows, float *scores) {
    int64_t *own = malloc(sizeof(int64_t) * (B + 2 * pairs + many * k)); /* as among the lost: places, pairs, rows */
    float *asked = malloc(sizeof(float) * many * (in->r + k));
    int fault = own == NULL || asked == NULL ? -1 : 0;
    if (!fault) {
        int64_t *whose = own + B, *what = whose + pairs, *found = what + pairs, count = 0;
        float *marks = asked + many * in->r;
        for (int64_t q = 0; q < B; q++) own[q] = -1;
        for (int64_t at = 0; at < many; at++) {
            own[lost[at]] = at;
            memcpy(asked + at * in->r, users + lost[at] * in->r, sizeof(float) * in->r);
        }
        for (int64_t pair = 0; pair < pairs; pair++) {
            if (own[queries[pair]] < 0) continue;
            whose[count] = own[queries[pair]];
            what[count++] = barred[pair];
        }
        fault = innerloop_search(in->N, in->r, in->panels, in->biases, many, asked, NULL, count, whose, what, k, grid, found,
                                 marks);
        for (int64_t at = 0; at < many && !fault; at++) {
            memcpy(rows + lost[at] * k, found + at * k, sizeof(int64_t) * k);
            memcpy(scores + lost[at] * k, marks + at * k, sizeof(float) * k);
        }
    }
    free(own);
    free(asked);
    return fault;
}

/* Rows (B, k) and their scores, as of `innerloop_search`. 0, or -1 where there is no memory. */
int innerloop_sieve(const Catalogue *in, int64_t B, const float *users, int64_t pairs, const int64_t *queries,
                    const int64_t *barred, int64_t k, float grid, int64_t *rows, float *scores) {
    if (k > RESULTS)
        return innerloop_search(in->N, in->r, in->panels, in->biases, B, users, NULL, pairs, queries, barred, k, grid, rows,
                                scores);
    int64_t blocks = (in->N + BLOCK - 1) / BLOCK, wide = 32 * in->steps, count = 0;
    int64_t *next = malloc(sizeof(int64_t) * (blocks + pairs + B)), *head = next + pairs, *lost = head + blocks;
    Sieve *sieves = malloc(sizeof(Sieve) * QUERIES);
    uint16_t *asked = calloc(QUERIES * wide, sizeof(uint16_t));
    int fault = next == NULL || sieves == NULL || asked == NULL ? -1 : 0;
    Bounds bounds = {0};
    for (int64_t first = 0; first < B && !fault; first += QUERIES) {
        int64_t many = B - first < QUERIES ? B - first : QUERIES;
        for (int64_t q = 0; q < many; q++) begin(in, users + (first + q) * in->r, asked + q * wide, grid, &bounds, q);
        for (int64_t block = 0; block < blocks; block++) head[block] = -1;
        for (int64_t pair = 0; pair < pairs; pair++)
            if (queries[pair] >= first && queries[pair] < first + many) {
                next[pair] = head[barred[pair] / BLOCK];
                head[barred[pair] / BLOCK] = pair;
            }
        __asm__ volatile("" ::: "memory"); /* the compiler does not know that a tile reads it */
        sift(in, first, many, asked, k, queries, barred, head, next, &bounds, sieves);
        for (int64_t q = 0; q < many; q++) {
            int64_t at = first + q;
            if (bounds.least[q] < INFINITY) end(in, users + at * in->r, sieves + q, k, grid, rows + at * k, scores + at * k);
            else lost[count++] = at;
        }
    }
    if (count > 0) fault = by_search(in, B, lost, count, users, pairs, queries, barred, k, grid, rows, scores);
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
