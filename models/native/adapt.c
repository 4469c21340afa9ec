/*
 * Adapting to users, some at a time, without a step of the interpreter's: what models/learner.py, models/block.py and
 * models/adapt.py say, for serving. Those are the learner; this follows them, and tests hold it to them.
 *
 * Letters: E events of a group of users, R readers among them (all, or each user's newest), T events of one user, P of
 * the longest history, padded, L events at most, d width of the blocks, r rank of item and user vectors, H heads of
 * `relate`, D = d / H, G heads of `gather` and of the recall, K inner steps.
 *
 * Every reader averages the events before it maps them: what fast weights say is affine in the values,
 *     W_K q = W_0 (q - sum_t c_t k_t) + sum_t c_t v_t,      v_t = map x_t,
 * so a map costs a reader once, not every event (models.adapt.read, `average_mapped`). A norm multiplies a row by one
 * number, which waits until the row was mapped or averaged; the norm's weights are in the maps that follow it.
 *
 * A map takes longer to come from the cache than to be applied to one reader, so that users share it. Nothing is summed
 * in another order for that: what a user gets is the same, to the bit, in any company.
 */
#include <math.h>
#include <stdlib.h>

#include "attend.h"
#include "room.h"

#define EVENTS 512 /* of a group of users: these and the maps stay in a cache of the second level */
#define PART 48    /* of them, which stay with a map in one of the first: a multiple of PADDED */

/* What up to READERS of block b make of the events, into target, (R, d). */
INLINE void read_at(const Learner *of, int64_t b, const Reader *readers, int64_t R, int64_t E, float *target,
                    const Room *room) {
    const Block *block = of->block + b;
    int64_t d = of->width, H = of->heads, D = d / H, K = of->steps, P = room->P, wide = (1 + G) * d, each = (H + G) * d;
    float *queries = room->queries, *reading = room->reading, *c = room->coefficients;
    for (int64_t at = 0; at < R; at++) {
        memcpy(target + at * d, room->stream + readers[at].last * d, sizeof(float) * d);
        room->factors[at] = room->factor[readers[at].last];
    }
    linear(target, d, block->query, block->query_bias, room->factors, queries, d, R, d, d, 0);
    for (int64_t h = 0; h < H; h++) {
        shortening(queries + h * D, d, R, D, room->line);
        for (int64_t at = 0; at < R; at++)
            for (int64_t i = 0; i < D; i++) queries[at * d + h * D + i] *= room->line[at];
    }
    for (int64_t at = 0; at < R; at++) {
        int64_t first = readers[at].first, head = b * (H + G);
        Events seen = {readers[at].last + 1 - first, room->strength + first, room->scale + first};
        float *to = reading + at * wide, *toward = room->toward;
        for (int64_t h = 0; h < H; h++, head++) {
            float *q = queries + at * d + h * D;
            Keys keys = {room->keys + first * d + h * D, room->shortening + h * beyond(E) + first, d, D};
            float told = coefficients(q, &keys, &seen, remaining(room, readers + at, head), block->shrinkage[h],
                                      block->sharpness[h], block->steps, K, H, h, c + h * P, toward, room->line);
            for (int64_t i = 0; i < D; i++) {
                q[i] = HALF * (q[i] - toward[i]);
                to[h * D + i] = HALF * (1 - told) * block->constant[h * D + i];
            }
        }
        for (int64_t g = 0; g < G; g++, head++) {
            float told = moved(&seen, remaining(room, readers + at, head), block->gather_shrinkage[g],
                               block->gather_steps, K, g, c + (H + g) * P);
            for (int64_t i = 0; i < d; i++) to[(1 + g) * d + i] = (1 - told) * block->gather_prior[g * d + i];
        }
        weighed(c, P, room->stream + first * d, d, seen.T, room->averaged + at * each, d, H + G, d);
    }
    for (int64_t h = 0; h < H; h++) {
        float *to = reading + h * D;
        linear(queries + h * D, d, block->prior + h * D * padded(D), NULL, NULL, to, wide, R, D, D, 1);
        linear(room->averaged + h * d, each, block->own + h * d * padded(D), NULL, NULL, to, wide, R, d, D, 1);
    }
    for (int64_t g = 0; g < G; g++)
        linear(room->averaged + (H + g) * d, each, block->shared + g * d * padded(d), NULL, NULL, reading + (1 + g) * d,
               wide, R, d, d, 1);
    linear(reading, wide, block->out, NULL, NULL, target, d, R, wide, d, block->residual != 0);
    rms_norm(target, R, d, room->factors);
    linear(target, d, block->up, block->up_bias, room->factors, room->inner, 4 * d, R, d, 4 * d, 0);
    for (int64_t i = 0; i < R * 4 * d; i += LANES) store(room->inner + i, gelu(load(room->inner + i)));
    linear(room->inner, 4 * d, block->down, block->down_bias, NULL, target, d, R, 4 * d, d, 1);
}

