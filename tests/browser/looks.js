// What can be measured in a page: this file runs inside it, and each of its
// functions returns what is wrong, in words. A test that only asked whether the
// page is wider than the screen would see nothing, because mdBook's boxes hide
// or scroll what sticks out of them.
"use strict";
globalThis.looks = (() => {
  const main = () => document.querySelector("main");
  const quote = (text) => `"${text.trim().replace(/\s+/g, " ").slice(0, 40)}"`;

  function name(element) {
    const id = element.id ? `#${element.id}` : "";
    const kind = typeof element.className === "string" ? element.className.trim() : "";
    return element.tagName.toLowerCase() + id + (kind ? `.${kind.split(/\s+/)[0]}` : "");
  }

  // Ten of a kind say enough.
  const few = (problems) => [...new Set(problems)].slice(0, 10);

  const shown = (element) => element.checkVisibility({
    visibilityProperty: true,
    opacityProperty: true,
    contentVisibilityAuto: true,
  });

  // What only a screen reader is meant to notice is clipped to a pixel.
  function unseen(element) {
    for (let up = element; up && up !== document.body; up = up.parentElement) {
      const box = up.getBoundingClientRect();
      const { position, clip } = getComputedStyle(up);
      if (position === "absolute" && (clip !== "auto" || (box.width <= 1 && box.height <= 1))) return true;
    }
    return false;
  }

  const ways = { hidden: "cut", clip: "cut", auto: "scroll", scroll: "scroll" };

  // The boxes around an element that cut off or scroll what is wider or higher.
  function frames(element, known) {
    if (element === null || element === document.body) return [];
    if (known.has(element)) return known.get(element);
    const style = getComputedStyle(element);
    const x = ways[style.overflowX];
    const y = ways[style.overflowY];
    // An inline box has no overflow of its own.
    const own = (x || y) && style.display !== "inline" ? [{ element, x, y, box: element.getBoundingClientRect() }] : [];
    const all = [...own, ...frames(element.parentElement, known)];
    known.set(element, all);
    return all;
  }

  function within(box, { x, y, box: frame }) {
    return {
      left: x ? Math.max(box.left, frame.left) : box.left,
      right: x ? Math.min(box.right, frame.right) : box.right,
      top: y ? Math.max(box.top, frame.top) : box.top,
      bottom: y ? Math.min(box.bottom, frame.bottom) : box.bottom,
    };
  }

  // Each line of text below `root`: its box, and what can be seen of that.
  function lines(root) {
    const walker = document.createTreeWalker(root, NodeFilter.SHOW_TEXT);
    const range = document.createRange();
    const known = new Map();
    const found = [];
    while (walker.nextNode()) {
      const node = walker.currentNode;
      const element = node.parentElement;
      if (!node.data.trim() || !shown(element) || element.closest(".buttons")) continue;
      range.selectNodeContents(node);
      const around = frames(element, known);
      for (const box of range.getClientRects()) {
        if (box.width < 1 || box.height < 1) continue;
        const seen = around.filter(({ element }) => main().contains(element)).reduce(within, box);
        found.push({ node, element, box, frames: around, seen });
      }
    }
    return found.filter((line) => !unseen(line.element));
  }

  // Moved out of the column on purpose: a note in the margin, a wide picture.
  function moved(element) {
    for (let up = element; up !== main(); up = up.parentElement) {
      const style = getComputedStyle(up);
      if (style.position === "absolute" || style.float !== "none") return true;
      if (parseFloat(style.marginLeft) < 0 || parseFloat(style.marginRight) < 0) return true;
    }
    return false;
  }

  const scrolls = (element) => {
    const known = new Map();
    return frames(element.parentElement, known).some((frame) => frame.x && main().contains(frame.element));
  };

  function block(element) {
    let up = element;
    while (getComputedStyle(up).display.startsWith("inline")) up = up.parentElement;
    return up;
  }

  const out = (box, of) => Math.round(Math.max(box.right - of.right, of.left - box.left));

  // Nothing sticks out of the content, of the column, or of its own block.
  function fits(all = lines(main())) {
    const column = main().getBoundingClientRect();
    const content = document.getElementById("mdbook-content").getBoundingClientRect();
    const problems = [];
    const tell = (what, box, of, where) => {
      if (out(box, of) > 1) problems.push(`${what} sticks out of ${where} by ${out(box, of)} px`);
    };
    for (const element of main().querySelectorAll("*:not(svg *)")) {
      const box = element.getBoundingClientRect();
      if (!box.width || !shown(element) || unseen(element) || scrolls(element)) continue;
      tell(name(element), box, content, "the content");
      if (!moved(element)) tell(name(element), box, column, "the column");
    }
    for (const { node, element, box, frames: around } of all) {
      if (element.closest("svg") || around.some(({ element, x }) => x && main().contains(element))) continue;
      tell(quote(node.data), box, content, "the content");
      tell(quote(node.data), box, block(element).getBoundingClientRect(), name(block(element)));
    }
    const page = document.documentElement;
    if (page.scrollWidth > page.clientWidth) problems.push(`the page is ${page.scrollWidth} px wide on a screen of ${page.clientWidth} px`);
    return few(problems);
  }

  // No text is cut off by a box that can't be scrolled, or by an ellipsis.
  function whole(all = lines(main())) {
    const problems = [];
    for (const { node, box, frames: around } of all) {
      for (const { element, x, y, box: frame } of around) {
        const cut = (x === "cut" && out(box, frame) > 1) ||
          (y === "cut" && Math.max(box.bottom - frame.bottom, frame.top - box.top) > box.height / 4);
        if (cut) problems.push(`${quote(node.data)} is cut off by ${name(element)}`);
        if (x === "scroll" || y === "scroll") break;
      }
    }
    for (const code of main().querySelectorAll("pre > code, .table-wrapper")) {
      const { overflowX } = getComputedStyle(code);
      if (ways[overflowX] !== "scroll" && code.scrollWidth > code.clientWidth + 1 && code.clientWidth) {
        problems.push(`${quote(code.textContent)} is wider than its box, and does not scroll`);
      }
    }
    return few(problems);
  }

  function common(a, b) {
    const width = Math.min(a.right, b.right) - Math.max(a.left, b.left);
    const height = Math.min(a.bottom, b.bottom) - Math.max(a.top, b.top);
    return width > 0 && height > 0 ? { width, height } : null;
  }

  // No line of text lies on another one.
  function apart(every = lines(main())) {
    const all = every
      .filter(({ seen }) => seen.right - seen.left > 3 && seen.bottom - seen.top > 3)
      .sort((a, b) => a.seen.top - b.seen.top);
    const problems = [];
    for (let i = 0; i < all.length; i += 1) {
      const a = all[i].seen;
      for (let j = i + 1; j < all.length && all[j].seen.top < a.bottom; j += 1) {
        const b = all[j].seen;
        const both = common(a, b);
        const least = Math.min(a.bottom - a.top, b.bottom - b.top);
        if (both && both.width > 3 && both.height > 0.4 * least) {
          problems.push(`${quote(all[i].node.data)} and ${quote(all[j].node.data)} lie on each other`);
        }
      }
    }
    return few(problems);
  }

  // Nothing that is positioned covers text that is not its own. A copy button
  // may cover the text only while the mouse or the keyboard is at it.
  function uncovered(all = lines(main())) {
    const problems = [];
    for (const element of main().querySelectorAll("*:not(svg *)")) {
      const { position } = getComputedStyle(element);
      if (position === "static" || position === "relative" || !shown(element) || unseen(element)) continue;
      const cover = element.getBoundingClientRect();
      for (const line of all) {
        if (element.contains(line.element) || element.closest("a") === line.element) continue;
        const both = common(cover, line.seen);
        if (both && both.width > 3 && both.height > 3) problems.push(`${name(element)} covers ${quote(line.node.data)}`);
      }
    }
    return few(problems);
  }

  // Paper has no use for what is moved or pressed.
  function pressed(element) {
    if (!matchMedia("print").matches) return false;
    let hidden = element;
    while (!shown(hidden.parentElement)) hidden = hidden.parentElement;
    return hidden.matches("button, input, textarea") || hidden.querySelector("button, input, textarea") !== null || hidden.closest("[aria-live]") !== null;
  }

  // All the text of a page can be seen, when what is folded is open.
  function visible() {
    const problems = [];
    const walker = document.createTreeWalker(main(), NodeFilter.SHOW_TEXT);
    while (walker.nextNode()) {
      const element = walker.currentNode.parentElement;
      const apart = ".buttons, [hidden], script, style, template, noscript, title, desc, [aria-hidden=true], .blockquote-tag-title";
      if (!walker.currentNode.data.trim() || element.closest(apart) || unseen(element)) continue;
      const { color, fontSize } = getComputedStyle(element);
      // In the margin a note needs no brackets, and a box no second title.
      if (!/[\p{L}\p{N}]/u.test(walker.currentNode.data)) continue;
      const clear = !element.closest("svg") && rgba(color)[3] === 0;
      const gone = !shown(element) && !pressed(element);
      if (gone || clear || parseFloat(fontSize) < 9) problems.push(`${quote(walker.currentNode.data)} cannot be seen`);
    }
    return few(problems);
  }

  // One title in a page, and no level of heading is skipped.
  function headings() {
    const problems = [];
    const all = [...main().querySelectorAll("h1, h2, h3, h4, h5, h6")];
    const titles = all.filter((heading) => heading.tagName === "H1").length;
    if (titles !== 1) problems.push(`${titles} titles (h1)`);
    let before = 0;
    for (const heading of all) {
      const level = Number(heading.tagName[1]);
      if (level > before + 1) problems.push(`${quote(heading.textContent)} is an h${level} after an h${before}`);
      if (!heading.textContent.trim()) problems.push(`an h${level} is empty`);
      before = level;
    }
    return problems;
  }

  // ---- Drawings ----

  const drawings = () => [...main().querySelectorAll("svg")].filter((svg) => svg.querySelector("text") && shown(svg));

  // A box without the room above and below its letters.
  function inner(box) {
    const air = (box.bottom - box.top) * 0.2;
    return { left: box.left + 1, right: box.right - 1, top: box.top + air, bottom: box.bottom - air };
  }

  const number = (element, attribute) => parseFloat(element.getAttribute(attribute));

  function onScreen(element, x, y) {
    return new DOMPoint(x, y).matrixTransform(element.getScreenCTM());
  }

  // Does the segment from `a` to `b` cross the box?
  function crosses({ from: a, to: b }, box) {
    for (let i = 0; i <= 200; i += 1) {
      const x = a.x + ((b.x - a.x) * i) / 200;
      const y = a.y + ((b.y - a.y) * i) / 200;
      if (x > box.left && x < box.right && y > box.top && y < box.bottom) return true;
    }
    return false;
  }

  function segments(svg, selector) {
    return [...svg.querySelectorAll(selector)].map((line) => ({
      line,
      from: onScreen(line, number(line, "x1"), number(line, "y1")),
      to: onScreen(line, number(line, "x2"), number(line, "y2")),
    }));
  }

  // Whether a text stands where its attributes put it: style can move it.
  function misplaced(text, box) {
    const [x, y] = [number(text, "x"), number(text, "y")];
    if (Number.isNaN(x) || Number.isNaN(y)) return false;
    const at = onScreen(text.parentElement, x, y);
    return at.x < box.left - 2 || at.x > box.right + 2 || at.y < box.top - 1 || at.y > box.bottom + 1;
  }

  // In a drawing of lifelines a label stands over the middle of its packet,
  // and a call stands at the end of one.
  function astray(svg, text, box) {
    const packets = segments(svg, "line.packet");
    if (packets.length === 0) return false; // the plot of eight clients
    const unit = svg.getScreenCTM().a;
    const middle = (box.left + box.right) / 2;
    if (text.matches(".label.client, .label.server")) {
      return !packets.some(({ from, to }) => {
        const above = (from.y + to.y) / 2 - (box.top + box.bottom) / 2;
        return Math.abs((from.x + to.x) / 2 - middle) < 6 * unit && above > 0 && above < 24 * unit;
      });
    }
    if (text.matches(".call")) {
      return !packets.some(({ from, to }) => [from, to].some((end) =>
        Math.abs((box.top + box.bottom) / 2 - end.y) < 10 * unit &&
        Math.min(Math.abs(end.x - box.left), Math.abs(end.x - box.right)) < 24 * unit));
    }
    return false;
  }

  function drawing(svg) {
    const frame = svg.getBoundingClientRect();
    const problems = [];
    const texts = [...svg.querySelectorAll("text")].filter((text) => shown(text) && text.textContent.trim());
    const boxes = texts.map((text) => text.getBoundingClientRect());
    const strokes = segments(svg, "line");
    texts.forEach((text, i) => {
      const [what, box, core] = [quote(text.textContent), boxes[i], inner(boxes[i])];
      if (out(core, frame) > 0 || core.top < frame.top || core.bottom > frame.bottom) problems.push(`${what} sticks out of its drawing`);
      if (misplaced(text, box)) problems.push(`${what} is not where the drawing puts it`);
      if (svg.closest(".lifelines") && astray(svg, text, box)) problems.push(`${what} is away from its packet`);
      // The number of a packet stands on the lifeline that it leaves.
      if (!text.matches(".number") && strokes.some((stroke) => crosses(stroke, core))) problems.push(`a line crosses ${what}`);
      const size = parseFloat(getComputedStyle(text).fontSize) * text.getScreenCTM().a;
      if (size < 8.5) problems.push(`${what} is ${size.toFixed(1)} px high`);
      for (let j = 0; j < i; j += 1) {
        const both = common(core, inner(boxes[j]));
        if (both && both.width > 1) problems.push(`${what} lies on ${quote(texts[j].textContent)}`);
      }
    });
    return problems;
  }

  const drawn = () => few(drawings().flatMap((svg) =>
    drawing(svg).map((problem) => `${svg.querySelector("title")?.textContent ?? "a drawing"}: ${problem}`)));

  // ---- Colour: axe does not look into drawings, nor at paper ----

  const canvas = document.createElement("canvas").getContext("2d", { willReadFrequently: true });

  const colors = new Map();

  function rgba(color) {
    if (!colors.has(color)) colors.set(color, paint(color));
    return colors.get(color);
  }

  function paint(color) {
    canvas.clearRect(0, 0, 1, 1);
    canvas.fillStyle = color;
    canvas.fillRect(0, 0, 1, 1);
    return [...canvas.getImageData(0, 0, 1, 1).data];
  }

  function light(color) {
    const [r, g, b] = rgba(color).map((part) => {
      const c = part / 255;
      return c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4;
    });
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  }

  function contrast(a, b) {
    const [low, high] = [light(a), light(b)].sort((x, y) => x - y);
    return (high + 0.05) / (low + 0.05);
  }

  function background(element) {
    for (let up = element; up; up = up.parentElement) {
      const { backgroundColor } = getComputedStyle(up);
      if (rgba(backgroundColor)[3] === 255) return backgroundColor;
    }
    return "white";
  }

  // The last filled shape before a text that lies under it, or the page.
  function under(text, svg) {
    const box = text.getBoundingClientRect();
    const [x, y] = [(box.left + box.right) / 2, (box.top + box.bottom) / 2];
    const below = [...svg.querySelectorAll("rect, path, polygon, circle, ellipse")].filter((shape) => {
      const of = shape.getBoundingClientRect();
      const before = shape.compareDocumentPosition(text) & Node.DOCUMENT_POSITION_FOLLOWING;
      return before && of.left < x && x < of.right && of.top < y && y < of.bottom &&
        rgba(getComputedStyle(shape).fill)[3] > 127 && getComputedStyle(shape).fill !== "none";
    });
    return below.length ? getComputedStyle(below.at(-1)).fill : background(svg);
  }

  // The color of a text as it arrives: what is clear lets the ground through.
  function mixed(ink, ground) {
    const [over, below] = [rgba(ink), rgba(ground)];
    const part = over[3] / 255;
    return `rgb(${[0, 1, 2].map((i) => Math.round(over[i] * part + below[i] * (1 - part))).join()})`;
  }

  // Each text of the page, in and around its column. axe skips what has just
  // the color of its ground, and what it cannot see through.
  function pale() {
    const problems = [];
    const done = new Set();
    const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
    while (walker.nextNode()) {
      const element = walker.currentNode.parentElement;
      if (done.has(element) || !/[\p{L}\p{N}]/u.test(walker.currentNode.data)) continue;
      done.add(element);
      if (element.closest("svg, .buttons, script, style, noscript") || !shown(element) || unseen(element)) continue;
      const { color, fontSize, fontWeight } = getComputedStyle(element);
      const ground = background(element);
      const ratio = contrast(mixed(color, ground), ground);
      const size = parseFloat(fontSize);
      const least = size >= 24 || (size >= 18.6 && fontWeight >= 700) ? 3 : 4.5;
      if (ratio < least) problems.push(`${quote(walker.currentNode.data)} has a contrast of ${ratio.toFixed(2)}`);
    }
    return problems;
  }

  function inks() {
    const problems = pale();
    for (const svg of drawings()) {
      for (const text of svg.querySelectorAll("text")) {
        const ratio = contrast(getComputedStyle(text).fill, under(text, svg));
        if (ratio < 4.5) problems.push(`${quote(text.textContent)} in a drawing has a contrast of ${ratio.toFixed(2)}`);
      }
      for (const line of svg.querySelectorAll("line")) {
        const ratio = contrast(getComputedStyle(line).stroke, background(svg));
        if (ratio < 3) problems.push(`a line in a drawing (${name(line)}) has a contrast of ${ratio.toFixed(2)}`);
      }
    }
    return few(problems);
  }

  // ---- Paper ----

  // What is folded on the screen is printed, and text is dark: a printer leaves
  // the backgrounds away.
  function printed() {
    const problems = [];
    for (const details of main().querySelectorAll("details")) {
      const inside = [...details.children].find((child) => child.tagName !== "SUMMARY");
      if (inside && (!shown(inside) || inside.getBoundingClientRect().height === 0)) {
        problems.push(`${quote(details.textContent)} is folded on paper`);
      }
    }
    for (const { element, node } of lines(main())) {
      if (element.closest("svg")) continue;
      const { color, printColorAdjust } = getComputedStyle(element);
      const on = printColorAdjust === "exact" ? background(element) : "white";
      const plain = element.matches("p, li, td, th, dd, dt, h1, h2, h3, summary, figcaption") && !element.closest(".client, .server");
      const enough = plain ? 12 : 4.5;
      if (contrast(color, on) < enough) problems.push(`${quote(node.data)} has a contrast of ${contrast(color, on).toFixed(1)} on paper`);
    }
    for (const text of main().querySelectorAll("svg text")) {
      const { fill, printColorAdjust } = getComputedStyle(text);
      const on = printColorAdjust === "exact" ? under(text, text.closest("svg")) : "white";
      if (shown(text) && contrast(fill, on) < 4.5) problems.push(`${quote(text.textContent)} is pale on paper`);
    }
    return few(problems);
  }

  // A line of up to 80 characters needs no second line on paper.
  function unbroken() {
    const problems = [];
    for (const code of main().querySelectorAll("pre > code")) {
      if (!shown(code)) continue;
      const text = code.textContent.replace(/\n$/, "").split("\n");
      const { lineHeight, fontSize, paddingTop, paddingBottom } = getComputedStyle(code);
      const height = parseFloat(lineHeight) || 1.2 * parseFloat(fontSize);
      const rows = Math.round((code.clientHeight - parseFloat(paddingTop) - parseFloat(paddingBottom)) / height);
      const longest = Math.max(...text.map((line) => line.length));
      if (longest <= 80 && rows > text.length) problems.push(`${quote(text[0])}: ${text.length} lines became ${rows}`);
    }
    return few(problems);
  }

  // All that depends on the width. To find the lines is most of the work.
  function layout() {
    const all = lines(main());
    return [...fits(all), ...whole(all), ...apart(all), ...uncovered(all), ...visible(), ...drawn()];
  }

  const tools = { main, quote, name, few, shown, unseen, lines, rgba, contrast, background, drawings, onScreen };
  return { tools, layout, fits, whole, apart, uncovered, visible, headings, drawn, inks, printed, unbroken };
})();
