/*
 * Adapting to users, one after the other, without a step of the interpreter's: what models/learner.py, models/block.py
 * and models/adapt.py say, for serving. Those are the learner; this follows them, and tests hold it to them.
 *
 * Letters: T events of a user, R readers among them (all, or the newest alone), L events at most, d width of the blocks,
 * r rank of item and user vectors, H heads of `relate`, D = d / H, G heads of `gather` and of the recall, K inner steps.
 *
 * Every reader averages the events before it maps them: what fast weights say is affine in the values,
 *     W_K q = W_0 (q - sum_t c_t k_t) + sum_t c_t v_t,      v_t = map x_t,
 * so a map costs a reader once, not every event (models.adapt.read, `average_mapped`).
 */
#include <math.h>
#include <stdlib.h>

#include "matrix.h"

#define G 3

typedef struct {
    const float *norm;                 /* (d) */
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
    const float *feed_norm;            /* (d) */
    const float *up, *up_bias;         /* (d, 4 d), (4 d) */
    const float *down, *down_bias;     /* (4 d, d), (d) */
    int64_t residual;
} Block;

typedef struct {
    int64_t rank, width, heads, blocks, steps, length;
    const float *enter;                /* (r, d) */
    const float *leave;                /* (d, r) */
    const float *out_norm;             /* (d) */
    const float *prior;                /* (r) */
    const float *kind_vectors;         /* (kinds, d) */
    const float *kind_strengths;       /* (kinds) */
    const Block *block;                /* (blocks) */
    const float *recall_prior;         /* (G, r) */
    const float *recall_steps;         /* (K, G) */
    const float *recall_shrinkage;     /* (G) */
    const float *recall_fading;        /* (G, L) */
    const float *recall_filter;        /* (G, r) */
    const float *recall_voice;         /* (2) */
    int64_t recalls;                   /* 0 never, 1 of what has no order, 2 always */
    float power, evidence, recall_evidence, unordered;
} Learner;

/* y = sum_t c_t x_t over T rows of n numbers. */
INLINE void weighed(const float *c, const float *x, int64_t x_step, int64_t T, float *y, int64_t n) {
    for (int64_t i = 0; i < n; i++) y[i] = 0;
    for (int64_t t = 0; t < T; t++)
        for (int64_t i = 0; i < n; i++) y[i] += c[t] * x[t * x_step + i];
}

/* What remains of the strength of T events for who reads at the last of them; gives the sum. */
INLINE float remaining(const float *strength, const float *fading, int ordered, int64_t T, float *w) {
    float sum = 0;
    for (int64_t t = 0; t < T; t++) {
        w[t] = strength[t] * (ordered ? fading[T - 1 - t] : 1.0f);
        sum += w[t];
    }
    return sum;
}

/* models.adapt.average: with constant keys all steps come to one, of this size, for events that weigh `mass`. */
INLINE float gain(const float *steps, int64_t K, int64_t heads, int64_t head, float mass) {
    float out = K ? steps[(K - 1) * heads + head] : 0.0f;
    for (int64_t j = K - 2; j >= 0; j--) {
        float eta = steps[j * heads + head];
        out = eta + out - eta * out * mass;
    }
    return out;
}

/* What one head of constant keys makes of T events: weights into w, and what they sum to. */
INLINE float moved(const float *strength, const float *fading, int ordered, int64_t T, float shrinkage,
                   const float *steps, int64_t K, int64_t head, float *w) {
    float scale = 1.0f / (remaining(strength, fading, ordered, T, w) + shrinkage), mass = 0;
    for (int64_t t = 0; t < T; t++) mass += w[t] *= scale;
    float g = gain(steps, K, G, head, mass);
    for (int64_t t = 0; t < T; t++) w[t] *= g;
    return g * mass;
}

/* models.adapt.read for one reader and head: the coefficients of T events into c; their sum. q and keys are units. */
INLINE float coefficients(const float *q, const float *keys, int64_t key_step, int64_t T, int64_t D, const float *strength,
                          const float *fading, int ordered, float shrinkage, float sharpness, const float *steps,
                          int64_t K, int64_t heads, int64_t head, float *w, float *m, float *c, float *toward) {
    for (int64_t t = 0; t < T; t++) m[t] = dot(q, keys + t * key_step, D);
    remaining(strength, fading, ordered, T, w);
    float sum = 0, told = 0;
    for (int64_t t = 0; t < T; t += LANES) store(w + t, load(w + t) * exponential(sharpness * load(m + t)));
    for (int64_t t = 0; t < T; t++) sum += w[t];
    float scale = 1.0f / (sum + shrinkage), eta = K ? steps[(K - 1) * heads + head] : 0.0f;
    for (int64_t t = 0; t < T; t++) {
        w[t] *= scale;
        m[t] = w[t] + w[t] * m[t];
        c[t] = 0.5f * eta * m[t];
        told += c[t];
    }
    for (int64_t j = K - 2; j >= 0; j--) {
        eta = steps[j * heads + head];
        weighed(c, keys, key_step, T, toward, D);
        float before = told;
        told = 0;
        for (int64_t t = 0; t < T; t++) {
            float gram = 0.5f * before + 0.5f * dot(toward, keys + t * key_step, D);
            c[t] += 0.5f * eta * m[t] - eta * w[t] * gram;
            told += c[t];
        }
    }
    return told;
}

