// A card over a link to a term of the glossary or to an equation of the page. It opens when the
// pointer rests on the link or the link has the focus, stays while the pointer is on the card, and
// closes with Escape.
(() => {
  "use strict";
  const WAIT = 250; // milliseconds

  const start = () => {
    const terms = JSON.parse(document.getElementById("hovercards").textContent);
    const card = document.createElement("div");
    card.className = "hovercard";
    card.id = "hovercard";
    card.setAttribute("role", "tooltip");
    card.hidden = true;
    document.querySelector("article").append(card);
    let timer = 0, link = null;

    const content = (id) => {
      if (id in terms) return [document.createTextNode(terms[id])];
      const equation = document.getElementById(id)?.querySelector("mjx-container");
      return equation ? [equation.cloneNode(true)] : null;
    };
    const close = () => {
      clearTimeout(timer);
      card.hidden = true;
      link?.removeAttribute("aria-describedby");
      link = null;
    };
    const open = (target) => {
      const shown = content(decodeURIComponent(target.hash.slice(1)));
      if (!shown) return;
      close();
      link = target;
      link.setAttribute("aria-describedby", card.id);
      card.replaceChildren(...shown);
      card.hidden = false;
      const here = link.getBoundingClientRect(), frame = card.offsetParent.getBoundingClientRect();
      const left = Math.min(here.left - frame.left, frame.width - card.offsetWidth);
      card.style.left = `${Math.max(0, left)}px`;
      card.style.top = `${here.bottom - frame.top + 4}px`;
      window.MathJax?.typesetPromise?.([card]);
    };
    const later = (act) => {
      clearTimeout(timer);
      timer = setTimeout(act, WAIT);
    };

    for (const anchor of document.querySelectorAll('article a[href*="#term-"], article a[href^="#equation-"]')) {
      if (anchor.classList.contains("headerlink")) continue;
      anchor.removeAttribute("title");
      anchor.addEventListener("mouseenter", () => later(() => open(anchor)));
      anchor.addEventListener("mouseleave", () => later(close));
      anchor.addEventListener("focus", () => open(anchor));
      anchor.addEventListener("blur", close);
    }
    card.addEventListener("mouseenter", () => clearTimeout(timer));
    card.addEventListener("mouseleave", () => later(close));
    document.addEventListener("keydown", (event) => event.key === "Escape" && close());
  };
  if (document.readyState === "loading") document.addEventListener("DOMContentLoaded", start);
  else start();
})();
