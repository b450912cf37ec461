/* Rows of the table of special functions with a C spelling of their own, for float32.

   The table's torch spelling, read as C, computes the same numbers; what is here takes fewer
   divisions and logarithms. Both sides of a choice are computed, so one formula with a chosen
   argument is better than two with a chosen result, and the pieces that the rows of one family
   share, such as exp(-|u + v|), are spelled alike everywhere: the compiler computes them once.
   Polynomials are fitted for the smallest largest relative error on the range that is named. */

/* (q - log(1 + q)) / q^2 for q from -0.4 to 0.8: terms in pairs, which do not wait for one
   another. */
INLINE float bend_near_f(float q)
{
    const float q2 = q * q;
    const float a = muladd_f(q, -3.33333387e-1f, 5.00000005e-1f);
    const float b = muladd_f(q, -1.99994037e-1f, 2.49998822e-1f);
    const float c = muladd_f(q, -1.43059070e-1f, 1.66710594e-1f);
    const float d = muladd_f(q, -1.08353710e-1f, 1.24540176e-1f);
    const float e = muladd_f(q, -1.05567618e-1f, 9.99710844e-2f);
    const float f = muladd_f(q, -6.46973477e-2f, 1.02900043e-1f);
    const float high = muladd_f(muladd_f(muladd_f(q2, 1.77820658e-2f, f), q2, e), q2, d);
    return muladd_f(muladd_f(muladd_f(high, q2, c), q2, b), q2, a);
}

INLINE float log1p_bend_f(float q)
{
    const int near = abs_f(q - 0.2f) < 0.6f;
    const float far = near ? 1.0f : q;
    const float i = 1.0f / far;
    return near ? bend_near_f(clamp_f(q, -0.4f, 0.8f)) : (1.0f - log1p_f(far) * i) * i;
}

/* k log Gamma(k) less k times Stirling's formula, for k = 1/i from 1 on, in s = i^2 (DLMF 5.11.1).
*/
INLINE float binet_far_f(float s)
{
    const float s2 = s * s;
    const float a = muladd_f(s, -2.77756719e-3f, 8.3333332e-2f);
    const float b = muladd_f(s, -5.36483502e-4f, 7.88137155e-4f);
    const float c = muladd_f(s, -3.80837859e-4f, 4.87725443e-4f);
    const float d = muladd_f(s, -4.19773631e-5f, 1.89136819e-4f);
    return muladd_f(muladd_f(muladd_f(d, s2, c), s2, b), s2, a);
}

/* binet(k), given log k: below 1, log Gamma(1 + k) + k - log(2 pi)/2 is a polynomial in k - 1. */
INLINE float binet_by_log_f(float k, float log_k)
{
    const float i = 1.0f / k;
    const float t = clamp_max_f(k, 1.0f) - 1.0f;
    const float t2 = t * t;
    const float a = muladd_f(t, 1.42278413f, 8.10614659e-2f);
    const float b = muladd_f(t, -6.74752302e-2f, 3.22458828e-1f);
    const float c = muladd_f(t, -1.10003990e-2f, 1.96820882e-2f);
    const float d = muladd_f(t, -1.27549099e-2f, -5.56272738e-3f);
    const float e = muladd_f(t, -3.21312943e-3f, -8.23773829e-3f);
    const float up = muladd_f(muladd_f(muladd_f(muladd_f(e, t2, d), t2, c), t2, b), t2, a);
    const float near = muladd_f(-0.5f - k, log_k, up);
    return k < 1.0f ? near : i * binet_far_f(i * i);
}

INLINE float binet_f(float k)
{
    return binet_by_log_f(k, log_f(k));
}

/* k^2 (psi(k) - log k) + k/2, given log k: from 1 on a polynomial in 1/k^2 (DLMF 5.11.2); below,
   psi(1 + k) = psi(k) + 1/k (DLMF 5.5.2) is one in k - 1. */