typedef struct {
    float *stream, *normed, *keys, *queries, *related, *averaged, *reading, *mixed, *inner, *line;
} Room; /* for T events each; `line` and `inner` are read to the end of their last LANES */

/* One block: reads x (T, d) and overwrites its rows from `first` on with what it makes of them. */
INLINE void pass(const Learner *of, const Block *block, int64_t T, int64_t first, const float *sign,
                 const float *strength, int ordered, Room *room) {
    int64_t d = of->width, H = of->heads, D = d / H, K = of->steps, L = of->length, R = T - first;
    int64_t wide = (1 + G) * d;
    float *x = room->stream, *w = room->line, *m = w + padded(T), *c = m + padded(T), *toward = c + padded(T);
    float *rest = toward + D;
    for (int64_t t = 0; t < T; t++) {
        float *normed = room->normed + t * d, *signed_ = room->mixed + t * d;
        rms_norm(x + t * d, block->norm, normed, d);
        for (int64_t i = 0; i < d; i++) signed_[i] = normed[i] * sign[t];
    }
    linear(room->mixed, d, block->key, block->key_bias, room->keys, d, T, d, d, 0);
    linear(room->mixed + first * d, d, block->query, block->query_bias, room->queries, d, R, d, d, 0);
    for (int64_t t = 0; t < T; t++)
        for (int64_t h = 0; h < H; h++) unit(room->keys + t * d + h * D, D);
    for (int64_t at = 0; at < R; at++) {
        int64_t seen = first + at + 1;
        float *to = room->reading + at * wide;
        for (int64_t h = 0; h < H; h++) {
            float *q = room->queries + at * d + h * D;
            const float *keys = room->keys + h * D;
            unit(q, D);
            float told = coefficients(q, keys, d, seen, D, strength, block->fading + h * L, ordered, block->shrinkage[h],
                                      block->sharpness[h], block->steps, K, H, h, w, m, c, toward);
            weighed(c, keys, d, seen, toward, D);
            for (int64_t i = 0; i < D; i++) rest[i] = HALF * (q[i] - toward[i]);
            for (int64_t i = 0; i < D; i++) to[h * D + i] = HALF * (1 - told) * block->constant[h * D + i];
            linear(rest, D, block->prior + h * D * padded(D), NULL, to + h * D, D, 1, D, D, 1);
            weighed(c, room->normed, d, seen, room->averaged + (at * H + h) * d, d);
        }
        for (int64_t g = 0; g < G; g++) {
            float told = moved(strength, block->fading + (H + g) * L, ordered, seen, block->gather_shrinkage[g],
                               block->gather_steps, K, g, w);
            weighed(w, room->normed, d, seen, room->related + (at * G + g) * d, d);
            for (int64_t i = 0; i < d; i++) to[(1 + g) * d + i] = (1 - told) * block->gather_prior[g * d + i];
        }
    }
    for (int64_t h = 0; h < H; h++)
        linear(room->averaged + h * d, H * d, block->own + h * d * padded(D), NULL, room->reading + h * D, wide, R, d, D, 1);
    for (int64_t g = 0; g < G; g++)
        linear(room->related + g * d, G * d, block->shared + g * d * padded(d), NULL, room->reading + (1 + g) * d, wide, R,
               d, d, 1);
    float *mixed = x + first * d;
    linear(room->reading, wide, block->out, NULL, mixed, d, R, wide, d, block->residual != 0);
    for (int64_t at = 0; at < R; at++) rms_norm(mixed + at * d, block->feed_norm, room->queries + at * d, d);
    linear(room->queries, d, block->up, block->up_bias, room->inner, 4 * d, R, d, 4 * d, 0);
    for (int64_t i = 0; i < R * 4 * d; i += LANES) store(room->inner + i, gelu(load(room->inner + i)));
    linear(room->inner, 4 * d, block->down, block->down_bias, mixed, d, R, 4 * d, d, 1);
}

/* The recall's share of a user, added to u (r). */
INLINE void recall(const Learner *of, const float *vectors, const int64_t *rows, const float *preference, int64_t T,
                   const float *strength, int ordered, float evidence, float *u, float *w, float *summed) {
    int64_t r = of->rank;
    float share = evidence / (evidence + of->recall_evidence);
    for (int64_t g = 0; g < G; g++) {
        float told = moved(strength, of->recall_fading + g * of->length, ordered, T, of->recall_shrinkage[g],
                           of->recall_steps, of->steps, g, w);
        for (int64_t i = 0; i < r; i++) summed[i] = (1 - told) * of->recall_prior[g * r + i];
        for (int64_t t = 0; t < T; t++) {
            float said = w[t] * (of->recall_voice[0] + of->recall_voice[1] * preference[t]);
            const float *taken = vectors + rows[t] * r;
            for (int64_t i = 0; i < r; i++) summed[i] += said * taken[i];
        }
        for (int64_t i = 0; i < r; i++) u[i] += share * summed[i] * of->recall_filter[g * r + i];
    }
}

