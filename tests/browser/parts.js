// What a page shows besides running text: terminals, listings, boxes, drawings,
// icons. This file runs inside the page, after `looks.js`, whose tools it uses;
// each function returns what is wrong, in words.
"use strict";
(() => {
  const { main, quote, name, few, shown, unseen, lines, rgba, contrast, background, drawings, onScreen } = looks.tools;
  const all = (selector, root = main()) => [...root.querySelectorAll(selector)];
  const same = (a, b) => rgba(a).join() === rgba(b).join();

  // What a variable of the style sheet stands for, as a color of this theme.
  function ink(variable) {
    const probe = document.createElement("i");
    probe.style.color = `var(${variable})`;
    main().append(probe);
    const { color } = getComputedStyle(probe);
    probe.remove();
    return color;
  }
  const onPaper = () => matchMedia("print").matches;

  // ---- Terminals ----

  const titled = /^# terminal \d+: /;

  // The lines of a transcript, without the empty ones before a title.
  const linesOf = (text) => text.replace(/\n+(# terminal \d+: )/g, "\n$1").trimEnd().split("\n");

  function transcriptsIn(html) {
    const made = new DOMParser().parseFromString(html, "text/html");
    return all("main pre > code.language-console", made).map((code) => code.textContent);
  }

  function textOf(element) {
    if (element.matches("code")) return element.textContent;
    const terminals = all(".terminal", element);
    return terminals.map((one) => `# ${one.querySelector(".title").textContent}\n${one.querySelector("code").textContent}`).join("");
  }

  // Which lines are typed: those with a prompt, and what goes on after a "\".
  function typedIn(text) {
    const typed = [];
    let goesOn = false;
    for (const line of text.split("\n")) {
      if (line.startsWith("$ ") || goesOn) typed.push(line.replace(/^\$ /, ""));
      goesOn = typed.at(-1)?.endsWith("\\") && (line.startsWith("$ ") || goesOn);
    }
    return typed;
  }

  function codeOfTerminal(code, inks) {
    const problems = [];
    const { whiteSpace } = getComputedStyle(code);
    const what = quote(code.textContent);
    if (!onPaper() && !/^(pre|nowrap)$/.test(whiteSpace)) problems.push(`the lines of ${what} wrap`);
    const typed = all(".typed", code);
    const shown = typed.map((span) => span.textContent).join("").trimEnd();
    const expected = typedIn(code.textContent).join("\n").trimEnd();
    if (shown !== expected) problems.push(`in ${what}, ${quote(shown)} is marked as typed, not ${quote(expected)}`);
    for (const span of onPaper() ? [] : typed) {
      const { color, fontWeight } = getComputedStyle(span);
      if (fontWeight < 600 || !same(color, inks.typed)) problems.push(`${quote(span.textContent)} does not look typed`);
    }
    return problems;
  }

  // The word in the title, the class, and the color say the same.
  function roleOfTerminal(terminal, inks) {
    const problems = [];
    const title = terminal.querySelector(".title");
    const word = title.textContent.replace(/^terminal \d+: /, "").match(/^(?:the |a second |a |two |three )?(client|server)|(?<=, (?:the |a |with a ))(client|server)$/)?.[0].match(/client|server/)[0] ?? "other";
    if (!terminal.classList.contains(word)) problems.push(`${quote(title.textContent)} has the class ${terminal.className}`);
    if (terminal.getAttribute("aria-label") !== title.textContent) problems.push(`${quote(title.textContent)} is not the name of its terminal`);
    if (!shown(title) || title.getBoundingClientRect().height < 12) problems.push(`${quote(title.textContent)} is not shown`);
    if (onPaper() || word === "other") return problems;
    const color = inks[word];
    if (!same(getComputedStyle(title).color, color)) problems.push(`${quote(title.textContent)} is not in the color of the ${word}`);
    if (!same(getComputedStyle(terminal).borderTopColor, color)) problems.push(`${quote(title.textContent)} has an edge in another color`);
    return problems;
  }

  function terminals(html) {
    const raw = transcriptsIn(html);
    const boxes = all(".terminals, pre > code.language-console").filter((box) => !box.closest(".terminal"));
    const problems = boxes.length === raw.length ? [] : [`${boxes.length} transcripts of ${raw.length} are shown`];
    boxes.slice(0, raw.length).forEach((box, i) => {
      const [is, should] = [linesOf(textOf(box)), linesOf(raw[i])];
      const at = should.findIndex((line, i) => line !== is[i]);
      if (at >= 0 || is.length !== should.length) problems.push(`a transcript shows ${quote(is[at] ?? "")}, not ${quote(should[at] ?? "")}`);
      if (should.some((line) => titled.test(line)) !== box.matches(".terminals")) problems.push(`${quote(raw[i])} is not in a terminal`);
    });
    const codes = all("pre > code.language-console").filter((code) => !code.closest(".copying"));
    const inks = Object.fromEntries(["client", "server", "typed"].map((role) => [role, ink(`--terminal-${role}`)]));
    if (same(inks.client, inks.server)) problems.push("client and server have the same color in terminals");
    problems.push(...all(".terminal").flatMap((terminal) => roleOfTerminal(terminal, inks)));
    return few([...problems, ...codes.flatMap((code) => codeOfTerminal(code, inks))]);
  }

  // ---- Listings and boxes ----

  // A listing with a path in its fence has just that path above it.
  function captions() {
    const problems = [];
    for (const code of all("pre > code")) {
      const path = [...code.classList].find((word) => word.includes("/"));
      const before = code.parentElement.previousElementSibling;
      const caption = before?.matches(".file") ? before : null;
      if (!path && !caption) continue;
      if (!path || caption?.textContent !== path) problems.push(`${path} stands below ${quote(caption?.textContent ?? "nothing")}`);
      else if (shown(code) && (!shown(caption) || unseen(caption) || caption.getBoundingClientRect().height < 10)) problems.push(`the path ${path} is not shown`);
    }
    return few(problems);
  }

  function insideOfBox(box) {
    const problems = [];
    const what = quote(box.textContent);
    const headings = all("h1, h2, h3, h4, h5, h6", box).filter((heading) => heading !== box.firstElementChild);
    if (headings.length) problems.push(`the box ${what} holds the heading ${quote(headings[0].textContent)}`);
    const folded = all(":scope > details", box);
    const last = [...box.children].slice(box.children.length - folded.length);
    if (folded.some((details) => !last.includes(details))) problems.push(`the box ${what} goes on after its answer`);
    if (all("[style*=break]", box).length) problems.push(`the box ${what} holds the end of a page`);
    const { borderLeftWidth } = getComputedStyle(box);
    if (parseFloat(borderLeftWidth) < 1) problems.push(`the box ${what} has no edge`);
    return problems;
  }

  // A question and an exercise are in a box of their own, and nothing else is.
  function boxes() {
    const problems = all(".predict, .exercise").flatMap(insideOfBox);
    const starts = all("[id^=predict]:is(h2, h3, h4)").map((heading) => [heading, "predict"]);
    for (const strong of all("p > strong:first-child")) {
      const kind = { "Predict.": "predict", "Break it.": "exercise", "Build it.": "exercise", "Measure it.": "exercise" }[strong.textContent] ??
        (/^Question \d\.$/.test(strong.textContent) ? "predict" : undefined);
      if (kind && !strong.previousSibling?.textContent.trim()) starts.push([strong.parentElement, kind]);
    }
    for (const [start, kind] of starts) {
      const box = start.parentElement;
      if (!box.matches(`.${kind}`) || box.firstElementChild !== start) problems.push(`${quote(start.textContent)} is in no box of its own`);
    }
    const number = all(".predict, .exercise").length;
    if (number !== starts.length) problems.push(`${number} boxes for ${starts.length} questions and exercises`);
    return few(problems);
  }

  // ---- Nothing is moved, faded or clipped by style ----

  const plain = {
    opacity: "1", filter: "none", clipPath: "none", mixBlendMode: "normal", transform: "none",
    translate: "none", rotate: "none", scale: "none", offsetPath: "none", maskImage: "none", zoom: "1",
  };
  // A copy button waits for the mouse; a pipe that is closed is paler. The
  // page makes room for the sidebar on a phone.
  const excused = (element, property) => element.closest(".buttons, defs, .fa-svg, script, noscript, [hidden]") ||
    element.matches("rect.closed, .page-wrapper") && ["opacity", "transform"].includes(property);

  function unaltered() {
    const problems = [];
    const above = [];
    for (let up = main(); up; up = up.parentElement) above.push(up);
    for (const element of [...above, ...all("*")]) {
      const style = getComputedStyle(element);
      for (const [property, value] of Object.entries(plain)) {
        if (style[property] !== undefined && style[property] !== value && !excused(element, property)) {
          problems.push(`${name(element)} has the ${property} ${style[property].slice(0, 40)}`);
        }
      }
    }
    return few(problems);
  }

  // ---- Drawings ----

  const value = (element, attribute) => Number(element.getAttribute(attribute) ?? 0);
  const middle = (box) => ({ x: (box.left + box.right) / 2, y: (box.top + box.bottom) / 2 });

  // The corners of a shape, as its attributes say.
  function corners(shape) {
    const [at, v] = [shape.localName, (name) => value(shape, name)];
    if (at === "line") return [[v("x1"), v("y1")], [v("x2"), v("y2")]];
    if (at === "rect") return [[v("x"), v("y")], [v("x") + v("width"), v("y") + v("height")]];
    if (at === "circle") return [[v("cx") - v("r"), v("cy") - v("r")], [v("cx") + v("r"), v("cy") + v("r")]];
    return [...shape.getAttribute("d").matchAll(/(-?[\d.]+)[ ,](-?[\d.]+)/g)].map(([, x, y]) => [Number(x), Number(y)]);
  }

  function edges(points) {
    const [x, y] = [points.map((point) => point.x), points.map((point) => point.y)];
    return { left: Math.min(...x), right: Math.max(...x), top: Math.min(...y), bottom: Math.max(...y) };
  }

  const farthest = (a, b) => Math.max(...["left", "right", "top", "bottom"].map((side) => Math.abs(a[side] - b[side])));

  // The color of what is drawn, and a width that one can see.
  function drawnFaintly(shape) {
    const { stroke, fill, strokeWidth, strokeOpacity, fillOpacity } = getComputedStyle(shape);
    const stroked = stroke !== "none" && rgba(stroke)[3] > 127 && parseFloat(strokeWidth) >= 0.5 && strokeOpacity > 0.5;
    const filled = shape.localName !== "line" && fill !== "none" && rgba(fill)[3] > 127 && fillOpacity > 0.5;
    return !stroked && !filled;
  }

  function shapeIsAstray(shape, svg) {
    const should = edges(corners(shape).map(([x, y]) => onScreen(svg, x, y)));
    const is = shape.getBoundingClientRect();
    const stroke = parseFloat(getComputedStyle(shape).strokeWidth) * svg.getScreenCTM().a;
    return farthest(is, should) > stroke + 1.5;
  }

  // Its anchor and its line are where its attributes put them.
  function textIsAstray(text, svg) {
    const at = onScreen(svg, value(text, "x"), value(text, "y"));
    const box = text.getBoundingClientRect();
    const anchor = text.getAttribute("text-anchor") ?? getComputedStyle(text).textAnchor;
    const x = { start: box.left, middle: middle(box).x, end: box.right }[anchor];
    return Math.abs(at.x - x) > 3 || at.y < middle(box).y || at.y > box.bottom + 1;
  }

  function tip(line) {
    const id = line.getAttribute("marker-end").match(/^url\(#(.*)\)$/)?.[1];
    const marker = document.getElementById(id);
    const path = marker?.matches("marker") && marker.querySelector("path");
    if (!path || getComputedStyle(line).markerEnd === "none") return "has no tip";
    const { fill, fillOpacity, display, visibility, opacity, d } = getComputedStyle(path);
    const drawn = fill !== "none" && rgba(fill)[3] === 255 && fillOpacity === "1" && opacity === "1" && display !== "none" && visibility === "visible";
    if (!drawn || d === "none" || path.getAttribute("d").length < 8) return "has a tip that is not drawn";
    if (value(marker, "markerWidth") < 4 || value(marker, "markerHeight") < 4) return "has a tip too small to see";
    return same(fill, getComputedStyle(line).stroke) ? "" : "has a tip of another color";
  }

  // Without colors, dashes tell a server's packet.
  function dashes(line) {
    const dashed = getComputedStyle(line).strokeDasharray !== "none";
    return dashed === line.matches(".server") ? "" : `is ${dashed ? "" : "not "}dashed`;
  }

  function relations(svg) {
    const problems = [];
    const lives = all("line.life", svg).map((line) => value(line, "x1"));
    for (const line of all("line[marker-end]", svg)) {
      const what = `the packet at ${value(line, "y1")}`;
      for (const wrong of [tip(line), dashes(line)]) if (wrong) problems.push(`${what} ${wrong}`);
    }
    for (const line of all("line.packet:not([marker-end])", svg)) problems.push(`the packet at ${value(line, "y1")} has no tip`);
    for (const text of all("text.number", svg)) {
      const circle = text.previousElementSibling;
      if (!circle?.matches("circle")) continue;
      const [a, b] = [middle(text.getBoundingClientRect()), middle(circle.getBoundingClientRect())];
      if (Math.abs(a.x - b.x) > 2 || Math.abs(a.y - b.y) > 3.5) problems.push(`${quote(text.textContent)} is not in the middle of its circle`);
    }
    for (const band of all("rect.band", svg)) {
      const at = value(band, "x") + value(band, "width") / 2;
      if (!lives.some((x) => Math.abs(x - at) < 1)) problems.push(`a band at ${at} is on no lifeline`);
    }
    return problems;
  }

  function outside(svg) {
    const { width, height } = svg.viewBox.baseVal;
    const far = all("rect, line, circle, path", svg).filter((shape) => !shape.closest("defs")).filter((shape) =>
      corners(shape).some(([x, y]) => x < -1 || y < -1 || x > width + 1 || y > height + 1));
    return far.map((shape) => `${name(shape)} sticks out of its drawing`);
  }

  function shapes() {
    const problems = [];
    for (const svg of drawings()) {
      const title = svg.querySelector("title")?.textContent ?? "a drawing";
      const tell = (problem) => problems.push(`${title}: ${problem}`);
      for (const shape of all("rect, line, circle, path", svg)) {
        if (shape.closest("defs")) continue;
        if (!shown(shape) || drawnFaintly(shape)) tell(`${name(shape)} is not drawn`);
        else if (shapeIsAstray(shape, svg)) tell(`${name(shape)} is not where its attributes put it`);
      }
      for (const text of all("text", svg).filter((text) => text.textContent.trim())) {
        if (!shown(text)) tell(`${quote(text.textContent)} is not shown`);
        else if (textIsAstray(text, svg)) tell(`${quote(text.textContent)} is not where its attributes put it`);
      }
      const isPanel = svg.closest(".panels"); // a band of lifelines may go on below
      [...relations(svg), ...(isPanel ? outside(svg) : [])].forEach(tell);
    }
    return few(problems);
  }

  // What is the client's has its color, in drawings, tables and captions.
  function roles() {
    const inks = { client: ink("--client"), server: ink("--server") };
    const problems = same(inks.client, inks.server) ? ["client and server have the same color"] : [];
    for (const element of all(".client, .server")) {
      if (element.closest(".terminal, pre, defs") || onPaper()) continue;
      const role = element.matches(".client") ? "client" : "server";
      if (!same(getComputedStyle(element).color, inks[role])) problems.push(`${name(element)} ${quote(element.textContent)} is not in the color of the ${role}`);
    }
    return few(problems);
  }

  // ---- Covered text, icons, cells ----

  // At the middle of each line is the line: nothing lies on it, not even what
  // lets the mouse through.
  function covered() {
    const style = document.createElement("style");
    style.textContent = "*, *::before, *::after { pointer-events: auto !important }";
    document.head.append(style);
    const problems = [];
    const bar = document.getElementById("mdbook-menu-bar")?.getBoundingClientRect().height ?? 0;
    const points = lines(main())
      .filter(({ seen }) => seen.right - seen.left > 6 && seen.bottom - seen.top > 6)
      .map(({ element, seen, node }) => ({ element, node, x: middle(seen).x, y: middle(seen).y + scrollY }))
      .sort((a, b) => a.y - b.y);
    for (const { element, node, x, y } of points) {
      if (y - scrollY < bar + 20 || y - scrollY > innerHeight - 20) scrollTo({ top: y - bar - 60, behavior: "instant" });
      const at = document.elementFromPoint(x, y - scrollY);
      if (at && !element.contains(at) && !at.closest(".buttons, #mdbook-menu-bar")) problems.push(`${name(at)} covers ${quote(node.data)}`);
    }
    scrollTo({ top: 0, behavior: "instant" });
    style.remove();
    return few(problems);
  }

  const iconsIn = ".menu-bar .icon-button, .menu-bar .right-buttons a, .nav-chapters, .mobile-nav-chapters";

  // The icons for turning the page and of the menu bar have a shape and a color.
  function icons() {
    const problems = [];
    for (const button of all(iconsIn, document)) {
      if (!shown(button)) continue;
      const path = button.querySelector("svg path");
      const box = path?.getBoundingClientRect();
      const what = button.title || button.id || name(button);
      if (!path || !shown(path) || box.width < 5 || box.height < 5 || unfaded(path) < 1) {
        problems.push(`the icon of ${what} is not drawn`);
        continue;
      }
      const ratio = contrast(getComputedStyle(path).fill, background(path.closest("svg").parentElement));
      if (ratio < 3) problems.push(`the icon of ${what} has a contrast of ${ratio.toFixed(2)}`);
    }
    return problems;
  }

  function unfaded(element) {
    let opacity = 1;
    for (let up = element; up; up = up.parentElement) opacity *= getComputedStyle(up).opacity;
    return opacity;
  }

  // In a table, words of up to 16 characters stay in one line.
  function words() {
    const problems = [];
    const range = document.createRange();
    const walker = document.createTreeWalker(main(), NodeFilter.SHOW_TEXT);
    while (walker.nextNode()) {
      const node = walker.currentNode;
      const element = node.parentElement;
      if (!element.closest("td, th") || element.closest(".hex") || !shown(element)) continue;
      range.selectNodeContents(node);
      if (new Set([...range.getClientRects()].map((box) => Math.round(box.top))).size < 2) continue;
      for (const { 0: word, index } of node.data.matchAll(/[^\s\-‐–—/]+/g)) {
        if (word.length > 16 || /\p{Script=Han}/u.test(word)) continue;
        range.setStart(node, index);
        range.setEnd(node, index + word.length);
        const rows = [...range.getClientRects()].filter((box) => box.width > 0.5);
        if (rows.some((box) => box.top - rows[0].top > 4)) problems.push(`${quote(word)} in ${name(element.closest("td, th"))} is broken in the middle`);
      }
    }
    return few(problems);
  }

  // A column has room for three letters of what stands in it.
  function columns() {
    const problems = [];
    for (const cell of all("td, th")) {
      const { fontSize, paddingLeft, paddingRight } = getComputedStyle(cell);
      const room = cell.getBoundingClientRect().width - parseFloat(paddingLeft) - parseFloat(paddingRight);
      const least = Math.min(3, cell.textContent.trim().length) * 0.4 * parseFloat(fontSize);
      if (shown(cell) && !unseen(cell) && room < least) problems.push(`the column of ${quote(cell.textContent)} is ${Math.round(room)} px wide`);
    }
    return few(problems);
  }

  // ---- The keyboard ----

  const kinds = {
    "a link": "a[href]", "what is folded": "summary", "a copy button": ".clip-button", "a copy button in a terminal": ".terminal .clip-button", "a button": "button:not(.clip-button)",
    "a slider": "input", "a field": "textarea", "a box that scrolls": "[tabindex='0']",
  };

  // One thing of each kind that a key reaches: a copy button is clear until then.
  function controls() {
    const found = Object.entries(kinds).map(([kind, selector]) => [kind, all(selector).find((one) => one.checkVisibility({ visibilityProperty: true }) && !one.disabled)]);
    return found.filter(([, element]) => element);
  }

  // Whoever calls this has just pressed a key, so that the browser shows rings.
  function rings() {
    const style = document.createElement("style");
    style.textContent = "* { transition: none !important }";
    document.head.append(style);
    const problems = [];
    for (const [kind, element] of controls()) {
      element.focus({ preventScroll: true });
      const { outlineStyle, outlineWidth, outlineColor, clipPath } = getComputedStyle(element);
      const drawn = outlineStyle !== "none" && parseFloat(outlineWidth) >= 2 && clipPath === "none";
      const ratio = drawn ? contrast(outlineColor, background(element.parentElement)) : 0;
      if (document.activeElement !== element || ratio < 3 || unfaded(element) < 1) problems.push(`nothing shows the focus at ${kind} (${ratio.toFixed(1)})`);
    }
    document.activeElement.blur();
    style.remove();
    return problems;
  }

  // What a button copies: of a transcript what is typed, before a key that only
  // the reader can press; of anything else all.
  function copies() {
    const problems = [];
    let copied;
    const listen = (event) => { copied = event.target.value ?? String(getSelection()); };
    document.addEventListener("copy", listen, true);
    for (const button of all(".clip-button")) {
      const code = button.closest("pre").querySelector("code");
      const text = code.textContent.split(/^\^Z$/m)[0];
      const typed = code.matches(".language-console") ? typedIn(text).join("\n") : "";
      copied = undefined;
      button.click();
      const should = (typed || code.textContent).trimEnd();
      if (shown(code) && copied?.trimEnd() !== should) problems.push(`${quote(copied ?? "nothing")} is copied, not ${quote(should)}`);
    }
    document.removeEventListener("copy", listen, true);
    return few(problems);
  }

  // All that depends on the width, and what depends on the theme.
  const parts = () => [...captions(), ...boxes(), ...unaltered(), ...shapes(), ...covered(), ...words(), ...columns()];
  const colors = () => [...roles(), ...icons()];

  Object.assign(looks, { controls, rings, copies, parts, colors, terminals, captions, boxes, unaltered, shapes, roles, covered, icons, words, columns });
})();