INLINE float digamma_rest_f(float k, float log_k)
{
    const float i = 1.0f / k;
    const float s = i * i;
    const float s2 = s * s;
    const float a = muladd_f(s, 8.33126281e-3f, -8.33333202e-2f);
    const float b = muladd_f(s, 3.56270217e-3f, -3.91310292e-3f);
    const float c = muladd_f(s, 3.15528977e-3f, -3.76167863e-3f);
    const float d = muladd_f(s, 3.67959123e-4f, -1.62476488e-3f);
    const float far = muladd_f(muladd_f(muladd_f(d, s2, c), s2, b), s2, a);
    const float t = clamp_max_f(k, 1.0f) - 1.0f;
    const float t2 = t * t;
    const float e = muladd_f(t, 6.44940155e-1f, 4.22784367e-1f);
    const float f = muladd_f(t, 8.45905010e-2f, -2.01867841e-1f);
    const float g = muladd_f(t, 6.42102514e-2f, -2.32330211e-2f);
    const float h = muladd_f(t, 1.19713589e-1f, 8.71076554e-2f);
    const float j = muladd_f(t, 2.47288148e-2f, 7.61765180e-2f);
    const float up = muladd_f(muladd_f(muladd_f(muladd_f(j, t2, h), t2, g), t2, f), t2, e);
    const float near = k * muladd_f(k, up - log_k, -0.5f);
    return k < 1.0f ? near : far;
}

/* r = 1/a, and its log for a = exp(v). Beyond 1e17 what depends on it no longer counts. */
INLINE float inverse_spread_f(float a)
{
    return clamp_max_f(1.0f / a, 1e17f);
}

INLINE float log_inverse_spread_f(float v)
{
    return clamp_max_f(-v, 39.1439466f);
}

INLINE float rising_stirling_by_log_f(float x, float a, float log_r)
{
    const float r = inverse_spread_f(a);
    const float grown = log1p_f(a * x);
    const float here = binet_by_log_f(r, log_r);
    return 0.5f * grown + (here - binet_by_log_f(x + r, log_r + grown));
}

INLINE float rising_stirling_f(float x, float a)
{
    return rising_stirling_by_log_f(x, a, log_f(inverse_spread_f(a)));
}

INLINE float rising_stirling_of_exp_f(float x, float v)
{
    return rising_stirling_by_log_f(x, exp_f(v), log_inverse_spread_f(v));
}

/* With D(k) = psi(k) - log k and R(k) = k^2 D(k) + k/2, r^2 (D(x + r) - D(r)) is
   x q/2 + q^2 R(x + r) - R(r), q = r/(x + r): exactly 0 for no count. */
INLINE float rising_stirling_slope_by_log_f(float x, float a, float log_r)
{
    const float r = inverse_spread_f(a);
    const float k = x + r;
    const float q = k == r ? 1.0f : r * (1.0f / k);
    const float there = digamma_rest_f(k, log_r + log1p_f(a * x));
    return 0.5f * x * q + (q * q * there - digamma_rest_f(r, log_r));
}

INLINE float rising_stirling_slope_f(float x, float a)
{
    return rising_stirling_slope_by_log_f(x, a, log_f(inverse_spread_f(a)));
}

/* The four terms of the overdispersed rows share eta = u + v and e = exp(-|eta|). */
INLINE float overdispersed_score_f(float x, float u, float v)
{
    const float eta = u + v;
    const float e = exp_down_f(-abs_f(eta));
    const float larger = 1.0f / (1.0f + e);
    const float first = exp_f(eta < 0.0f ? u : -v) * larger;
    return first - x * (eta < 0.0f ? larger : e * larger);
}

/* overdispersed_pull, given log(1 + x exp(v)) */
INLINE float overdispersed_pull_by_log_f(float x, float u, float v, float grown)
{
    const float a = exp_f(v);
    const float share = -overdispersed_score_f(x, u, v);
    const float w = share * a;
    const int near = abs_f(w - 0.2f) < 0.6f;
    const float far = share - 1.0f / a * (grown - softplus_f(u + v));
    return near ? share * w * bend_near_f(clamp_f(w, -0.4f, 0.8f)) : far;
}

INLINE float overdispersed_pull_f(float x, float u, float v)
{
    return overdispersed_pull_by_log_f(x, u, v, log1p_f(exp_f(v) * x));
}

