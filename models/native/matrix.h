/*
 * Vectors, matrices and what a layer applies to each number.
 *
 * A matrix is kept transposed, (inputs, outputs), its outputs padded to whole LANES with zeros.
 */
#ifndef MATRIX_H
#define MATRIX_H

#include <math.h>

#include "lanes.h"

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

/* x Phi(x); the error function by Abramowitz & Stegun 7.1.26, to 1.5e-7. */
INLINE lanes gelu(lanes x) {
    lanes z = either(x < 0.0f, -x, x) * HALF, t = 1.0f / (1.0f + 0.3275911f * z);
    lanes tail = t * (0.254829592f + t * (-0.284496736f + t * (1.421413741f + t * (-1.453152027f + t * 1.061405429f))));
    lanes beyond = 0.5f * tail * exponential(-z * z); /* 1 - Phi(|x|) */
    return x * either(x < 0.0f, beyond, 1.0f - beyond);
}

INLINE float dot(const float *a, const float *b, int64_t n) {
    float sum = 0;
    for (int64_t i = 0; i < n; i++) sum += a[i] * b[i];
    return sum;
}

INLINE int64_t padded(int64_t n) { return (n + LANES - 1) / LANES * LANES; }

/* `rows` rows of y (outputs) = x (inputs) times a matrix, plus a bias where there is one, plus what is there if `add`. */
INLINE void some(const float *x, int64_t x_step, const float *matrix, const float *bias, float *y, int64_t y_step,
                 int64_t inputs, int64_t outputs, const int rows, const int wide, int64_t from, int add) {
    int64_t step = padded(outputs);
    lanes sum[4][4];
    for (int r = 0; r < rows; r++)
        for (int w = 0; w < wide; w++) sum[r][w] = (lanes){0};
    for (int64_t i = 0; i < inputs; i++) {
        const float *line = matrix + i * step + from;
        for (int w = 0; w < wide; w++) {
            lanes weights = load(line + w * LANES);
            for (int r = 0; r < rows; r++) sum[r][w] += x[r * x_step + i] * weights;
        }
    }
    for (int r = 0; r < rows; r++)
        for (int w = 0; w < wide; w++) {
            int64_t at = from + w * LANES;
            float *to = y + r * y_step + at, here[LANES];
            if (outputs - at >= LANES) {
                if (bias) sum[r][w] += load(bias + at);
                if (add) sum[r][w] += load(to);
                store(to, sum[r][w]);
                continue;
            }
            store(here, sum[r][w]);
            for (int64_t i = 0; i < outputs - at; i++)
                to[i] = here[i] + (bias ? bias[at + i] : 0.0f) + (add ? to[i] : 0.0f);
        }
}

INLINE void linear(const float *x, int64_t x_step, const float *matrix, const float *bias, float *y, int64_t y_step,
                   int64_t rows, int64_t inputs, int64_t outputs, int add) {
    for (int64_t row = 0; row < rows;) {
        int together = rows - row >= 4 ? 4 : 1;
        const float *from = x + row * x_step;
        float *to = y + row * y_step;
        for (int64_t at = 0; at < outputs;) {
            int wide = padded(outputs) - at >= 4 * LANES ? 4 : 1;
            if (together == 4 && wide == 4) some(from, x_step, matrix, bias, to, y_step, inputs, outputs, 4, 4, at, add);
            else if (together == 4) some(from, x_step, matrix, bias, to, y_step, inputs, outputs, 4, 1, at, add);
            else if (wide == 4) some(from, x_step, matrix, bias, to, y_step, inputs, outputs, 1, 4, at, add);
            else some(from, x_step, matrix, bias, to, y_step, inputs, outputs, 1, 1, at, add);
            at += wide * LANES;
        }
        row += together;
    }
}

INLINE void rms_norm(const float *x, const float *weight, float *y, int64_t n) {
    float scale = 1.0f / sqrtf(dot(x, x, n) / n + TINY);
    for (int64_t i = 0; i < n; i++) y[i] = x[i] * scale * weight[i];
}

INLINE void unit(float *x, int64_t n) {
    float norm = sqrtf(dot(x, x, n)), scale = 1.0f / (norm > 1e-12f ? norm : 1e-12f);
    for (int64_t i = 0; i < n; i++) x[i] *= scale;
}

#endif
