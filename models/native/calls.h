/* The calls that are compiled by the width of registers. */
#ifndef CALLS_H
#define CALLS_H

#include "lanes.h"
#include "learner.h"

typedef int Adapt(const Learner *of, int64_t B, const float *vectors, const int64_t *rows, const int64_t *kinds,
                  const float *preference, const uint8_t *ordered, const int64_t *spans, const float *lead, float *users,
                  float *trails);
typedef int Search(int64_t N, int64_t r, const float *panels, const float *biases, int64_t B, const float *users,
                   const uint8_t *allowed, int64_t pairs, const int64_t *queries, const int64_t *barred, int64_t k,
                   float grid, int64_t *rows, float *scores);

Adapt innerloop_adapt;
Search innerloop_search;

#endif
