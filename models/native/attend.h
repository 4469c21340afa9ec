/*
 * How much each of T events counts for who reads at the last of them (models/adapt.py). Lines of numbers, one an event,
 * are taken in whole LANES: nothing remains of those after the last, whatever else they say.
 */
#ifndef ATTEND_H
#define ATTEND_H

#include "matrix.h"

#define G 3

typedef struct {
    int64_t T;
    const float *strength;
    const float *scale; /* of what is averaged: a coefficient is taken times it */
} Events;

/* models.adapt.average: with constant keys all steps come to one, of this size, for events that weigh `mass`. */
INLINE float gain(const float *steps, int64_t K, int64_t heads, int64_t head, float mass) {
    float out = K ? steps[(K - 1) * heads + head] : 0.0f;
    for (int64_t j = K - 2; j >= 0; j--) {
        float eta = steps[j * heads + head];
        out = eta + out - eta * out * mass;
    }
    return out;
}

/* What one head of constant keys makes of events, of which so much remains: coefficients into c; what they sum to. */
INLINE float moved(const Events *of, const float *remains, float shrinkage, const float *steps, int64_t K, int64_t head,
                   float *c) {
    lanes sum = {0};
    for (int64_t t = 0; t < of->T; t += LANES) sum += load(of->strength + t) * load(remains + t);
    float scale = 1.0f / (total(sum) + shrinkage), mass = total(sum) * scale, g = gain(steps, K, G, head, mass);
    for (int64_t t = 0; t < of->T; t += LANES)
        store(c + t, g * scale * load(of->strength + t) * load(remains + t) * load(of->scale + t));
    return g * mass;
}

/* The keys of a head, rows of D numbers, and what makes units of them. */
typedef struct {
    const float *rows, *shortening;
    int64_t step, D;
} Keys;

/* What each key says to q. */
INLINE void matched(const float *q, const Keys *keys, int64_t T, float *m) {
    dots(keys->rows, keys->step, q, 0, T, keys->D, m);
    for (int64_t t = 0; t < T; t += LANES) store(m + t, load(m + t) * load(keys->shortening + t));
}

/* The keys brought to one, each taken c times; c goes into `line` on the way. */
INLINE void brought(const float *c, const Keys *keys, int64_t T, float *line, float *toward) {
    for (int64_t t = 0; t < T; t += LANES) store(line + t, load(c + t) * load(keys->shortening + t));
    weighed(line, 0, keys->rows, keys->step, T, toward, 0, 1, keys->D);
}

/*
 * models.adapt.read for one reader and head: the coefficients of events into c; what they sum to. q is a unit. `toward`
 * are the keys as they count, (D), and `line` is room for three lines.
 */
INLINE float coefficients(const float *q, const Keys *keys, const Events *of, const float *remains, float shrinkage,
                          float sharpness, const float *steps, int64_t K, int64_t heads, int64_t head, float *c,
                          float *toward, float *line) {
    int64_t T = of->T;
    float *m = line, *w = m + padded(T), *gram = w + padded(T), eta = K ? steps[(K - 1) * heads + head] : 0.0f;
    lanes sum = {0}, told = {0};
    matched(q, keys, T, m);
    for (int64_t t = 0; t < T; t += LANES) {
        lanes like = load(of->strength + t) * load(remains + t) * exponential(sharpness * load(m + t));
        store(w + t, like);
        sum += like;
    }
    float scale = 1.0f / (total(sum) + shrinkage);
    for (int64_t t = 0; t < T; t += LANES) {
        lanes weight = load(w + t) * scale, match = weight + weight * load(m + t), taken = 0.5f * eta * match;
        store(w + t, weight);
        store(m + t, match);
        store(c + t, taken);
        told += taken;
    }
    for (int64_t j = K - 2; j >= 0; j--) {
        float before = total(told);
        eta = steps[j * heads + head];
        brought(c, keys, T, gram, toward);
        matched(toward, keys, T, gram);
        told = (lanes){0};
        for (int64_t t = 0; t < T; t += LANES) {
            lanes error = 0.5f * before + 0.5f * load(gram + t);
            lanes taken = load(c + t) + 0.5f * eta * load(m + t) - eta * load(w + t) * error;
            store(c + t, taken);
            told += taken;
        }
    }
    brought(c, keys, T, gram, toward);
    for (int64_t t = 0; t < T; t += LANES) store(c + t, load(c + t) * load(of->scale + t));
    return total(told);
}

#endif
