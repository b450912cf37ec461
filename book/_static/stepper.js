// A derivation's table, one move at a time: a line, below it the next, and what changed marked in
// both. Without this script the table is simply whole.
//
// What changed is found in the typeset formulas: the glyphs of a line and of the one before it are
// matched in order (a longest common subsequence); what has no partner went, or is new.
(() => {
  "use strict";
  const SVG = "http://www.w3.org/2000/svg";
  const SLOPE = /^\d+\. slope in ([^:]+):/;

  const LEAF = ["mi", "mn", "mo", "mtext"].map((kind) => `[data-mml-node="${kind}"]`).join();

  // The letters, numbers and signs of a row in reading order: its formula, and what follows "where".
  const leaves = (row) => {
    const cell = row.cells[1], line = cell.querySelector("br");
    const after = Node.DOCUMENT_POSITION_FOLLOWING;
    const found = [...cell.querySelectorAll(LEAF)].map((node) => ({
      node,
      sign: node.dataset.mmlNode === "mo",
      text: [...node.querySelectorAll("[data-c]")].map((glyph) => glyph.dataset.c).join(" "),
      depth: depth(node),
      where: Boolean(line && line.compareDocumentPosition(node) & after),
    })).filter((leaf) => leaf.text);
    return [found.filter((leaf) => !leaf.where), found.filter((leaf) => leaf.where)];
  };

  // A letter that becomes an index or an exponent is another letter, so it is set smaller.
  const depth = (node) => {
    let count = 0;
    for (let up = node; up.localName === "g"; up = up.parentNode) {
      count += /scale\(0/.test(up.getAttribute("transform"));
    }
    return count;
  };
  const equal = (a, b) => a.text === b.text && a.depth === b.depth;

  // Pairs of equal leaves, as many as can be matched without crossing.
  const matched = (a, b) => {
    const best = Array.from({ length: a.length + 1 }, () => new Uint16Array(b.length + 1));
    for (let i = a.length - 1; i >= 0; i--) {
      for (let j = b.length - 1; j >= 0; j--) {
        best[i][j] = equal(a[i], b[j])
          ? best[i + 1][j + 1] + 1 : Math.max(best[i + 1][j], best[i][j + 1]);
      }
    }
    const pairs = [];
    for (let i = 0, j = 0; i < a.length && j < b.length;) {
      if (equal(a[i], b[j])) pairs.push([i++, j++]);
      else if (best[i + 1][j] >= best[i][j + 1]) i++;
      else j++;
    }
    return pairs;
  };

  // Brackets and signs alone, between two changes, are chance and not kept: runs need a letter.
  const kept = (pairs, a) => {
    const runs = [];
    for (const [i, j] of pairs) {
      const run = runs.at(-1), last = run?.at(-1);
      if (last && last[0] === i - 1 && last[1] === j - 1) run.push([i, j]);
      else runs.push([[i, j]]);
    }
    return runs.filter((run) => run.some(([i]) => !a[i].sign)).flat();
  };

  const unmatched = (a, b) => {
    const pairs = kept(matched(a, b), a);
    const stay = pairs.map(([i]) => a[i]), same = pairs.map(([, j]) => b[j]);
    return [a.filter((leaf) => !stay.includes(leaf)), b.filter((leaf) => !same.includes(leaf))];
  };

  // Names that the next row does not define anew still hold, so they are not gone.
  const changed = (before, after) => {
    const [formula, names] = leaves(before), [next, renamed] = leaves(after);
    const [gone, fresh] = unmatched(formula, next);
    const [old, other] = renamed.length ? unmatched(names, renamed) : [[], []];
    return [[...gone, ...old], [...fresh, ...other]];
  };

  // A marker's stroke behind a glyph, as high as a line (1000 units are one em, upwards).
  const mark = ({ node }, kind) => {
    const box = node.getBBox(), rect = document.createElementNS(SVG, "rect");
    const low = Math.min(box.y, -230), high = Math.max(box.y + box.height, 760);
    const place = { x: box.x - 45, y: low, width: box.width + 90, height: high - low };
    for (const [name, value] of Object.entries(place)) rect.setAttribute(name, value);
    rect.classList.add("stepper-mark", kind);
    node.prepend(rect);
  };

  // A row continues the one above, unless it is the first of a slope, which starts from the loss.
  const output = (row) => row.cells[0].textContent.match(SLOPE)?.[1];
  const continues = (rows, k) => k > 0 && output(rows[k]) === output(rows[k - 1]);
  const origin = (rows, k) =>
    continues(rows, k) ? k - 1 : rows.findLastIndex((row, i) => i < k && !output(row));

  const button = (text, label, act) => {
    const made = document.createElement("button");
    made.type = "button";
    made.textContent = text;
    if (label) made.setAttribute("aria-label", label);
    made.addEventListener("click", act);
    return made;
  };

  const install = (table) => {
    const rows = [...table.tBodies[0].rows], last = rows.length - 1;
    const bar = document.createElement("div"), said = document.createElement("span");
    bar.className = "stepper";
    bar.setAttribute("role", "group");
    bar.setAttribute("aria-label", "Step through the derivation");
    said.setAttribute("role", "status");
    let at = -1; // -1: the whole table

    const show = () => {
      table.querySelectorAll(".stepper-mark").forEach((node) => node.remove());
      const from = at > 0 ? origin(rows, at) : -1;
      rows.forEach((row, k) => {
        row.hidden = at >= 0 && k !== at && k !== from;
        row.classList.toggle("now", k === at);
      });
      const stepping = at >= 0;
      start.hidden = stepping;
      for (const node of [back, next, said, all]) node.hidden = !stepping;
      if (!stepping) return;
      back.setAttribute("aria-disabled", at === 0);
      next.setAttribute("aria-disabled", at === last);
      said.textContent = `Line ${at + 1} of ${last + 1}`;
      if (continues(rows, at)) {
        const [gone, fresh] = changed(rows[from], rows[at]);
        gone.forEach((leaf) => mark(leaf, "gone"));
        fresh.forEach((leaf) => mark(leaf, "fresh"));
      }
    };
    const go = (k) => {
      at = Math.min(last, Math.max(0, k));
      show();
    };
    const whole = () => {
      at = -1;
      show();
      start.focus();
    };
    const start = button("Step through it", "", () => { go(0); next.focus(); });
    const back = button("←", "Back", () => go(at - 1));
    const next = button("→", "Next", () => go(at + 1));
    const all = button("Show all", "", whole);
    bar.append(start, back, next, said, all);
    bar.addEventListener("keydown", (event) => {
      const keys = {
        ArrowRight: () => go(at + 1), ArrowLeft: () => go(at - 1),
        Home: () => go(0), End: () => go(last), Escape: whole,
      };
      if (at < 0 || !(event.key in keys)) return;
      event.preventDefault();
      event.stopPropagation();
      keys[event.key]();
    });
    (table.closest(".pst-scrollable-table-container") ?? table).before(bar);
    show();
  };

  const ready = async () => {
    if (window.MathJax?.startup?.promise) await window.MathJax.startup.promise;
    document.querySelectorAll("table.derivation").forEach(install);
  };
  if (document.readyState === "complete") ready();
  else window.addEventListener("load", ready);
})();
