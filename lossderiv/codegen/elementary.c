/* Elementary functions that a compiler can put inside a vectorised loop: no call, no branch.

   A call of the C library's expf ends vectorisation. Here every function is a few multiplications:
   the argument is brought near 0 by adding what float32 holds exactly (Cody and Waite), a polynomial
   does the rest, its numbers fitted for the smallest largest relative error. How far
   each is off, in float32 ulp, stands in tests/test_compiled_special.py, which holds them to that: 1
   for exp_f and log_f, 2.5 for most. They are right at infinities and zeros.

   One paragraph, one function: the code generator copies those that a kernel needs. */

/* The float whose bits these are, and the bits of a float. */
INLINE float from_bits_f(int32_t bits)
{
    float u;
    memcpy(&u, &bits, sizeof u);
    return u;
}

INLINE int32_t to_bits_f(float u)
{
    int32_t bits;
    memcpy(&bits, &u, sizeof bits);
    return bits;
}

/* a*b + c, rounded once where the processor can: an exact a*b would do as well. */
INLINE float muladd_f(float a, float b, float c)
{
#if defined(__FMA__) || defined(__ARM_FEATURE_FMA)
    return __builtin_fmaf(a, b, c);
#else
    return a * b + c;
#endif
}

INLINE float square_f(float u)
{
    return u * u;
}

INLINE float abs_f(float u)
{
    return __builtin_fabsf(u);
}

INLINE float sqrt_f(float u)
{
    return __builtin_sqrtf(u);
}

INLINE float min_f(float a, float b)
{
    return a < b ? a : b != b ? b : a == a ? b : a;
}

INLINE float max_f(float a, float b)
{
    return a > b ? a : b != b ? b : a == a ? b : a;
}

/* Clamps keep what is not a number, for the bounds never are. */
INLINE float clamp_min_f(float u, float low)
{
    return u < low ? low : u;
}

INLINE float clamp_max_f(float u, float high)
{
    return u > high ? high : u;
}

INLINE float clamp_f(float u, float low, float high)
{
    return clamp_max_f(clamp_min_f(u, low), high);
}

INLINE float relu_f(float u)
{
    return u < 0.0f ? 0.0f : u;
}

/* -1, 0 or 1. */
INLINE float sign_f(float u)
{
    return __builtin_islessgreater(u, 0.0f) ? __builtin_copysignf(1.0f, u) : u;
}

/* 0, 1/2 or 1. */
INLINE float step_f(float u)
{
    return muladd_f(0.5f, sign_f(u), 0.5f);
}

/* The whole number next to u, for |u| < 2^22: adding 1.5 * 2^23 leaves no room for a fraction. */
INLINE float nearest_f(float u)
{
    return (u + 12582912.0f) - 12582912.0f;
}

/* 2^n for a whole n from -126 to 127: beside 1.5 * 2^23, n + 127 stands in the last bits, and a
   shift takes it to where an exponent stands. */
INLINE float power_of_two_f(float n)
{
    return from_bits_f((int32_t)((uint32_t)to_bits_f(n + 12583039.0f) << 23));
}

/* u - n log 2, in two parts: the first product is exact. */
INLINE float less_logs_of_two_f(float u, float n)
{
    return muladd_f(n, 2.12194440e-4f, muladd_f(n, -0.693359375f, u));
}

/* exp(r) - 1 for |r| <= log(2)/2. */
INLINE float expm1_near_f(float r)
{
    const float r2 = r * r;
    const float low = muladd_f(r, 1.66666668e-1f, 0.5f);
    const float middle = muladd_f(r, 8.33327235e-3f, 4.16663482e-2f);
    const float high = muladd_f(r, 1.99147251e-4f, 1.39416813e-3f);
    return muladd_f(muladd_f(muladd_f(high, r2, middle), r2, low), r2, r);
}

/* scale exp(r) for |r| <= log(2)/2; a power of two for scale is multiplied in by the compiler. */
INLINE float exp_near_f(float r, float scale)
{
    const float r2 = r * r;
    const float a = muladd_f(r, 1.66665195e-1f * scale, 4.99999934e-1f * scale);
    const float b = muladd_f(r, 8.36885120e-3f * scale, 4.16684001e-2f * scale);
    const float q = muladd_f(muladd_f(1.38143739e-3f * scale, r2, b), r2, a);
    return muladd_f(muladd_f(q, r, scale), r, scale);
}

