// The page: controls on one side, three drawings of one state on the other.
const root = document.getElementById("loss-explorer");
const find = (selector) => root.querySelector(selector);
const chosen = find("#le-family"), axis = find("#le-axis"), keep = find("#le-constants");
const SVG = "http://www.w3.org/2000/svg";

let family, raw, x, swept; // the state: which family, its raw outputs, the target, the axis

const lossAt = (etas, target) => family.loss(...etas, target);
const exactAt = (etas, target) => lossAt(etas, target) + family.dropped(target);
const slopesAt = (etas, target) => [family.gradient(...etas, target)].flat();
const moved = (value) => raw.map((eta, i) => (i === swept ? value : eta));

// Numbers as the Atlas writes them: three digits, a true minus.
const number = (value) => {
  if (Number.isNaN(value)) return "undefined";
  if (!Number.isFinite(value)) return value > 0 ? "∞" : "−∞";
  const size = Math.abs(value);
  const text = size < 5e-4 ? "0" : size < 1e4 && size >= 0.01
    ? String(Number(value.toFixed(size < 10 ? 3 : 1))) : value.toExponential(1);
  return text.replace("-", "−");
};

// --- drawing -----------------------------------------------------------------------------------

const LEFT = 42, RIGHT = 332, TOP = 10, BOTTOM = 192;

const ticks = (low, high) => {
  const rough = (high - low) / 4, power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((m) => m * power).find((s) => s >= rough);
  const found = [];
  for (let k = Math.ceil(low / step - 1e-9); k * step <= high + 1e-9 * step; k++) found.push(k * step);
  return found;
};

const chart = (svg, [left, right], [low, high], label) => {
  const across = (v) => LEFT + ((v - left) / (right - left)) * (RIGHT - LEFT);
  const up = (v) => BOTTOM - ((v - low) / (high - low)) * (BOTTOM - TOP);
  const add = (kind, attributes, text = "") => {
    const node = document.createElementNS(SVG, kind);
    for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
    node.textContent = text;
    svg.append(node);
  };
  svg.replaceChildren();
  for (const v of ticks(low, high)) {
    add("line", { class: "grid", x1: LEFT, x2: RIGHT, y1: up(v), y2: up(v) });
    add("text", { x: LEFT - 6, y: up(v) + 4, "text-anchor": "end" }, number(v));
  }
  for (const v of ticks(left, right)) {
    add("text", { x: across(v), y: BOTTOM + 16, "text-anchor": "middle" }, number(v));
  }
  add("text", { x: (LEFT + RIGHT) / 2, y: BOTTOM + 33, "text-anchor": "middle" }, label);
  // Points outside are cut off between two of them, so a line leaves the picture where it should.
  const inside = ([, v]) => Number.isFinite(v);
  const limit = (v) => Math.min(BOTTOM + 400, Math.max(TOP - 400, up(v)));
  return {
    line: (points, kind) => {
      let pen = "M", path = "";
      for (const p of points) {
        if (inside(p)) path += `${pen}${across(p[0]).toFixed(2)},${limit(p[1]).toFixed(2)}`;
        pen = inside(p) ? "L" : "M";
      }
      add("path", { class: `curve ${kind}`, d: path, "clip-path": "url(#le-frame)" });
    },
    area: (points) => {
      const there = points.filter(inside);
      if (there.length === 0) return;
      const edge = there.map((p) => `L${across(p[0]).toFixed(2)},${limit(p[1]).toFixed(2)}`).join("");
      const d = `M${across(there[0][0])},${up(0)}${edge}L${across(there.at(-1)[0])},${up(0)}Z`;
      add("path", { class: "area", d, "clip-path": "url(#le-frame)" });
    },
    stems: (points, kind) => {
      for (const [at, v] of points) {
        add("line", { class: `curve ${kind}`, x1: across(at), x2: across(at), y1: up(0), y2: limit(v) });
      }
    },
    mark: (at, kind) => add("line", { class: kind, x1: across(at), x2: across(at), y1: TOP, y2: BOTTOM }),
    flat: (v) => add("line", { class: "x", "stroke-opacity": 0.5, x1: LEFT, x2: RIGHT, y1: up(v), y2: up(v) }),
    dot: (at, v) => {
      if (!Number.isFinite(v)) return;
      const y = Math.min(BOTTOM, Math.max(TOP, up(v)));
      add("circle", { class: "dot", cx: across(at), cy: y, r: 6 });
    },
  };
};

const grid = (low, high, count = 241) =>
  Array.from({ length: count }, (_, i) => low + ((high - low) * i) / (count - 1));

const finite = (points) => points.map(([, v]) => v).filter(Number.isFinite);

