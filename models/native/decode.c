/* Records of what users did, as app/event.py packs them, taken apart into columns: 20 bytes each, little-endian. */
#include <stdint.h>
#include <string.h>

#define RECORD 20
#define KIND 4
#define VALUE 8
#define TIME 12

typedef struct {
    uint32_t handle;
    float value;
    double time;
    uint8_t kind;
} Record;

/* For processors that are little-endian as well. */
static inline Record record_at(const uint8_t *from) {
    Record out;
    memcpy(&out.handle, from, sizeof out.handle);
    memcpy(&out.kind, from + KIND, sizeof out.kind);
    memcpy(&out.value, from + VALUE, sizeof out.value);
    memcpy(&out.time, from + TIME, sizeof out.time);
    return out;
}

/*
 * The events of B users, counts[b] of each, one user after the other and oldest first, on items that have a row:
 * row_of_handle[handle], whose last place, number `last`, stands for all handles beyond and which is -1 for none. Those of
 * a kind that is not below `kinds` are passed over too. Whether none was is in complete[b]; whether a user's times differ,
 * or there are fewer than two, in ordered[b]; how many events there are in `found`.
 */
int innerloop_decode(const uint8_t *records, int64_t B, const int64_t *counts, const int64_t *row_of_handle,
                     int64_t last, int64_t kinds, int64_t *owner, int64_t *rows, int64_t *kind, float *value,
                     uint8_t *ordered, uint8_t *complete, int64_t *found) {
    int64_t n = 0;
    for (int64_t b = 0; b < B; b++) {
        double first = 0;
        ordered[b] = counts[b] < 2;
        complete[b] = 1;
        for (int64_t i = 0; i < counts[b]; i++, records += RECORD) {
            Record here = record_at(records);
            int64_t row = row_of_handle[here.handle < last ? here.handle : last];
            if (i == 0) first = here.time;
            ordered[b] |= here.time != first;
            if (row < 0 || here.kind >= kinds) {
                complete[b] = 0;
                continue;
            }
            owner[n] = b;
            rows[n] = row;
            kind[n] = here.kind;
            value[n++] = here.value;
        }
    }
    *found = n;
    return 0;
}