/* exp(u) for u <= 0: 2^(n+64) (2^-64 exp(r)), so that what is subnormal is rounded once. Beside
   1.5 * 2^23 + 127 + 64, the last bits of n are an exponent already. */
INLINE float exp_down_f(float u)
{
    const float v = clamp_min_f(u, -104.0f);
    const float beside = muladd_f(v, 1.44269504f, 12583103.0f);
    const float power = from_bits_f((int32_t)((uint32_t)to_bits_f(beside) << 23));
    const float r = less_logs_of_two_f(v, beside - 12583103.0f);
    return exp_near_f(r, 5.42101086e-20f) * power;
}

/* exp(u) by the same way, above 0 as 2^(n-1) (2 exp(r)). */
INLINE float exp_f(float u)
{
    const float v = clamp_f(u, -104.0f, 89.0f);
    const float zero = u < 0.0f ? 12583103.0f : 12583038.0f;
    const float beside = muladd_f(v, 1.44269504f, zero);
    const float power = from_bits_f((int32_t)((uint32_t)to_bits_f(beside) << 23));
    const float p = exp_near_f(less_logs_of_two_f(v, beside - zero), 1.0f);
    return p * power * (u < 0.0f ? 5.42101086e-20f : 2.0f);
}

/* exp(u) - 1 = 2 (2^(n-1) (exp(r) - 1) + (2^(n-1) - 1/2)). */
INLINE float expm1_f(float u)
{
    const float n = nearest_f(u * 1.44269504f);
    const float scale = power_of_two_f(n - 1.0f);
    const float p = expm1_near_f(less_logs_of_two_f(u, n));
    const float inside = 2.0f * muladd_f(p, scale, scale - 0.5f);
    return u > 89.0f ? from_bits_f(0x7f800000) : u < -40.0f ? -1.0f : inside;
}

/* log(1 + f) - f + f^2/2 for 1 + f between sqrt(1/2) and sqrt(2): terms in pairs, which do not wait
   for one another. */
INLINE float log1p_cubic_f(float f)
{
    const float f2 = f * f;
    const float a = muladd_f(f, -2.50008255e-1f, 3.33333164e-1f);
    const float b = muladd_f(f, -1.66239381e-1f, 2.00023651e-1f);
    const float c = muladd_f(f, -1.31338030e-1f, 1.41789451e-1f);
    const float d = muladd_f(f, -7.86710531e-2f, 1.29003048e-1f);
    const float q = muladd_f(muladd_f(d, f2, c), f2 * f2, muladd_f(b, f2, a));
    return q * (f * f2);
}

/* log(1 + f) + e log 2, the large part of log 2 added last. */
INLINE float log_from_f(float f, float e)
{
    const float rest = muladd_f(e, -2.12194440e-4f, log1p_cubic_f(f));
    return muladd_f(e, 0.693359375f, muladd_f(f * -0.5f, f, rest) + f);
}

/* The logarithm at the ends: of 0, of infinity, of what is negative or no number. */
INLINE float log_ends_f(float u, float inside)
{
    const float infinity = from_bits_f(0x7f800000);
    const float nothing = from_bits_f(0x7fc00000);
    return u > 0.0f && u < infinity ? inside : u == 0.0f ? -infinity : u > 0.0f ? u : nothing;
}

/* u = 2^e (1 + f); a subnormal number is first made normal. */
INLINE float log_f(float u)
{
    const int32_t tiny = u < 1.17549435e-38f;
    const int32_t bits = to_bits_f(tiny ? u * 8388608.0f : u) - 0x3f3504f3; /* of sqrt(1/2) */
    const int32_t e = bits >> 23;
    const float f = from_bits_f((bits & 0x007fffff) + 0x3f3504f3) - 1.0f;
    return log_ends_f(u, log_from_f(f, (float)(e - (tiny ? 23 : 0))));
}

/* The same for what is neither subnormal nor infinite, such as a count. */
INLINE float log_normal_f(float u)
{
    const int32_t bits = to_bits_f(u) - 0x3f3504f3;
    const float f = from_bits_f((bits & 0x007fffff) + 0x3f3504f3) - 1.0f;
    return log_from_f(f, (float)(bits >> 23));
}