// What of a steep curve is in view: its bottom, and as much above as shows its shape.
const view = (values) => {
  const sorted = [...values].sort((a, b) => a - b);
  if (sorted.length === 0) return [0, 1];
  const [low, high] = [sorted[0], sorted.at(-1)], middle = sorted[sorted.length >> 1];
  const top = low + Math.min(high - low, Math.max(6, 3 * (middle - low)));
  const pad = 0.06 * (top - low) || 1;
  return [low - pad, top + pad];
};

const caption = (kind, text, description) => {
  find(`.${kind} figcaption`).textContent = text;
  find(`.${kind} svg`).setAttribute("aria-label", description);
  return find(`.${kind} svg`);
};

const show = () => {
  const output = family.outputs[swept];
  const spot = output.name, eta = raw[swept];
  const loss = lossAt(raw, x), dropped = family.dropped(x), exact = loss + dropped;
  const slope = slopesAt(raw, x)[swept];
  const density = Math.exp(-exact);
  const kind = family.integer ? "probability" : "density";
  const values = raw.map((v, i) => `${family.outputs[i].name} = ${number(v)}`).join(", ");

  const { low, high } = family.x;
  const places = family.integer ? grid(low, high, high - low + 1) : grid(low, high, 361);
  const ps = places.map((at) => [at, Math.exp(-exactAt(raw, at))]);
  const heights = finite(ps).sort((a, b) => a - b);
  const usual = family.integer ? heights.at(-1) : heights[Math.floor(0.97 * heights.length)];
  const peak = heights.at(-1) > 2.5 * usual ? 1.6 * usual : heights.at(-1); // an end may be infinite
  const span = family.integer ? [low - 0.5, high + 0.5] : [low, high];
  const first = chart(
    caption("density", `The ${kind} of x`,
      `The ${kind} of x at ${values}. At the target x = ${number(x)} it is ${number(density)}.`),
    span, [0, 1.12 * peak || 1], "x (drag the target)",
  );
  if (family.integer) first.stems(ps, "p");
  else { first.area(ps); first.line(ps, "p"); }
  first.mark(x, "x");
  first.dot(x, density);

  const etas = grid(output.low, output.high);
  const kept = keep.checked;
  const drawn = etas.map((v) => [v, kept ? exactAt(moved(v), x) : lossAt(moved(v), x)]);
  const other = etas.map((v) => [v, kept ? lossAt(moved(v), x) : exactAt(moved(v), x)]);
  const now = kept ? exact : loss;
  const second = chart(
    caption("loss", kept ? "The loss, constants kept" : "The loss, constants dropped",
      `The loss over the raw output ${spot}, at x = ${number(x)}. Here it is ${number(now)}.`),
    [output.low, output.high], view([...finite(drawn), now].filter(Number.isFinite)),
    `raw output ${spot} (drag)`,
  );
  second.line(other, "l other");
  second.line(drawn, "l");
  const width = (output.high - output.low) / 9;
  if (Number.isFinite(slope)) {
    second.line([[eta - width, now - slope * width], [eta + width, now + slope * width]], "x");
  }
  second.dot(eta, now);

  const slopes = etas.map((v) => [v, slopesAt(moved(v), x)[swept]]);
  const shown = slopes.filter((_, i) => Number.isFinite(drawn[i][1]));
  const [bottom, top] = view(finite(shown).map(Math.abs));
  const reach = finite(shown);
  const third = chart(
    caption("slope", "Its slope",
      `The slope of the loss over ${spot}. Here it is ${number(slope)}.`),
    [output.low, output.high],
    [Math.max(Math.min(0, ...reach) - 0.05, -top), Math.min(Math.max(0, ...reach) + 0.05, top)],
    `raw output ${spot} (drag)`,
  );
  third.flat(0);
  third.line(shown, "l");
  third.dot(eta, slope);

  root.querySelectorAll(".slider").forEach((slider, i) => {
    const input = slider.querySelector("input"), said = slider.querySelector("output");
    if (i === 0) {
      input.value = x;
      said.textContent = number(x);
      return;
    }
    const theta = family.theta(...raw)[i - 1], { parameter } = family.outputs[i - 1];
    input.value = raw[i - 1];
    said.textContent = `${number(raw[i - 1])}, so ${parameter} = ${number(theta)}`;
  });

  const direction = slope > 0 ? "down" : "up";
  const advice = !Number.isFinite(exact) ? "This target is impossible here: the loss is infinite."
    : Math.abs(slope) < 5e-4 ? `The slope in ${spot} is 0: nothing pulls.`
    : `The slope in ${spot} is ${number(slope)}: a step of gradient descent moves it ${direction}.`;
  const sum = Math.abs(dropped) < 5e-4 ? "" : ` = ${number(loss)} (loss) + ${number(dropped)} (constants)`;
  find(".status").textContent =
    `p(x) = ${number(density)}, and −log p(x) = ${number(exact)} nats${sum}. ${advice}`;
};

