/* The texts of ranked rows, one after the other: what an answer says, without a step of the interpreter's for each. */
#include <stdint.h>
#include <string.h>

static inline char *put(char *to, const char *text, int64_t size) {
    memcpy(to, text, size);
    return to + size;
}

/*
 * For each of B answers `before`, the pieces of its first rows, `between` any two, and `after`; of one without rows, `none`.
 *
 * `pieces` is all of them in a row, of which number i begins at begins[i] and ends where the next begins. `rows` (B, K),
 * `counts` (B). The texts go to `out` in a row, and where each ends to `ends` (B).
 */
int innerloop_join(const char *pieces, const int64_t *begins, int64_t B, int64_t K, const int64_t *rows,
                   const int64_t *counts, const char *before, const char *between, const char *after, const char *none,
                   char *out, int64_t *ends) {
    int64_t opening = strlen(before), middle = strlen(between), closing = strlen(after), empty = strlen(none);
    char *to = out;
    for (int64_t b = 0; b < B; b++) {
        const int64_t *row = rows + b * K;
        if (counts[b] == 0) to = put(to, none, empty);
        for (int64_t i = 0; i < counts[b]; i++) {
            to = i ? put(to, between, middle) : put(to, before, opening);
            to = put(to, pieces + begins[row[i]], begins[row[i] + 1] - begins[row[i]]);
            if (i + 1 == counts[b]) to = put(to, after, closing);
        }
        ends[b] = to - out;
    }
    return 0;
}
