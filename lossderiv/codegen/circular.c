/* Sine, cosine and tangent without a call: one polynomial, after the angle has been brought to at
   most pi/2. */

/* The angle u in units of 2 pi/2^32, less whole turns, for 2^23 <= |u| < 2^128: the whole number of
   u's mantissa times those bits of 1/(2 pi) that its exponent leaves behind the point (Payne and
   Hanek 1983). */
INLINE uint32_t far_angle_f(float u)
{
    const uint32_t bits = (uint32_t)to_bits_f(u);
    const uint64_t mantissa = (bits & 0x007fffffu) | 0x00800000u;
    const uint32_t shift = ((bits >> 23) & 0xffu) - 150u;
    const int over = shift >= 64u && shift < 128u;
    const uint64_t high = over ? 0x7f09d5f47d4d3770u : 0x28be60db9391054au;
    const uint64_t low = over ? 0x36d8a5664f10e410u : 0x7f09d5f47d4d3770u;
    const uint64_t window = (high << (shift & 63u)) | ((low >> 1) >> (63u - (shift & 63u)));
    const uint32_t turned = (uint32_t)((mantissa * window) >> 32);
    return u < 0.0f ? 0u - turned : turned;
}

/* sin(u + quarters pi/2) for 0 or 1 quarters: it is sin(r) or -sin(r), r what a multiple of pi
   leaves, at most pi/2. Below 2^23 by Cody and Waite in double precision, whose products with a
   float are exact. Beyond, where one number is a radian and more from the next, r is good to 1e-9.
*/
INLINE float sine_f(float u, int32_t quarters)
{
    const int far = !(abs_f(u) < 8388608.0f);
    const double d = far ? 0.0f : u;
    const double shift = 0.5f * quarters;
    const double turns = d * ((double)0.318309873f + 1.28412765e-8f) + shift;
    const double n = (turns + 6755399441055744.0f) - 6755399441055744.0f;
    const double h = n - shift;
    const double left = ((d - h * 3.14159274f) + h * 8.74227766e-8f) + h * 3.430249e-15f;
    const float near_r = (float)left;
    const uint32_t turned = far_angle_f(u) + ((uint32_t)quarters << 30);
    const uint32_t half = (turned + 0x40000000u) & 0x80000000u;
    const float far_r = 1.4629181e-9f * (float)(int32_t)(turned - half);
    const float r = far ? far_r : near_r;
    const int odd = far ? half != 0u : ((int32_t)n & 1) != 0;
    const float s = r * r;
    const float low = muladd_f(s, 8.33306616e-3f, -1.66666595e-1f);
    const float high = muladd_f(s, 2.60576530e-6f, -1.98095962e-4f);
    const float sine = muladd_f(muladd_f(high, s * s, low), s * r, r);
    return u - u == 0.0f ? (odd ? -sine : sine) : u - u;
}

INLINE float sin_f(float u)
{
    return sine_f(u, 0);
}

INLINE float cos_f(float u)
{
    return sine_f(u, 1);
}

INLINE float tan_f(float u)
{
    return sine_f(u, 0) / sine_f(u, 1);
}