/* As log_f of w = 1 + u; what rounding took from w is given back to f. */
INLINE float log1p_f(float u)
{
    const float w = 1.0f + u;
    const float lost = u - (w - 1.0f);
    const int32_t bits = to_bits_f(w) - 0x3f3504f3;
    const int32_t e = bits >> 23;
    const float f = from_bits_f((bits & 0x007fffff) + 0x3f3504f3) - 1.0f;
    const float back = e > 30 ? 0.0f : lost * from_bits_f((int32_t)((uint32_t)(127 - e) << 23));
    return log_ends_f(w, log_from_f(f + back, (float)e));
}

/* log(1 + u) for 0 <= u <= 1, where no power of two has to be taken out. */
INLINE float log1p_unit_f(float u)
{
    const float u2 = u * u;
    const float a = muladd_f(u, 3.33213227e-1f, -4.99996480e-1f);
    const float b = muladd_f(u, 1.91536577e-1f, -2.48571645e-1f);
    const float c = muladd_f(u, 7.92045944e-2f, -1.37538077e-1f);
    const float d = muladd_f(u, 5.36483270e-3f, -3.00658267e-2f);
    const float q = muladd_f(muladd_f(d, u2, c), u2 * u2, muladd_f(b, u2, a));
    return muladd_f(q, u2, u);
}

/* log(1 + exp(u)), for u <= 0 and for all u. */
INLINE float softplus_down_f(float u)
{
    return log1p_unit_f(exp_down_f(u));
}

INLINE float softplus_f(float u)
{
    return relu_f(u) + softplus_down_f(-abs_f(u));
}

/* 1/(1 + exp(-u)), for u <= 0 and, from exp(-|u|) on either side, for all u. */
INLINE float sigmoid_down_f(float u)
{
    const float e = exp_down_f(u);
    return e / (1.0f + e);
}

INLINE float sigmoid_f(float u)
{
    const float e = exp_down_f(-abs_f(u));
    return (u < 0.0f ? e : 1.0f) / (1.0f + e);
}

/* log(exp(a) + exp(b)); two equal infinities have no difference. */
INLINE float logaddexp_f(float a, float b)
{
    const float apart = a == b ? 0.0f : abs_f(a - b);
    return max_f(a, b) + log1p_unit_f(exp_down_f(-apart));
}

INLINE float tanh_f(float u)
{
    const float e = expm1_f(-2.0f * abs_f(u));
    const float t = -e / (2.0f + e);
    return u < 0.0f ? -t : t;
}

/* Overflows with expm1_f, at 88.7 in place of 89.4. */
INLINE float sinh_f(float u)
{
    const float e = expm1_f(abs_f(u));
    const float t = e > 1e8f ? 0.5f * e : 0.5f * (e + e / (1.0f + e));
    return u < 0.0f ? -t : t;
}

/* log Gamma(u) for u > 0: from 2.5 on Stirling's formula with Stieltjes' fraction (DLMF 5.10.1);
   below, up to two steps (DLMF 5.5.1) bring u to 2 + t, where a polynomial in t has it. */
INLINE float lgamma_f(float u)
{
    const float z = u < 2.5f ? 2.5f : u;
    const float fraction = 0.08333333f / (z + 0.0333332687f / (z + 0.25212267f / (z + 0.50138177f / (z + 0.619954599f))));
    const float far = muladd_f(z - 0.5f, log_f(z) - 1.0f, 0.418938533f + fraction);
    const float v = u < 2.5f ? u : 2.5f;
    const float up = v < 0.5f ? v * (1.0f + v) : v;
    const float t = v < 0.5f ? v : v < 1.5f ? v - 1.0f : v - 2.0f;
    float p = -2.58725420e-4f;
    p = muladd_f(p, t, 5.73013686e-4f);
    p = muladd_f(p, t, -1.18340815e-3f);
    p = muladd_f(p, t, 2.87780657e-3f);
    p = muladd_f(p, t, -7.38655686e-3f);
    p = muladd_f(p, t, 2.05817391e-2f);
    p = muladd_f(p, t, -6.73522624e-2f);
    p = muladd_f(p, t, 3.22467015e-1f);
    p = muladd_f(p, t, 4.22784335e-1f);
    const float near = v < 1.5f ? p * t - log_f(up) : p * t;
    return u < 2.5f ? near : u < 1e36f ? far : u * (log_f(u) - 1.0f);
}

/* exp(-u) I0(u) for u >= 0: I0's power series (DLMF 10.25.2) up to 8, from there on a polynomial in
   1/u for sqrt(u) exp(-u) I0(u) (DLMF 10.40.1). */
