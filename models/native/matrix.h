/*
 * Vectors, matrices and what a layer applies to each number.
 *
 * A matrix is kept transposed, (inputs, outputs), its outputs padded with zeros.
 */
#ifndef MATRIX_H
#define MATRIX_H

#include <math.h>

#include "lanes.h"

#define PADDED 16 /* numbers, whole LANES of whatever processor: what matrices and lines are padded to */
#define ROWS (LANES == 8 ? 3 : 6) /* of a tile of 4 LANES, which 16 registers hold or else 32 */
#define HALF 0.70710678118654752f
#define TINY 1.1920929e-7f /* what torch's RMSNorm adds to a mean square */

/* e^x, to a few units of the last place (Cephes). */
INLINE lanes exponential(lanes x) {
    x = either(x < -87.0f, all(-87.0f), either(x > 88.0f, all(88.0f), x));
    wholes power = __builtin_convertvector(x * 1.44269504f + either(x < 0.0f, all(-0.5f), all(0.5f)), wholes);
    lanes whole = __builtin_convertvector(power, lanes);
    lanes rest = (x - whole * 0.693359375f) + whole * 2.12194440e-4f, y = all(1.9875691500e-4f);
    y = y * rest + 1.3981999507e-3f;
    y = y * rest + 8.3334519073e-3f;
    y = y * rest + 4.1665795894e-2f;
    y = y * rest + 1.6666665459e-1f;
    y = y * rest + 5.0000001201e-1f;
    y = y * rest * rest + rest + 1.0f;
    return y * (lanes)((power + 127) << 23);
}

/* The natural logarithm of what is normal and positive, to a few units of the last place (Cephes). */
INLINE lanes logarithm(lanes x) {
    wholes bits = (wholes)x, power = (bits >> 23) - 126;
    lanes part = (lanes)((bits & 0x7fffff) | 0x3f000000); /* from 1/2 to 1 */
    wholes low = part < 0.70710678f;
    lanes whole = __builtin_convertvector(power + low, lanes), z = part + either(low, part, all(0.0f)) - 1.0f;
    lanes y = all(7.0376836292e-2f);
    y = y * z - 1.1514610310e-1f;
    y = y * z + 1.1676998740e-1f;
    y = y * z - 1.2420140846e-1f;
    y = y * z + 1.4249322787e-1f;
    y = y * z - 1.6668057665e-1f;
    y = y * z + 2.0000714765e-1f;
    y = y * z - 2.4999993993e-1f;
    y = y * z + 3.3333331174e-1f;
    y = y * z * z * z - 2.12194440e-4f * whole - 0.5f * z * z;
    return z + y + 0.693359375f * whole;
}

/* x Phi(x); the error function by Abramowitz & Stegun 7.1.26, to 1.5e-7. */
INLINE lanes gelu(lanes x) {
    lanes z = either(x < 0.0f, -x, x) * HALF, t = 1.0f / (1.0f + 0.3275911f * z);
    lanes tail = t * (0.254829592f + t * (-0.284496736f + t * (1.421413741f + t * (-1.453152027f + t * 1.061405429f))));
    lanes beyond = 0.5f * tail * exponential(-z * z); /* 1 - Phi(|x|) */
    return x * either(x < 0.0f, beyond, 1.0f - beyond);
}

INLINE int64_t padded(int64_t n) { return (n + PADDED - 1) / PADDED * PADDED; }

/* Enough for a padded line from any of n numbers on. */
INLINE int64_t beyond(int64_t n) { return padded(n) + PADDED; }

INLINE void copied(float *to, int64_t to_step, const float *from, int64_t from_step, int64_t rows, int64_t n) {
    if (to_step == n && from_step == n) n *= rows, rows = rows > 0; /* as one */
    for (int64_t r = 0; r < rows; r++) memcpy(to + r * to_step, from + r * from_step, sizeof(float) * n);
}

/* A matrix (inputs, outputs), its rows `step` apart: a row's sums are taken times the row's scale, plus the bias. */
typedef struct {
    const float *matrix;
    int64_t step, inputs, outputs;
    const float *bias, *scale; /* or none */
} Map;

/* The compiler may not merge what made these numbers with what becomes of them. */
#if defined(__x86_64__)
#define AS_IT_IS(x) __asm__("" : "+v"(x))
#elif defined(__aarch64__)
#define AS_IT_IS(x) __asm__("" : "+w"(x))
#else
#define AS_IT_IS(x) ((void)0)
#endif