/*
 * Users' vectors (B, r) and the trails they leave, from columns of events. `spans` (4, B) says of each user where the
 * events begin in the columns, how many they are, and where the user's part begins of `lead` and of `trails`, whose rows
 * are (blocks - 1) d numbers an event. With `lead`, the trails of all events but the newest, only the newest is taken
 * through the blocks. 0, or -1 where there is no memory.
 */
EVERYWHERE int innerloop_adapt(const Learner *of, int64_t B, const float *vectors, const int64_t *rows,
                               const int64_t *kinds, const float *preference, const uint8_t *ordered,
                               const int64_t *spans, const float *lead, float *users, float *trails) {
    int64_t d = of->width, r = of->rank, D = d / of->heads, final = of->blocks - 1, T = 1;
    for (int64_t user = 0; user < B; user++) T = spans[B + user] > T ? spans[B + user] : T;
    int64_t wide = r > d ? r : d;
    int64_t each = d * (4 + of->heads + G + (1 + G) + 4) + 2 + wide; /* numbers an event */
    float *room = malloc(sizeof(float) * (T * each + LANES + 3 * padded(T) + 2 * D + 2 * wide));
    if (room == NULL) return -1;
    float *strength = room, *sign = strength + T, *taken = sign + T, *at = taken + T * wide;
    Room own;
    own.stream = at, at += T * d;
    own.normed = at, at += T * d;
    own.keys = at, at += T * d;
    own.queries = at, at += T * d;
    own.averaged = at, at += T * d * of->heads;
    own.related = at, at += T * d * G;
    own.reading = at, at += T * d * (1 + G);
    own.inner = at, at += T * d * 4 + LANES;
    own.mixed = own.inner; /* free until the layer that needs it */
    own.line = at, at += 3 * padded(T) + 2 * D;
    float *said = at;
    for (int64_t user = 0; user < B; user++) {
        int64_t start = spans[user], n = spans[B + user];
        const int64_t *row = rows + start, *kind = kinds + start;
        const float *preferred = preference + start;
        float *u = users + user * r, evidence = 0;
        for (int64_t i = 0; i < r; i++) u[i] = 0;
        for (int64_t t = 0; t < n; t++) {
            float p = preferred[t], size = fabsf(p) > 1e-3f ? fabsf(p) : 1e-3f;
            sign[t] = (p > 0) - (p < 0);
            strength[t] = expf(of->kind_strengths[kind[t]] + of->power * logf(size));
            evidence += strength[t];
            memcpy(taken + t * r, vectors + row[t] * r, sizeof(float) * r);
        }
        if (n > 0) {
            linear(taken, r, of->enter, NULL, own.stream, d, n, r, d, 0);
            for (int64_t t = 0; t < n; t++)
                for (int64_t i = 0; i < d; i++)
                    own.stream[t * d + i] = sign[t] * sqrtf(d) * own.stream[t * d + i] + of->kind_vectors[kind[t] * d + i];
            for (int64_t b = 0; b <= final; b++) {
                int64_t first = lead != NULL || b == final ? n - 1 : 0;
                pass(of, of->block + b, n, first, sign, strength, ordered[user], &own);
                if (b == final) break;
                if (lead != NULL) { /* those before the newest are known */
                    const float *before = lead + (spans[2 * B + user] * final + b) * d;
                    for (int64_t t = 0; t < n - 1; t++)
                        memcpy(own.stream + t * d, before + t * final * d, sizeof(float) * d);
                }
                float *left = trails + (spans[3 * B + user] * final + b) * d;
                for (int64_t t = 0; t < n; t++) memcpy(left + t * final * d, own.stream + t * d, sizeof(float) * d);
            }
            rms_norm(own.stream + (n - 1) * d, of->out_norm, said, d);
            float share = evidence / (evidence + of->evidence);
            for (int64_t i = 0; i < d; i++) said[i] *= share;
            linear(said, d, of->leave, NULL, u, r, 1, d, r, 0);
            if (of->recalls == 2 || (of->recalls == 1 && !ordered[user]))
                recall(of, vectors, row, preferred, n, strength, ordered[user], evidence, u, own.line, said);
        }
        float voice = ordered[user] ? 1.0f : of->unordered;
        int sound = 1;
        for (int64_t i = 0; i < r; i++) {
            u[i] = of->prior[i] + voice * u[i];
            sound &= isfinite(u[i]) != 0;
        }
        if (!sound) memset(u, 0, sizeof(float) * r);
    }
    free(room);
    return 0;
}