// --- controls ----------------------------------------------------------------------------------

const nearest = (value, { low, high, step }) =>
  Math.min(high, Math.max(low, Number((Math.round(value / step) * step).toPrecision(12))));

const setTarget = (value) => { x = nearest(value, family.x); show(); };
const setOutput = (i, value) => { raw[i] = nearest(value, family.outputs[i]); show(); };

const slider = (label, range, set) => {
  const row = document.createElement("div"), input = document.createElement("input");
  const name = document.createElement("label"), said = document.createElement("output");
  row.className = "slider";
  Object.assign(input, { type: "range", min: range.low, max: range.high, step: range.step });
  input.id = `le-slider-${find(".sliders").children.length}`;
  name.htmlFor = input.id;
  said.htmlFor = input.id;
  said.setAttribute("aria-live", "off");
  name.innerHTML = label.replace(/_(\S+)/, "<sub>$1</sub>");
  input.addEventListener("input", () => set(Number(input.value)));
  row.append(name, input, said);
  find(".sliders").append(row);
};

const typeset = () => {
  const { tex, outputs, constant } = family, formula = find(".formula");
  const line = (text) => {
    const made = document.createElement("p");
    made.textContent = text;
    return made;
  };
  const left = constant === "0" ? "nothing is dropped" : `dropped: \\(${constant}\\)`;
  const slope = `\\frac{\\partial \\ell}{\\partial ${outputs[swept].tex}} = ${tex.slopes[swept]}`;
  window.MathJax?.typesetClear?.([formula]);
  formula.replaceChildren(
    line(`\\(\\displaystyle \\ell = ${tex.loss}\\)${tex.where && `, where \\(${tex.where}\\)`}; ${left}`),
    line(`\\(\\displaystyle ${slope}\\)`),
  );
  // Before MathJax has started it will come to this element by itself.
  window.MathJax?.typesetPromise?.([formula]);
};

const choose = (name) => {
  family = families[name];
  raw = family.outputs.map((output) => output.start);
  x = family.x.start;
  swept = 0;
  chosen.value = name;
  const page = find(".family-page");
  page.href = `families/${name}.html`;
  page.textContent = `${family.title} in the Atlas`;
  axis.replaceChildren(...family.outputs.map((output, i) => new Option(output.name, i)));
  find(".sliders").replaceChildren();
  slider(family.given ? `target x (${family.given})` : "target x", family.x, setTarget);
  family.outputs.forEach((output, i) => slider(`output ${output.name}`, output, (v) => setOutput(i, v)));
  typeset();
  show();
};

// A finger or mouse on a drawing moves what lies on its horizontal axis.
const draggable = (svg, range, set) => {
  const follow = (event) => {
    const box = svg.getBoundingClientRect(), [low, high] = range();
    const inside = ((event.clientX - box.left) / box.width) * 340;
    set(low + ((inside - LEFT) / (RIGHT - LEFT)) * (high - low));
  };
  svg.addEventListener("pointerdown", (event) => {
    svg.setPointerCapture(event.pointerId);
    follow(event);
  });
  svg.addEventListener("pointermove", (event) => {
    if (svg.hasPointerCapture(event.pointerId)) follow(event);
  });
};
const half = () => (family.integer ? 0.5 : 0);
draggable(find(".density svg"), () => [family.x.low - half(), family.x.high + half()], setTarget);
for (const kind of [".loss svg", ".slope svg"]) {
  draggable(find(kind), () => [family.outputs[swept].low, family.outputs[swept].high],
    (v) => setOutput(swept, v));
}

chosen.addEventListener("change", () => choose(chosen.value));
axis.addEventListener("change", () => {
  swept = Number(axis.value);
  typeset();
  show();
});
keep.addEventListener("change", show);
window.addEventListener("hashchange", () => named() && choose(named()));
const named = () => Object.keys(families).find((name) => `#${name}` === location.hash);

// For tests and for the curious: all numbers of a family at given raw outputs and target.
root.compute = (name, etas, target) => {
  const f = families[name], loss = f.loss(...etas, target);
  return {
    loss, exact: loss + f.dropped(target), theta: f.theta(...etas),
    gradient: [f.gradient(...etas, target)].flat(),
  };
};
root.families = families;
choose(named() ?? chosen.value);