INLINE float overdispersed_balance_f(float x, float u, float v)
{
    const float a = exp_f(v);
    const float eta = u + v;
    const int alone = (x == 1.0f) & (u < -0.6931472f);
    const float e = exp_down_f(-abs_f(eta));
    const float larger = 1.0f / (1.0f + e);
    const float share = eta < 0.0f ? e * larger : larger;
    const float rising = rising_stirling_slope_by_log_f(x, a, log_inverse_spread_f(v));
    const float whole = alone ? share : a * rising;
    const float grown = alone ? 0.0f : log1p_f(a * x);
    return whole - overdispersed_pull_by_log_f(alone ? 0.0f : x, u, v, grown);
}

INLINE float overdispersed_deviance_f(float x, float u, float v)
{
    const int some = x > 0.0f;
    const float k = some ? x : 1.0f;
    const float grown = log1p_f(exp_f(v) * x);
    const float share = -overdispersed_score_f(x, u, v);
    const float t = -share / k;
    const int near = some & (abs_f(t - 0.2f) < 0.6f);
    const float far = -share - x * ((u - log_normal_f(k)) + (grown - softplus_f(u + v)));
    const float count = near ? -share * t * bend_near_f(clamp_f(t, -0.4f, 0.8f)) : far;
    return overdispersed_pull_by_log_f(x, u, v, grown) + count;
}

INLINE float binomial_part_f(float k, float pull, float u, float log)
{
    const float t = pull / (k > 0.0f ? k : 1.0f);
    const int near = (k > 0.0f) & (abs_f(t - 0.2f) < 0.6f);
    const float far = pull - k * (log - softplus_f(-u));
    return near ? pull * t * bend_near_f(clamp_f(t, -0.4f, 0.8f)) : far;
}

INLINE float binomial_deviance_f(float a, float b, float u)
{
    const float pull = binomial_pull_f(a, b, u);
    const float low = min_f(a, b);
    const float most = max_f(a, b);
    const float high = most > 0.0f ? most : 1.0f;
    const float ratio = sqrt_f(low > 0.0f ? low : high) / sqrt_f(high);
    const float small = log1p_f(low / high);
    const float large = small - 2.0f * log_f(ratio);
    return binomial_part_f(a, pull, u, a < b ? large : small)
        + binomial_part_f(b, -pull, -u, a < b ? small : large);
}

/* One logarithm: from 2^63 on, of the square of z/2^64. */
INLINE float log1p_square_f(float z)
{
    const float a = abs_f(z);
    const int large = a > 9.22337204e18f;
    const float scaled = large ? a * 5.42101086e-20f : a;
    const float square = scaled * scaled;
    const float log = log1p_f(large ? square - 1.0f : square);
    return large ? log + 88.7228391f : log;
}

/* 1/(1 + z^2) is i^2 q with i = 1/max(|z|, 1), and z^2/(1 + z^2) is (z i)^2 q. */
INLINE float smaller_inverse_f(float z)
{
    return 1.0f / clamp_min_f(abs_f(z), 1.0f);
}

INLINE float square_share_f(float z)
{
    const float i = smaller_inverse_f(z);
    const float u = z * i;
    return 1.0f / (u * u + i * i);
}

INLINE float cauchy_score_f(float z)
{
    const float i = smaller_inverse_f(z);
    return 2.0f * (z * i) * i * square_share_f(z);
}

INLINE float student_score_f(float z, float v)
{
    const float root = exp_f(-0.5f * v);
    const float w = z * root;
    const float i = smaller_inverse_f(w);
    return z * i * (1.0f + root * root) * i * square_share_f(w);
}

INLINE float student_balance_f(float z, float v)
{
    const float w = z * exp_f(-0.5f * v);
    const float i = smaller_inverse_f(w);
    return (1.0f - z) * i * ((1.0f + z) * i) * square_share_f(w);
}