/* So many of a group's events, from e on, as they enter the first block. */
INLINE void enter(const Learner *of, const Columns *columns, int64_t e, int64_t part, const Room *room) {
    int64_t d = of->width, r = of->rank;
    const Reader *each = room->each + e;
    float *taken = room->taken + e * r, *x = room->stream + e * d;
    for (int64_t t = 0; t < part; t++)
        memcpy(taken + t * r, columns->vectors + columns->rows[each[t].column] * r, sizeof(float) * r);
    linear(taken, r, of->enter, NULL, room->sign + e, x, d, part, r, d, 0);
    for (int64_t t = 0; t < part; t++) {
        const float *kind = of->kind_vectors + columns->kinds[each[t].column] * d;
        for (int64_t i = 0; i < d; i++) x[t * d + i] += kind[i];
    }
}

/* Block b, of E events: what those that are read at come to, into the room's target. */
INLINE void pass(const Learner *of, int64_t b, const Columns *columns, const Reader *readers, int64_t R, int64_t E,
                 const Room *room) {
    const Block *block = of->block + b;
    int64_t d = of->width, H = of->heads, D = d / H;
    for (int64_t e = 0; e < E; e += PART) {
        int64_t part = E - e < PART ? E - e : PART;
        float *x = room->stream + e * d, *keys = room->keys + e * d;
        if (b == 0) enter(of, columns, e, part, room);
        rms_norm(x, part, d, room->scale + e);
        for (int64_t t = e; t < e + part; t += LANES)
            store(room->factor + t, load(room->scale + t) * load(room->sign + t));
        linear(x, d, block->key, block->key_bias, room->factor + e, keys, d, part, d, d, 0);
        for (int64_t h = 0; h < H; h++) shortening(keys + h * D, d, part, D, room->shortening + h * beyond(E) + e);
    }
    for (int64_t h = 0; h < H; h++) store(room->shortening + h * beyond(E) + padded(E), (lanes){0});
    for (int64_t at = 0; at < R; at += READERS)
        read_at(of, b, readers + at, R - at < READERS ? R - at : READERS, E, room->target + at * d, room);
}

/* The recall's share of a user, added to u (r). */
INLINE void recall(const Learner *of, const Reader *reader, const float *preference, float evidence, float *u,
                   const Room *room) {
    int64_t r = of->rank, first = reader->first, T = reader->last + 1 - first;
    float share = evidence / (evidence + of->recall_evidence), told[G], *voice = room->line;
    Events events = {T, room->strength + first, voice};
    for (int64_t t = 0; t < T; t++) voice[t] = of->recall_voice[0] + of->recall_voice[1] * preference[t];
    for (int64_t g = 0; g < G; g++)
        told[g] = moved(&events, remaining(room, reader, of->blocks * (of->heads + G) + g), of->recall_shrinkage[g],
                        of->recall_steps, of->steps, g, room->coefficients + g * room->P);
    weighed(room->coefficients, room->P, room->taken + first * r, r, T, room->recalled, r, G, r);
    for (int64_t g = 0; g < G; g++)
        for (int64_t i = 0; i < r; i++) {
            float summed = room->recalled[g * r + i] + (1 - told[g]) * of->recall_prior[g * r + i];
            u[i] += share * summed * of->recall_filter[g * r + i];
        }
}

/*
 * Users' vectors (B, r) and the trails they leave, from columns of events. `spans` (4, B) says of each user where the
 * events begin in the columns, how many they are, and where the user's part begins of `lead` and of `trails`, whose
 * rows are (blocks - 1) d numbers an event. With `lead`, the trails of all events but the newest, only the newest is
 * taken through the blocks. 0, or -1 where there is no memory.
 */
