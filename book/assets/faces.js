// Cuts a page into the faces of its slides: for each thing that it shows one,
// or as many as it takes. The prose becomes the notes. slides.js shows them.
"use strict";
const slideFaces = (() => {
  const main = document.querySelector("main");
  const make = (name, className, ...content) => {
    const element = document.createElement(name);
    element.className = className;
    element.append(...content);
    return element;
  };
  const copyOf = (element) => {
    const copy = element.cloneNode(true);
    for (const one of [copy, ...copy.querySelectorAll("[id]")]) one.removeAttribute("id");
    return copy;
  };

  // Each sentence of a paragraph: the page has one on a line.
  const sentences = (p) => {
    const found = [p.cloneNode(false)];
    for (const node of [...p.cloneNode(true).childNodes]) {
      const [first, ...more] = node.nodeType === Node.TEXT_NODE ? node.data.split("\n") : [node];
      found.at(-1).append(first);
      for (const text of more) {
        found.push(p.cloneNode(false));
        found.at(-1).append(text);
      }
    }
    return found;
  };

  // What the page has, in one row: boxes are unpacked.
  const isThing = (element) =>
    element.matches("pre, figure, table, .table-wrapper, .terminals, .listing, blockquote, ul, ol, dl");
  const isFolded = (element) => element.matches("details");
  // What is folded for whoever wants more: it stays on the page.
  const isExtra = (element) => element.matches("details:not(.choice)") &&
    !/^(?:Hint|Second hint|Answer)$/.test(element.firstElementChild.textContent);
  const isHeading = (element) => /^H[1-6]$/.test(element.tagName);
  const row = (elements) => [...elements].flatMap((element) =>
    (element.matches("div") && !isThing(element) ? row(element.children) : [element]));
  const taskOf = (element) => element.matches("p") && element.firstElementChild?.matches("strong") &&
    element.firstElementChild.textContent.match(/^(?:Predict|Question \d|(Break|Build|Measure) it)\.$/);

  // The slides: title, lead, blocks to show, notes, kind, and section.
  const slides = [];
  let section; // its heading
  let prose = []; // not yet on a slide, nor in its notes
  let task = null; // a question or an exercise that goes on
  const add = (kind, blocks, notes, more = {}) => {
    slides.push({ kind, blocks, notes, section, title: (section.querySelector("a.header") ?? section).innerHTML, ...more });
    [prose, task] = [[], null];
  };
  const ofSection = () => (slides.at(-1)?.section === section ? slides.at(-1) : null);

  // The last sentence before a thing leads to it. The paragraphs before that
  // one belong to the slide before.
  const show = (thing) => {
    const before = ofSection();
    const parts = prose.at(-1)?.matches("p") ? sentences(prose.at(-1)) : [];
    const lead = copyOf(parts.findLast((part) => !/^\s*\(/.test(part.textContent)) ?? make("p", ""));
    lead.className = "lead";
    if (before?.command && !prose.length) return void before.blocks.push(thing);
    if (before && prose.length === 1 && parts.length > 1) prose = [make("p", "", ...parts.slice(0, -1)), parts.at(-1)];
    if (before) before.notes.push(...prose.splice(0, prose.length - 1));
    const isLead = !thing.matches("blockquote") && lead.textContent === prose.at(-1)?.textContent;
    if (isLead) prose.pop(); // it is on the slide
    const command = thing.matches("pre") && !/\n./.test(thing.textContent);
    if (/you can$/.test(lead.textContent)) add("goals", [thing], prose, { title: lead.textContent });
    else if (thing.matches("blockquote")) add("trap", [thing], prose);
    else add("", [thing], prose, { command, lead: lead.textContent && lead });
  };
  // The reasons of a question are notes, too.
  const reasons = (details) => {
    const words = [...details.children].filter((child) => child.matches("p")).map(copyOf);
    const title = details.querySelector("summary").textContent + (details.matches(".right") ? " (right)" : "");
    return [make("p", "", make("strong", "", title)), ...words];
  };
  const endTask = () => {
    if (task?.blocks.length) add(task.kind, task.blocks, [...prose, ...task.blocks.filter(isFolded).flatMap(reasons)]);
    task = null;
  };
  // A section that shows nothing says its main words.
  const endSection = () => {
    endTask();
    const all = prose.flatMap(sentences);
    const bold = all.filter((sentence) => sentence.querySelector("strong")).slice(0, 5);
    if (ofSection()) ofSection().notes.push(...prose);
    else if (section?.tagName === "H1") add("title", [make("p", "")], prose);
    else if (all.length) add("words", all.length < 4 ? all : bold.length ? bold : all.slice(0, 1), prose);
    prose = [];
  };
  const skip = (details) => {
    const said = [...details.querySelectorAll("p")].filter((p) => !p.closest("figure, blockquote, li, td, dd")).map(copyOf);
    const words = [make("p", "", ...copyOf(details.firstElementChild).childNodes), ...said];
    if (!task && ofSection()) ofSection().notes.push(...prose.splice(0), ...words);
    else prose.push(...words);
  };
  const read = (element) => {
    if (isExtra(element)) return void skip(element);
    const asks = taskOf(element);
    const isAsked = task?.blocks.some(isFolded);
    if (isHeading(element)) {
      endSection();
      section = element;
      if (element.id.startsWith("predict")) task = { kind: "question", blocks: [] };
    } else if (asks && (!task || isAsked || task.kind !== "question")) {
      endTask();
      task = { kind: asks[1] ? "exercise" : "question", blocks: [element] };
    } else if (task && (task.kind === "exercise" || !isAsked || element.matches(".choice"))) {
      task.blocks.push(element);
      if (task.kind === "question" && element.matches("details:not(.choice)")) endTask();
    } else {
      endTask();
      if (isFolded(element)) row([...element.children].slice(1)).forEach(read);
      else if (isThing(element)) show(element);
      else if (section.tagName === "H1" && !ofSection()) add("title", [element], []);
      else if (element.textContent.trim()) prose.push(element);
    }
  };

  // A face is what the room sees: 1280 by 720 of its own pixels, at any size.
  const smallest = 18;
  const sizes = [32, 28, 26, 24, 22, 20, smallest];
  const isReadable = (svg) => {
    const { width, height } = svg.viewBox.baseVal;
    const scale = Math.min(svg.clientWidth / width, svg.clientHeight / height);
    return !svg.clientWidth || [...svg.querySelectorAll("text")].every((text) =>
      parseFloat(getComputedStyle(text).fontSize) * scale > smallest - 0.5);
  };
  const fits = (body) => body.scrollHeight <= body.clientHeight + 1 && body.scrollWidth <= body.clientWidth + 1 &&
    [...body.querySelectorAll("figure svg")].every(isReadable);
  // Smaller letters first, but a long line wraps before it makes all of them
  // small; then one answer at a time.
  const set = (face, size, ...more) => {
    face.style.setProperty("--size", `${size}px`);
    for (const name of ["wrapped", "alone"]) face.classList.toggle(name, more.includes(name));
    return fits(face.querySelector(".body"));
  };
  const fit = (face) => sizes.some((size) => set(face, size) || (size < 24 && face.querySelector("pre") && set(face, size + 4, "wrapped"))) ||
    [["wrapped"], ["wrapped", "alone"]].some((more) => sizes.some((size) => set(face, size, ...more)));
  const couldFit = (face) => set(face, smallest, "wrapped") || set(face, smallest, "wrapped", "alone");
  const opens = (face, details) => {
    details.open = true;
    const isGood = couldFit(face);
    details.open = false;
    return isGood;
  };
  const split = (blocks) => (blocks[0].matches(".lead") ? [[blocks[0]], blocks.slice(1)] : [[], blocks]);
  const isDrawing = (block) => block.matches("figure:not(.panels)") && block.querySelectorAll("svg").length === 1;
  const stage = (slide, blocks) => {
    const title = make(slide.kind === "title" ? "h1" : "h2", "");
    title.innerHTML = slide.title;
    const [lead, things] = split(blocks);
    const body = make("div", "body", ...things);
    const face = make("div", "face", title, ...lead, body);
    face.dataset.kind = slide.kind;
    face.classList.toggle("drawing", isDrawing(blocks.at(-1)));
    main.append(face);
    face.tall = [...face.querySelectorAll("details")].filter((details) => !opens(face, details));
    face.isGood = set(face, smallest, "wrapped") && !face.tall.length;
    if (!face.isGood && isDrawing(blocks.at(-1))) measure(face.querySelector("figure svg"));
    face.need = Math.max(2, Math.floor(body.scrollHeight / body.clientHeight));
    face.remove();
    return face;
  };

  // What is too long for a face is cut where a row ends, or a line.
  const rowsOf = (block) => {
    const list = block.matches(".terminals, blockquote, ul, ol, dl") ? block : block.querySelector("tbody, .panels > ol");
    const rows = [];
    for (const child of list?.children ?? []) {
      if (child.matches("dd")) rows.at(-1).push(child);
      else rows.push([child]);
    }
    return rows;
  };
  const linesOf = (block) => (rowsOf(block).length > 1 ? [] : block.querySelector("code")?.textContent.match(/.*\n|.+/g) ?? []);
  const unitsOf = (block) => {
    if (isDrawing(block)) return Array(4).fill("");
    return rowsOf(block).length > 1 ? rowsOf(block) : linesOf(block);
  };
  const keepLines = (code, lines, from, to) => {
    const spot = (line) => {
      const walker = document.createTreeWalker(code, NodeFilter.SHOW_TEXT);
      let left = lines.slice(0, line).join("").length;
      while (walker.nextNode() && left > walker.currentNode.length) left -= walker.currentNode.length;
      return [walker.currentNode ?? code, walker.currentNode ? left : code.childNodes.length];
    };
    const range = document.createRange();
    range.setStart(...spot(to));
    range.setEndAfter(code.lastChild);
    range.deleteContents();
    range.setStart(code, 0);
    range.setEnd(...spot(from));
    range.deleteContents();
  };
  // A drawing is cut between its words: each part has what reaches into its band.
  const shapes = "text, line, rect, circle, path:not(marker *)";
  const measure = (svg) => {
    const { d, f } = svg.getScreenCTM();
    for (const shape of svg.querySelectorAll(shapes)) {
      const { top, bottom } = shape.getBoundingClientRect();
      shape.reach = [(top - f) / d, (bottom - f) / d];
    }
  };
  const bands = (figure, n) => {
    const svg = figure.querySelector("svg");
    const { width, height } = svg.viewBox.baseVal;
    const all = [...svg.querySelectorAll(shapes)];
    const words = all.filter((shape) => shape.matches("text, circle"));
    const isFree = (y) => words.every(({ reach: [top, bottom] }) => y <= top || y >= bottom);
    const ends = Array.from({ length: n + 1 }, (_, i) => Math.round((i * height) / n));
    for (let i = 1; i < n; i += 1) {
      const free = Array.from({ length: 80 }, (_, k) => ends[i] + (k % 2 ? k : -k) / 2).find(isFree);
      ends[i] = free ?? ends[i];
    }
    return ends.slice(1).map((to, i) => {
      const copy = figure.cloneNode(true);
      const band = copy.querySelector("svg");
      band.setAttribute("viewBox", `0 ${ends[i]} ${width} ${to - ends[i]}`);
      [...band.querySelectorAll(shapes)].forEach((shape, k) => {
        const [top, bottom] = all[k].reach;
        if (bottom <= ends[i] || top >= to) shape.remove();
      });
      copy.innerHTML = copy.innerHTML.replace(/\b(id="|labelledby="|url\(#)/g, `$1${"part-".repeat(i)}`);
      return copy;
    });
  };
  const part = (block, from, to) => {
    const copy = block.cloneNode(true);
    if (from) copy.replaceChildren(...copyOf(copy).childNodes);
    const lines = linesOf(block);
    if (lines.length) keepLines(copy.querySelector("code"), lines, from, to);
    else rowsOf(copy).forEach((cells, i) => (i < from || i >= to) && cells.forEach((cell) => cell.remove()));
    if (copy.matches("ol")) copy.start = from + 1;
    return copy;
  };
  const cut = (block, n) => {
    if (isDrawing(block)) return bands(block, n);
    const units = unitsOf(block);
    const ends = Array.from({ length: n + 1 }, (_, i) => Math.round((i * units.length) / n));
    for (let i = 1; i < n; i += 1) { // after an empty line, if one is near
      const blank = [0, 1, 2, 3, 4].map((k) => ends[i] - k).find((end) => end > ends[i - 1] && units[end - 1] === "\n");
      ends[i] = blank ?? ends[i];
    }
    return ends.slice(1).map((end, i) => part(block, ends[i], end));
  };
  const paginate = (slide, blocks) => {
    const face = stage(slide, blocks);
    if (face.isGood) return [face];
    const [lead, things] = split(blocks);
    if (things.length > 1) {
      let n = things.length - 1;
      while (n > 1 && !stage(slide, [...lead, ...things.slice(0, n)]).isGood) n -= 1;
      return [...paginate(slide, [...lead, ...things.slice(0, n)]), ...paginate(slide, things.slice(n))];
    }
    const count = unitsOf(things[0]).length;
    for (let n = face.need; n <= count; n += 1) {
      const faces = cut(things[0], n).map((piece, i) => stage(slide, [...(i ? [] : lead), piece]));
      if (faces.every(({ isGood }) => isGood)) return faces;
    }
    if (count < 2 || linesOf(things[0]).length) return [stage(slide, blocks)];
    return cut(things[0], count).flatMap((piece, i) => paginate(slide, [...(i ? [] : lead), piece]));
  };
  // What an answer shows gets a slide of its own where there is no room for it.
  const facesOf = (slide) => {
    const blocks = [...(slide.lead ? [slide.lead] : []), ...slide.blocks];
    const more = stage(slide, blocks).tall.flatMap((details) => {
      const title = `${slide.title}: ${details.querySelector("summary").innerHTML}`;
      const things = row(details.children).filter(isThing);
      if (things.length) details.append(make("p", "", "What belongs here is on the next slide."));
      return things.map((thing) => ({ thing, title }));
    });
    for (const { thing } of more) thing.remove();
    const answers = more.flatMap(({ thing, title }) => paginate({ kind: "", title }, [thing]));
    return [...paginate(slide, blocks), ...answers];
  };

  // All that the page has: what was in `main` is in the faces and notes now.
  const readPage = () => {
    for (const buttons of main.querySelectorAll("pre > .buttons")) buttons.remove();
    for (const file of main.querySelectorAll(".file")) {
      const pre = file.nextElementSibling;
      const listing = make("div", "listing");
      pre.after(listing);
      listing.append(file, pre);
    }
    for (const widget of main.querySelectorAll("figure > .widget")) { // a copy of it would do nothing
      const figure = widget.parentElement.cloneNode(false);
      widget.parentElement.before(figure);
      figure.append(widget);
    }
    row(main.children).forEach(read);
    endSection();
    main.replaceChildren();
    return slides.map((slide) => ({ ...slide, faces: facesOf(slide) }));
  };
  return { readPage, fit, make, copyOf };
})();
