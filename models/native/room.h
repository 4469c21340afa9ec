/* What a group of users is adapted to in: so small that it stays in the processor's caches. Letters: see adapt.c. */
#ifndef ROOM_H
#define ROOM_H

#include "attend.h"
#include "learner.h"

#define READERS 16 /* that share a map, and users of a group */

/* An event to read at, and the first one that is read there: of the same user, both by their places in a group. */
typedef struct {
    int64_t first, last, column;
    int ordered;
} Reader;

/* Columns of events, and the item vectors that they are of. */
typedef struct {
    const float *vectors;
    const int64_t *rows, *kinds;
    const float *preference;
} Columns;

/* What a group of users is worked on in. */
typedef struct {
    Reader *each, *newest;
    float *strength, *sign, *taken, *stream, *scale, *factor, *keys, *shortening; /* of events */
    float *target;                                                                /* of readers */
    float *factors, *queries, *reading, *averaged, *inner;                        /* of READERS of them */
    float *coefficients, *line, *toward;                                          /* of one */
    float *said, *recalled;                                                       /* of users, and of one */
    float *remains; /* of an event, for each head and for what has no order: the oldest of P events first, then zeros */
    int64_t P, heads;
} Room;

/* What remains of the events that a reader sees, for one of the heads of all blocks and the recall. */
INLINE const float *remaining(const Room *room, const Reader *reader, int64_t head) {
    int64_t T = reader->last + 1 - reader->first;
    return room->remains + (reader->ordered ? head : room->heads) * beyond(room->P) + room->P - T;
}

/* Lay out room for groups of so many events and users, of which there may be none yet: the numbers that it takes. */
INLINE int64_t laid_out(const Learner *of, int64_t events, int64_t users, float *at, Room *room) {
    int64_t d = of->width, r = of->rank, H = of->heads, P = room->P, taken = 0;
    struct {
        float **part;
        int64_t numbers;
    } parts[] = {
        {&room->strength, events}, {&room->sign, events}, {&room->taken, events * r}, {&room->stream, events * d},
        {&room->scale, events}, {&room->factor, events}, {&room->keys, events * d}, {&room->target, events * d},
        {&room->shortening, H * beyond(events)}, {&room->factors, READERS}, {&room->queries, READERS * d},
        {&room->reading, READERS * (1 + G) * d}, {&room->averaged, READERS * (H + G) * d},
        {&room->inner, READERS * 4 * d}, {&room->coefficients, (H + G) * P}, {&room->line, events + 3 * P},
        {&room->toward, d}, {&room->said, users * r}, {&room->recalled, G * r},
        {&room->remains, (room->heads + 1) * beyond(P)},
    };
    for (size_t part = 0; part < sizeof(parts) / sizeof(*parts); part++) {
        if (at) *parts[part].part = at + taken;
        taken += beyond(parts[part].numbers);
    }
    return taken;
}

/* What remains of so many events at most, as the room has it. */
INLINE void lasting(const Learner *of, int64_t longest, const Room *room) {
    int64_t each = of->heads + G, P = room->P;
    for (int64_t head = 0; head <= room->heads; head++) {
        float *to = room->remains + head * beyond(P);
        int64_t b = head / each;
        const float *fading = b < of->blocks ? of->block[b].fading + head % each * of->length
                                             : of->recall_fading + (head - of->blocks * each) * of->length;
        store(to + P, (lanes){0});
        for (int64_t age = 0; age < longest; age++) to[P - 1 - age] = head < room->heads ? fading[age] : 1.0f;
    }
}

#endif
