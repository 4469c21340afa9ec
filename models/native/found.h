/* What a query has found so far: up to k items, best first, told apart in steps of 1 / grid. */
#ifndef FOUND_H
#define FOUND_H

#include <math.h>

#include "lanes.h"

typedef struct {
    float *steps, worst; /* of the last, once there are k */
    int64_t *rows, count;
} Found;

INLINE Found nothing(float *steps, int64_t *rows) { return (Found){steps, -INFINITY, rows, 0}; }

/* Takes in an item if it is among the best; among equals whoever came first stays first. */
INLINE void take(Found *found, float score, int64_t row, int64_t k, float grid) {
    const float furthest = 8589934592.0f;
    if (!(score > -INFINITY)) return; /* barred, or not a number */
    float steps = rintf(score * grid);
    steps = steps < -furthest ? -furthest : steps > furthest ? furthest : steps;
    if (found->count == k && !(steps > found->worst)) return;
    int64_t at = found->count < k ? found->count++ : k - 1;
    for (; at > 0 && found->steps[at - 1] < steps; at--) {
        found->steps[at] = found->steps[at - 1];
        found->rows[at] = found->rows[at - 1];
    }
    found->steps[at] = steps;
    found->rows[at] = row;
    if (found->count == k) found->worst = found->steps[k - 1];
}

/* Steps become scores, and places that are left say so. */
INLINE void finish(Found *found, int64_t k, float grid) {
    for (int64_t i = 0; i < k; i++) {
        int there = i < found->count;
        found->steps[i] = there ? found->steps[i] / grid : -INFINITY;
        if (!there) found->rows[i] = -1;
    }
}

#endif
