/*
 * Exact top K: every item scored, PANEL at a time for up to four queries, and the best of each query kept in order.
 *
 * Letters: B queries, N items, r width, K results. Items stand in panels, (N / PANEL, r, PANEL), padded with items whose
 * bias is -infinity.
 */
#include <stdlib.h>

#include "found.h"

#define PANEL 64
#define TOGETHER 4 /* queries whose sums fit into registers */
#define MOST 64    /* queries a panel is read for at once: their scores of it stay in the first cache */

/* Scores of a panel's items for some queries, (rows, PANEL). */
INLINE void score(const float *users, int64_t r, const float *panel, const float *biases, float *out, const int rows) {
    lanes sum[TOGETHER][PANEL / LANES];
    for (int row = 0; row < rows; row++)
        for (int w = 0; w < PANEL / LANES; w++) sum[row][w] = load(biases + w * LANES);
    for (int64_t i = 0; i < r; i++)
        for (int w = 0; w < PANEL / LANES; w++) {
            lanes items = load(panel + i * PANEL + w * LANES);
            for (int row = 0; row < rows; row++) sum[row][w] += users[row * r + i] * items;
        }
    for (int row = 0; row < rows; row++)
        for (int w = 0; w < PANEL / LANES; w++) store(out + row * PANEL + w * LANES, sum[row][w]);
}

/* Takes in a panel's scores. */
INLINE void take_in(Found *found, const float *scores, int64_t from, int64_t k, float grid) {
    int any = 0;
    if (found->count < k)
        any = 1;
    else
        for (int64_t i = 0; i < PANEL; i++) any |= scores[i] * grid > found->worst;
    if (!any) return;
    for (int64_t i = 0; i < PANEL; i++) take(found, scores[i], from + i, k, grid);
}

/*
 * Rows (B, k) and their scores. `allowed`, (B, N) bytes or NULL, says which may answer; `queries` and `barred`, (pairs),
 * which single ones may not. The biases are a whole number of panels. 0, or -1 where there is no memory.
 */
int CALL(search)(int64_t N, int64_t r, const float *panels, const float *biases, int64_t B, const float *users,
                 const uint8_t *allowed, int64_t pairs, const int64_t *queries, const int64_t *barred, int64_t k, float grid,
                 int64_t *rows, float *scores) {
    int64_t count = (N + PANEL - 1) / PANEL;
    int64_t *next = malloc(sizeof(int64_t) * (count + pairs)); /* a chain of pairs for each panel */
    if (next == NULL && count + pairs > 0) return -1;
    int64_t *head = next + pairs;
    float tile[MOST * PANEL];
    Found found[MOST];
    for (int64_t first = 0; first < B; first += MOST) {
        int64_t many = B - first < MOST ? B - first : MOST;
        for (int64_t at = 0; at < many; at++) found[at] = nothing(scores + (first + at) * k, rows + (first + at) * k);
        for (int64_t panel = 0; panel < count; panel++) head[panel] = -1;
        for (int64_t pair = 0; pair < pairs; pair++)
            if (queries[pair] >= first && queries[pair] < first + many) {
                next[pair] = head[barred[pair] / PANEL];
                head[barred[pair] / PANEL] = pair;
            }
        for (int64_t panel = 0; panel < count; panel++) {
            int64_t from = panel * PANEL, here = N - from < PANEL ? N - from : PANEL;
            for (int64_t at = 0; at < many; at += TOGETHER) {
                const float *asked = users + (first + at) * r, *items = panels + from * r;
                float *to = tile + at * PANEL;
                int64_t left = many - at;
                if (left >= 4) score(asked, r, items, biases + from, to, 4);
                else if (left == 3) score(asked, r, items, biases + from, to, 3);
                else if (left == 2) score(asked, r, items, biases + from, to, 2);
                else score(asked, r, items, biases + from, to, 1);
            }
            for (int64_t pair = head[panel]; pair >= 0; pair = next[pair])
                tile[(queries[pair] - first) * PANEL + barred[pair] - from] = -INFINITY;
            for (int64_t at = 0; at < many && allowed != NULL; at++)
                for (int64_t i = 0; i < here; i++)
                    if (!allowed[(first + at) * N + from + i]) tile[at * PANEL + i] = -INFINITY;
            for (int64_t at = 0; at < many; at++) take_in(found + at, tile + at * PANEL, from, k, grid);
        }
        for (int64_t at = 0; at < many; at++) finish(found + at, k, grid);
    }
    free(next);
    return 0;
}