int CALL(adapt)(const Learner *of, int64_t B, const float *vectors, const int64_t *rows, const int64_t *kinds,
                const float *preference, const uint8_t *ordered, const int64_t *spans, const float *lead, float *users,
                float *trails) {
    int64_t d = of->width, r = of->rank, final = of->blocks - 1, longest = 1, events = 0;
    for (int64_t user = 0; user < B; user++) {
        longest = spans[B + user] > longest ? spans[B + user] : longest;
        events += spans[B + user];
    }
    const Columns columns = {vectors, rows, kinds, preference};
    int64_t together = B < READERS ? B : READERS;
    events = events < EVENTS ? events : EVENTS;
    events = events > longest ? events : longest;
    Room room = {.P = padded(longest), .heads = of->blocks * (of->heads + G) + (of->recalls ? G : 0)};
    float *whole = aligned_alloc(sizeof(float) * PADDED, sizeof(float) * laid_out(of, events, together, NULL, &room));
    room.each = malloc(sizeof(Reader) * (events + together));
    if (whole == NULL || room.each == NULL) {
        free(whole), free(room.each);
        return -1;
    }
    laid_out(of, events, together, whole, &room);
    room.newest = room.each + events;
    lasting(of, longest, &room);
    for (int64_t begin = 0, end; begin < B; begin = end) {
        int64_t E = 0, R = 0;
        for (end = begin; end < B && R < together && E + spans[B + end] <= events; end++) {
            int64_t start = spans[end], n = spans[B + end];
            for (int64_t t = 0, first = E; t < n; t++, E++) {
                float p = preference[start + t];
                room.sign[E] = (p > 0) - (p < 0);
                room.line[E] = fabsf(p) > 1e-3f ? fabsf(p) : 1e-3f;
                room.strength[E] = of->kind_strengths[kinds[start + t]];
                room.each[E] = (Reader){first, E, start + t, ordered[end]};
            }
            if (n > 0) room.newest[R++] = room.each[E - 1];
        }
        for (int64_t e = 0; e < E; e += LANES)
            store(room.strength + e, exponential(load(room.strength + e) + of->power * logarithm(load(room.line + e))));
        store(room.strength + E, (lanes){0});
        for (int64_t b = 0; b <= final; b++) {
            int alone = lead != NULL || b == final;
            pass(of, b, &columns, alone ? room.newest : room.each, alone ? R : E, E, &room);
            if (b == final) break;
            if (!alone) {
                float *stream = room.target;
                room.target = room.stream, room.stream = stream;
            }
            for (int64_t user = begin, e = 0, at = 0, step = final * d; user < end; user++) {
                int64_t n = spans[B + user];
                float *stream = room.stream + e * d;
                if (alone && n > 0) { /* those before the newest are known */
                    copied(stream, d, lead + spans[2 * B + user] * step + b * d, step, n - 1, d);
                    memcpy(stream + (n - 1) * d, room.target + at++ * d, sizeof(float) * d);
                }
                copied(trails + spans[3 * B + user] * step + b * d, step, stream, d, n, d);
                e += n;
            }
        }
        float evidence[READERS];
        rms_norm(room.target, R, d, room.factors);
        for (int64_t at = 0; at < R; at++) {
            evidence[at] = 0;
            for (int64_t e = room.newest[at].first; e <= room.newest[at].last; e++) evidence[at] += room.strength[e];
            room.factors[at] *= evidence[at] / (evidence[at] + of->evidence);
        }
        linear(room.target, d, of->leave, NULL, room.factors, room.said, r, R, d, r, 0);
        for (int64_t user = begin, at = 0; user < end; user++) {
            int64_t n = spans[B + user], place = ordered[user] && n < of->places ? n : of->places;
            const float *prior = of->priors + place * r;
            float *u = users + user * r, voice = ordered[user] ? 1.0f : of->unordered;
            int sound = 1;
            if (n == 0) memset(u, 0, sizeof(float) * r);
            else {
                memcpy(u, room.said + at * r, sizeof(float) * r);
                if (of->recalls == 2 || (of->recalls == 1 && !ordered[user]))
                    recall(of, room.newest + at, preference + spans[user], evidence[at], u, &room);
                at++;
            }
            for (int64_t i = 0; i < r; i++) {
                u[i] = prior[i] + voice * u[i];
                sound &= isfinite(u[i]) != 0;
            }
            if (!sound) memset(u, 0, sizeof(float) * r);
        }
    }
    free(whole), free(room.each);
    return 0;
}
