/*
 * A learner as models/compiled.py hands it over: its maps transposed and padded (matrix.h), the weights of a norm taken
 * into the maps that follow it. Letters: see adapt.c.
 */
#ifndef LEARNER_H
#define LEARNER_H

#include <stdint.h>

typedef struct {
    const float *query, *query_bias;   /* (d, d), (d) */
    const float *key, *key_bias;       /* (d, d), (d) */
    const float *own;                  /* (H, d, D): a head's values of an event */
    const float *prior;                /* (H, D, D): W_0 of `relate`, what it maps a query by */
    const float *constant;             /* (H, D): and what it says to none */
    const float *steps;                /* (K, H) */
    const float *shrinkage, *sharpness; /* (H), (H) */
    const float *shared;               /* (G, d, d): what `gather` makes of an event */
    const float *gather_prior;         /* (G, d) */
    const float *gather_steps;         /* (K, G) */
    const float *gather_shrinkage;     /* (G) */
    const float *fading;               /* (H + G, L): what remains after so many events */
    const float *out;                  /* (H D + G d, d) */
    const float *up, *up_bias;         /* (d, 4 d), (4 d) */
    const float *down, *down_bias;     /* (4 d, d), (d) */
    int64_t residual;
} Block;

typedef struct {
    int64_t rank, width, heads, blocks, steps, length;
    const float *enter;                /* (r, d) */
    const float *leave;                /* (d, r) */
    const float *priors;               /* (places + 1, r): of users with 0 events, 1 ..., and of all others */
    const float *kind_vectors;         /* (kinds, d) */
    const float *kind_strengths;       /* (kinds) */
    const Block *block;                /* (blocks) */
    const float *recall_prior;         /* (G, r) */
    const float *recall_steps;         /* (K, G) */
    const float *recall_shrinkage;     /* (G) */
    const float *recall_fading;        /* (G, L) */
    const float *recall_filter;        /* (G, r) */
    const float *recall_voice;         /* (2) */
    int64_t places;                    /* first events that have a prior of their own */
    int64_t recalls;                   /* 0 never, 1 of what has no order, 2 always */
    float power, evidence, recall_evidence, unordered;
} Learner;

#endif
