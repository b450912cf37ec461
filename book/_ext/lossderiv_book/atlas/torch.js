// The functions of torch (and Python's range) that generated losses call, for single numbers of double precision.
const range = (from, to, step) =>
  Array.from({ length: Math.max(0, Math.ceil((to - from) / step)) }, (_, i) => from + i * step);

const torch = {
  abs: Math.abs, cos: Math.cos, exp: Math.exp, expm1: Math.expm1, log: Math.log,
  log1p: Math.log1p, maximum: Math.max, minimum: Math.min, sign: Math.sign, sin: Math.sin,
  sinh: Math.sinh, sqrt: Math.sqrt, tanh: Math.tanh,
  relu: (u) => Math.max(u, 0),
  clamp: (u, low, high) => Math.min(Math.max(u, low), high),
  clamp_max: Math.min, clamp_min: Math.max,
  sigmoid: (u) => (u < 0 ? Math.exp(u) / (1 + Math.exp(u)) : 1 / (1 + Math.exp(-u))),
  // Stirling's series (DLMF 5.11.1) from 15 on, where seven terms reach the last digit of a
  // double; the recurrence (DLMF 5.5.1) leads there.
  lgamma: (u) => {
    let product = 1;
    for (; u < 15; u += 1) product *= u;
    const s = 1 / (u * u);
    let series = 0;
    for (const c of [1 / 156, -691 / 360360, 1 / 1188, -1 / 1680, 1 / 1260, -1 / 360, 1 / 12]) {
      series = series * s + c;
    }
    return (u - 0.5) * Math.log(u) - u + 0.5 * Math.log(2 * Math.PI) + series / u
      - Math.log(product);
  },
  special: {
    // I0(u) exp(-u): the power series (DLMF 10.25.2) up to 20, then the one in 1/u (10.40.1).
    i0e: (u) => {
      let term = 1, sum = 1;
      if (u < 20) {
        for (let k = 1; term > 1e-17 * sum; k++) sum += term *= (u * u) / (4 * k * k);
        return sum * Math.exp(-u);
      }
      for (let k = 1; term > 1e-17 * sum && k < 40; k++) {
        sum += term *= (2 * k - 1) ** 2 / (8 * k * u);
      }
      return sum / Math.sqrt(2 * Math.PI * u);
    },
  },
};