INLINE float scaled_square_pull_f(float k, float z)
{
    const float v = square_f(clamp_max_f(abs_f(z), 0.8f));
    const float q = square_share_f(z);
    const float u = z * smaller_inverse_f(z);
    const float close = k * v * v * (q - bend_near_f(v));
    return abs_f(z) < 0.8f ? close : k * (log1p_square_f(z) - u * u * q);
}

/* One step up, from h = nu/2 to z = h + 1, where z times the constant is a polynomial in 1/z^2. */
INLINE float student_constant_f(float nu)
{
    const float h = 0.5f * nu;
    const float i = 1.0f / (h + 1.0f);
    const float s = i * i;
    const float s2 = s * s;
    const float a = muladd_f(s, -5.20791166e-3f, 1.24999997e-1f);
    const float b = muladd_f(s, -1.06826869e-3f, 1.55146421e-3f);
    const float c = muladd_f(s, -7.60713594e-4f, 9.73701204e-4f);
    const float d = muladd_f(s, -8.38445837e-5f, 3.77810839e-4f);
    const float tail = i * muladd_f(muladd_f(muladd_f(d, s2, c), s2, b), s2, a);
    return 0.5f * log1p_f(0.25f / h * i) + tail;
}

/* As student_constant: minus z^2 times its slope in z. */
INLINE float student_constant_pull_f(float nu)
{
    const float h = 0.5f * nu;
    const float i = 1.0f / (h + 1.0f);
    const float s = i * i;
    const float s2 = s * s;
    const float a = muladd_f(s, -1.5624367e-2f, 1.24999997e-1f);
    const float b = muladd_f(s, -7.86459179e-3f, 7.78649452e-3f);
    const float c = muladd_f(s, -1.52412859e-2f, 1.10232565e-2f);
    const float d = muladd_f(s, -1.21676717e-2f, 1.65279141e-2f);
    const float e = muladd_f(s, -1.00248342e-3f, 5.26837386e-3f);
    const float tail = muladd_f(muladd_f(muladd_f(muladd_f(e, s2, d), s2, c), s2, b), s2, a);
    return -(0.25f / (h + 0.5f) * i + tail * i * (h * i));
}

/* Two steps up (DLMF 5.5.2) to z = a + 2 and w = z + b. There psi(k) = log k - 1/(2 k) - R(1/k^2)
   with a polynomial R (DLMF 5.11.2), fitted to its slope; the difference of two of its values is
   taken by Horner's scheme for the quotient, so that a small b loses nothing. */
INLINE float digamma_gap_f(float a, float b)
{
    const float z = a + 2.0f;
    const float w = z + b;
    const float i = 1.0f / z;
    const float j = 1.0f / w;
    const float s = i * i;
    const float t = j * j;
    const float p0 = muladd_f(2.05567766e-3f, t, -3.17905348e-3f);
    const float p1 = muladd_f(p0, t, 3.87345976e-3f);
    const float p2 = muladd_f(p1, t, -8.32946243e-3f);
    const float p3 = muladd_f(p2, t, 8.33332988e-2f);
    const float q0 = muladd_f(2.05567766e-3f, s, p0);
    const float q1 = muladd_f(q0, s, p1);
    const float q2 = muladd_f(q1, s, p2);
    const float quotient = muladd_f(q2, s, p3);
    const float part = b * j * i;
    const float tail = part * (0.5f + (i + j) * quotient);
    const float first = b / (a + b) / a;
    const float second = b / (a + 1.0f + b) / (a + 1.0f);
    return -(first + second + log1p_f(b * i) + tail);
}

/* By Stirling's formula at x + r and r = 1/a: what is large in it cancels on paper. */
INLINE float rising_log_f(float x, float a)
{
    const float r = clamp_max_f(1.0f / a, 1e17f);
    const float y = a * x;
    const float log_r = log_f(r);
    const float grown = log1p_f(y);
    const float near = x * (grown - y * bend_near_f(clamp_max_f(y, 0.8f)));
    const float far = (x + r) * grown - x;
    const float binets = binet_by_log_f(x + r, log_r + grown) - binet_by_log_f(r, log_r);
    return (y < 0.8f ? near : far) - 0.5f * grown + binets;
}