INLINE float i0e_f(float u)
{
    const float v = u < 8.0f ? u : 8.0f;
    const float s = 0.25f * v * v;
    float p = muladd_f(s, 0.00444444444f, 1.0f);
    p = muladd_f(p * s, 0.00510204082f, 1.0f);
    p = muladd_f(p * s, 0.00591715976f, 1.0f);
    p = muladd_f(p * s, 0.00694444444f, 1.0f);
    p = muladd_f(p * s, 0.00826446281f, 1.0f);
    p = muladd_f(p * s, 0.01f, 1.0f);
    p = muladd_f(p * s, 0.012345679f, 1.0f);
    p = muladd_f(p * s, 0.015625f, 1.0f);
    p = muladd_f(p * s, 0.0204081633f, 1.0f);
    p = muladd_f(p * s, 0.0277777778f, 1.0f);
    p = muladd_f(p * s, 0.04f, 1.0f);
    p = muladd_f(p * s, 0.0625f, 1.0f);
    p = muladd_f(p * s, 0.111111111f, 1.0f);
    p = muladd_f(p * s, 0.25f, 1.0f);
    p = muladd_f(p * s, 1.0f, 1.0f);
    const float w = u < 8.0f ? 0.125f : 1.0f / u;
    float q = 0.38796699f;
    q = muladd_f(q, w, -0.0138506042f);
    q = muladd_f(q, w, 0.033785101f);
    q = muladd_f(q, w, 0.0278988034f);
    q = muladd_f(q, w, 0.0498695858f);
    q = muladd_f(q, w, 0.398942292f);
    return u < 8.0f ? p * exp_f(-v) : q * sqrt_f(w);
}

/* exp(u^2) erfc(u): for v = |u| a polynomial in (v - 2)/(v + 2) for (1 + 2 v) of it (after Shepherd
   and Laframboise 1981), and 2 exp(u^2) less that below 0. */
INLINE float erfcx_f(float u)
{
    const float v = abs_f(u);
    const float y = 1.0f - 4.0f / (v + 2.0f);
    float p = 5.92323631e-05f;
    p = muladd_f(p, y, 0.0001612263f);
    p = muladd_f(p, y, -0.000346471497f);
    p = muladd_f(p, y, -0.00139679003f);
    p = muladd_f(p, y, 0.00120587531f);
    p = muladd_f(p, y, 0.00869013648f);
    p = muladd_f(p, y, -0.00801387057f);
    p = muladd_f(p, y, -0.0542123206f);
    p = muladd_f(p, y, 0.164048538f);
    p = muladd_f(p, y, -0.166031048f);
    p = muladd_f(p, y, -0.0927637145f);
    p = muladd_f(p, y, 1.27697837f);
    const float right = 0.5f * p / (0.5f + v);
    const float w = v < 10.0f ? v : 10.0f;
    const float square = w * w;
    const float lost = muladd_f(w, w, -square);
    return u < 0.0f ? 2.0f * exp_f(square) * (1.0f + lost) - right : right;
}

/* psi(u) for u > 0: a fraction as in lgamma_f from 2 on, two steps (DLMF 5.5.2) below. */
INLINE float digamma_f(float u)
{
    const float z = u < 2.0f ? u + 2.0f : u;
    const float fraction = 0.0833333333f / (z + 0.0999994840f / (z + 0.375496987f / (z + 0.681498767f / (z + 0.707636680f))));
    const float far = log_f(z) - (0.5f + fraction) / z;
    return u < 2.0f ? far - (1.0f / u + 1.0f / (1.0f + u)) : far;
}

/* From here on the C library's own, which a loop cannot vectorise. */

INLINE float pow_f(float a, float b)
{
    return __builtin_powf(a, b);
}

INLINE float atan_f(float u)
{
    return __builtin_atanf(u);
}

INLINE float cosh_f(float u)
{
    return __builtin_coshf(u);
}

INLINE float asinh_f(float u)
{
    return __builtin_asinhf(u);
}

INLINE float atanh_f(float u)
{
    return __builtin_atanhf(u);
}

INLINE float erf_f(float u)
{
    return __builtin_erff(u);
}

INLINE float erfc_f(float u)
{
    return __builtin_erfcf(u);
}

INLINE float floor_f(float u)
{
    return __builtin_floorf(u);
}

INLINE float ceil_f(float u)
{
    return __builtin_ceilf(u);
}