/* A tile of y = x times the map, plus what is there if `add`: `rows` by `wide` lanes, which the registers hold. */
INLINE void tile(const float *x, int64_t x_step, const Map *map, float *y, int64_t y_step, int64_t row, int64_t from,
                 int add, const int rows, const int wide) {
    int64_t inputs = map->inputs, step = map->step;
    const float *line = map->matrix + from;
    lanes sum[ROWS][4];
    x += row * x_step;
    y += row * y_step;
    for (int r = 0; r < rows; r++)
        for (int w = 0; w < wide; w++) sum[r][w] = (lanes){0};
    for (int64_t i = 0; i < inputs; i++, line += step)
        for (int w = 0; w < wide; w++) {
            lanes weights = load(line + w * LANES);
            for (int r = 0; r < rows; r++) sum[r][w] += x[r * x_step + i] * weights;
        }
    for (int r = 0; r < rows; r++)
        for (int w = 0; w < wide; w++) {
            int64_t at = from + w * LANES, left = map->outputs - at;
            float *to = y + r * y_step + at, here[LANES];
            if (map->scale) sum[r][w] *= map->scale[row + r];
            AS_IT_IS(sum[r][w]); /* else some sizes of tile multiply and add in one rounding, and others in two */
            if (left >= LANES) {
                if (map->bias) sum[r][w] += load(map->bias + at);
                if (add) sum[r][w] += load(to);
                store(to, sum[r][w]);
                continue;
            }
            store(here, sum[r][w]);
            for (int64_t i = 0; i < left; i++)
                to[i] = here[i] + (map->bias ? map->bias[at + i] : 0.0f) + (add ? to[i] : 0.0f);
        }
}

INLINE void tiles(const float *x, int64_t x_step, const Map *map, float *y, int64_t y_step, int64_t rows, int64_t from,
                  int add, const int wide) {
    for (int64_t row = 0, parts = (rows + ROWS - 1) / ROWS; row < rows; parts--) { /* as equal as may be */
        int64_t together = (rows - row + parts - 1) / parts;
        if (together == 1) tile(x, x_step, map, y, y_step, row, from, add, 1, wide);
        else if (together == 2) tile(x, x_step, map, y, y_step, row, from, add, 2, wide);
        else if (together == 3) tile(x, x_step, map, y, y_step, row, from, add, 3, wide);
        else if (ROWS > 3 && together == 4) tile(x, x_step, map, y, y_step, row, from, add, 4, wide);
        else if (ROWS > 3 && together == 5) tile(x, x_step, map, y, y_step, row, from, add, 5, wide);
        else if (ROWS > 3) tile(x, x_step, map, y, y_step, row, from, add, 6, wide);
        row += together;
    }
}

/* y = x times the map, plus what is there if `add`. A number's sum is the same whatever the other rows are. */
static void mapped(const float *x, int64_t x_step, const Map *map, float *y, int64_t y_step, int64_t rows, int add) {
    for (int64_t from = 0; from < map->outputs;) { /* a matrix comes from afar: each part of it serves all rows */
        int64_t wide = (map->outputs - from + LANES - 1) / LANES;
        if (wide >= 4) tiles(x, x_step, map, y, y_step, rows, from, add, 4), from += 4 * LANES;
        else if (wide >= 2) tiles(x, x_step, map, y, y_step, rows, from, add, 2), from += 2 * LANES;
        else tiles(x, x_step, map, y, y_step, rows, from, add, 1), from += LANES;
    }
}

INLINE void linear(const float *x, int64_t x_step, const float *matrix, const float *bias, const float *scale, float *y,
                   int64_t y_step, int64_t rows, int64_t inputs, int64_t outputs, int add) {
    mapped(x, x_step, &(Map){matrix, padded(outputs), inputs, outputs, bias, scale}, y, y_step, rows, add);
}

/* For each row of weights, c (rows, T), the sum of so much of each of T rows of n numbers. */
INLINE void weighed(const float *c, int64_t c_step, const float *x, int64_t x_step, int64_t T, float *y, int64_t y_step,
                    int64_t rows, int64_t n) {
    mapped(c, c_step, &(Map){x, x_step, T, n, NULL, NULL}, y, y_step, rows, 0);
}

/* Rows of a times rows of b, which may be one for all (a step of 0); zeros to the end of the padding. */
INLINE void dots(const float *a, int64_t a_step, const float *b, int64_t b_step, int64_t rows, int64_t n, float *out) {
    for (int64_t from = 0; from < rows; from += PADDED) {
        int64_t here = rows - from < PADDED ? rows - from : PADDED;
        float quads[PADDED][4] = {{0}};
        for (int64_t r = 0; r < here; r++) {
            const float *x = a + (from + r) * a_step, *y = b + (from + r) * b_step;
            lanes sum = {0};
            for (int64_t i = 0; i + LANES <= n; i += LANES) sum += load(x + i) * load(y + i);
            quad part = folded(sum);
            for (int64_t i = n / LANES * LANES; i < n; i++) part[0] += x[i] * y[i];
            memcpy(quads[r], &part, sizeof(part));
        }
        for (int r = 0; r < PADDED; r++)
            out[from + r] = (quads[r][0] + quads[r][1]) + (quads[r][2] + quads[r][3]);
    }
}

/* What makes a unit of each row, to the end of the padding. */
INLINE void shortening(const float *x, int64_t step, int64_t rows, int64_t n, float *out) {
    dots(x, step, x, step, rows, n, out);
    for (int64_t r = 0; r < padded(rows); r++) {
        float norm = sqrtf(out[r]);
        out[r] = 1.0f / (norm > 1e-12f ? norm : 1e-12f);
    }
}

/* What makes the mean square of each row 1, to the end of the padding. */
INLINE void rms_norm(const float *x, int64_t rows, int64_t n, float *out) {
    dots(x, n, x, n, rows, n, out);
    for (int64_t r = 0; r < padded(rows); r++) out[r] = 1.0f / sqrtf(out[r] / (float)n + TINY);
}

#endif
