// A page as slides: what it shows, one thing after another, and its prose as
// the speaker's notes. ?slides behind the address of a page asks for it.
"use strict";
(() => {
  const query = new URLSearchParams(location.search);
  const main = document.querySelector("main");
  const page = location.pathname.split("/").pop().replace(/\.html$/, "");
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

  // The teacher's guide, in a hidden frame: it sends its notes on one page.
  if (query.has("notes")) {
    const items = [];
    let next = document.getElementById(`guide-${query.get("notes")}`)?.nextElementSibling;
    for (; next && !/^H[12]$/.test(next.tagName); next = next.nextElementSibling) {
      items.push(...(next.matches("ul, ol") ? next.children : [next]));
    }
    window.parent.postMessage({ notes: items.map((item) => item.outerHTML) }, "*");
    return;
  }

  const isHeading = (element) => /^H[1-6]$/.test(element.tagName);
  const headings = [...main.querySelectorAll("h1, h2, h3, h4")].filter(({ id }) => id);

  // The way in: only for a chapter, or a page that asks its reader something.
  if (!query.has("slides")) {
    const isChapter = document.querySelector("#mdbook-sidebar a.active")?.matches(".spacer ~ * *") === false;
    if (!isChapter && !main.querySelector("[id^=predict]")) return;
    if (main.querySelectorAll("h1").length > 1) return; // the whole book
    const link = make("a", "icon-button slides-link");
    link.innerHTML = '<span class="fa-svg"><svg viewBox="0 0 16 16"><path fill-rule="evenodd"' +
      ' d="M0 1h16v11H9v2h3v1H4v-1h3v-2H0zM2 3v7h12V3z"/></svg></span>';
    link.title = "Slides (v)";
    link.setAttribute("aria-label", "Slides");
    link.setAttribute("aria-keyshortcuts", "v");
    const aim = () => {
      const seen = headings.filter((heading) => heading.getBoundingClientRect().top < 120).at(-1);
      link.href = `?slides#${seen?.id ?? ""}`;
    };
    aim();
    link.addEventListener("click", aim);
    document.querySelector(".right-buttons").prepend(link);
    document.addEventListener("keydown", (event) => {
      if (event.key !== "v" || event.ctrlKey || event.altKey || event.metaKey) return;
      if (!event.target.closest("input, textarea, select")) link.click();
    });
    return;
  }

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
  const row = (elements) => [...elements].flatMap((element) =>
    (element.matches("div") && !isThing(element) ? row(element.children) : [element]));
  const taskOf = (element) => element.matches("p") && element.firstElementChild?.matches("strong") &&
    element.firstElementChild.textContent.match(/^(?:Predict|(Break|Build|Measure) it)\.$|^\d+\. .*\?$/s);

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
  const read = (element) => {
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
      if (isFolded(element)) {
        prose.push(make("p", "", ...copyOf(element.firstElementChild).childNodes));
        row([...element.children].slice(1)).forEach(read);
      } else if (isThing(element)) show(element);
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
  // Smaller letters first, then lines that wrap, then one answer at a time.
  const set = (face, size, ...more) => {
    face.style.setProperty("--size", `${size}px`);
    for (const name of ["wrapped", "alone"]) face.classList.toggle(name, more.includes(name));
    return fits(face.querySelector(".body"));
  };
  const fit = (face) => [[], ["wrapped"], ["wrapped", "alone"]].some((more) => sizes.some((size) => set(face, size, ...more)));
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
      return row(details.children).filter(isThing).map((thing) => ({ thing, title }));
    });
    for (const { thing } of more) thing.remove();
    const answers = more.flatMap(({ thing, title }) => paginate({ kind: "", title }, [thing]));
    return [...paginate(slide, blocks), ...answers];
  };

  const bar = make("nav", "slides-bar");
  const status = make("p", "copied");
  const faces = []; // the sections, one for each face
  let now = 0;
  const build = () => {
    for (const buttons of main.querySelectorAll("pre > .buttons")) buttons.remove();
    for (const file of main.querySelectorAll(".file")) {
      const pre = file.nextElementSibling;
      const listing = make("div", "listing");
      pre.after(listing);
      listing.append(file, pre);
    }
    row(main.children).forEach(read);
    endSection();
    main.replaceChildren(bar);
    for (const slide of slides) {
      const parts = facesOf(slide);
      parts.forEach((face, i) => {
        const isFirst = !faces.some(({ of }) => of === slide.section);
        const one = make("section", "slide", face, make("aside", "notes", ...(i ? [] : slide.notes)));
        one.of = slide.section;
        one.id = isFirst ? slide.section.id : `${slide.section.id}.${faces.filter(({ of }) => of === one.of).length + 1}`;
        one.lastElementChild.setAttribute("aria-label", "Notes");
        one.lastElementChild.tabIndex = 0;
        one.setAttribute("aria-roledescription", "slide");
        if (parts.length > 1) face.append(make("p", "part", `${i + 1} of ${parts.length}`));
        faces.push(one);
        bar.before(one);
      });
    }
    faces.forEach((one, i) => {
      const name = `${i + 1} of ${faces.length}`;
      one.setAttribute("aria-label", `${name}: ${titleOf(one)}`);
      one.firstElementChild.append(make("p", "foot", `${document.title.replace(/ - .*/, "")} · ${name}`));
    });
  };
  const titleOf = (one) => one?.querySelector("h1, h2").textContent ?? "the end";

  const resize = () => {
    const height = window.innerHeight * (main.classList.contains("with-notes") ? 0.7 : 1);
    const scale = Math.min(window.innerWidth / 1280, height / 720);
    main.style.setProperty("--scale", scale);
    main.style.setProperty("--top", `${(height - 720 * scale) / 2}px`);
    main.style.setProperty("--left", `${(window.innerWidth - 1280 * scale) / 2}px`);
  };
  const go = (to) => {
    now = Math.max(0, Math.min(faces.length - 1, to));
    faces.forEach((one, i) => { one.hidden = i !== now; });
    fit(faces[now].firstElementChild);
    status.textContent = faces[now].getAttribute("aria-label");
    history.replaceState(null, "", `#${faces[now].id}`);
    tell();
  };
  const find = () => {
    const id = decodeURIComponent(location.hash.slice(1));
    const there = id && document.getElementById(id)?.closest(".slide");
    go(there ? faces.indexOf(there) : now);
  };
  const leave = () => {
    presenter?.close();
    location.href = `${location.pathname}#${faces[now].of.id}`;
  };

  // The presenter's window has no script: this page writes into it.
  let presenter = null;
  let since = 0;
  const present = () => {
    presenter = window.open("", "presenter", "popup,width=900,height=700");
    if (!presenter) return;
    const page = presenter.document;
    page.title = `Notes: ${document.title}`;
    page.documentElement.className = `${document.documentElement.className} presenter`;
    page.documentElement.lang = document.documentElement.lang;
    page.head.append(...[...document.querySelectorAll("link[rel=stylesheet]")].map(({ href }) =>
      Object.assign(page.createElement("link"), { rel: "stylesheet", href })));
    page.body.innerHTML = '<div class="content"><main><p class="clock"></p><h1></h1><p class="next"></p><div class="notes"></div></main></div>';
    presenter.onkeydown = press;
    since = Date.now();
    tell();
  };
  const tell = () => {
    if (!presenter || presenter.closed) return;
    const put = (selector, text) => { presenter.document.querySelector(selector).textContent = text; };
    put("h1", status.textContent);
    put(".next", `Next: ${titleOf(faces[now + 1])}`);
    presenter.document.querySelector(".notes").innerHTML = faces[now].lastElementChild.innerHTML;
    tick();
  };
  const tick = () => {
    if (!presenter || presenter.closed) return;
    const seconds = Math.floor((Date.now() - since) / 1000);
    const elapsed = `${Math.floor(seconds / 60)}:${String(seconds % 60).padStart(2, "0")}`;
    const clock = presenter.document.querySelector(".clock");
    if (clock) clock.textContent = `${new Date().toLocaleTimeString([], { timeStyle: "short" })} · ${elapsed} gone`;
  };

  const showNotes = () => {
    main.classList.toggle("with-notes");
    resize();
  };
  const commands = {
    ArrowRight: () => go(now + 1), ArrowDown: () => go(now + 1), PageDown: () => go(now + 1), " ": () => go(now + 1),
    ArrowLeft: () => go(now - 1), ArrowUp: () => go(now - 1), PageUp: () => go(now - 1),
    Home: () => go(0), End: () => go(faces.length - 1), Escape: leave, n: showNotes, p: present,
  };
  // mdBook's own keys would turn to another chapter, or open what is not shown.
  const press = (event) => {
    if (event.ctrlKey || event.altKey || event.metaKey) return;
    if (event.key !== "Escape" && event.target.closest("input, textarea, select")) return;
    if (event.key === " " && event.target.closest("summary, button, a")) return;
    if (/^(Arrow|Page|Home|End)/.test(event.key) && event.target.closest(".notes")) return event.stopImmediatePropagation();
    const command = event.key === " " && event.shiftKey ? commands.ArrowLeft : commands[event.key];
    if (command) event.preventDefault();
    if (command || /^[s/?]$/.test(event.key)) event.stopImmediatePropagation();
    command?.();
  };

  // What the guide says of a section goes to its first slide, all else to the title's.
  const askGuide = () => {
    const frame = Object.assign(make("iframe", ""), { hidden: true, src: `teaching-chapters.html?notes=${page}` });
    window.addEventListener("message", ({ source, data }) => {
      if (source !== frame.contentWindow || !Array.isArray(data?.notes)) return;
      for (const html of data.notes) {
        const note = make("div", "guide");
        note.innerHTML = html;
        const aim = new RegExp(`^${page}\\.html#(.+)`);
        const id = [...note.querySelectorAll("a[href]")].map((link) => link.getAttribute("href").match(aim)?.[1]).find(Boolean);
        const to = (id && document.getElementById(id)?.closest(".slide")) || faces[0];
        to.lastElementChild.append(copyOf(note));
      }
      frame.remove();
      tell();
    });
    document.body.append(frame);
  };

  // Notes get what room they need: first smaller letters, then a smaller slide.
  const papers = [[0.8, 14], [0.7, 13], [0.62, 12], [0.62, 11], [0.5, 11], [0.5, 10], [0.4, 10], [0.4, 9], [0.32, 9], [0.32, 8]];
  const toPaper = () => {
    document.documentElement.classList.add("paper");
    for (const details of main.querySelectorAll("details")) details.open = false; // book.js opened them
    for (const one of faces) {
      fit(one.firstElementChild);
      const { lastElementChild: notes } = one;
      papers.some(([scale, letters]) => {
        one.style.setProperty("--scale", scale);
        notes.style.setProperty("--letters", `${letters}px`);
        return notes.scrollWidth <= notes.clientWidth && notes.scrollHeight <= notes.clientHeight;
      });
    }
  };
  const fromPaper = () => {
    document.documentElement.classList.remove("paper");
    for (const one of faces) one.style.removeProperty("--scale");
  };

  const start = () => {
    build();
    const buttons = [["‹", "Previous slide", commands.ArrowLeft], ["›", "Next slide", commands.ArrowRight],
      ["Notes", "Notes (n)", showNotes], ["Presenter", "A window for the speaker (p)", present], ["Page", "Back to the page (Esc)", leave]];
    for (const [text, title, run] of buttons) {
      const button = Object.assign(make("button", "", text), { type: "button", title, ariaLabel: title.replace(/ \(.*/, "") });
      button.addEventListener("click", run);
      bar.append(button);
    }
    status.setAttribute("role", "status");
    main.append(status);
    bar.setAttribute("aria-label", "Slides");
    resize();
    find();
    window.addEventListener("load", askGuide);
    window.addEventListener("resize", resize);
    window.addEventListener("hashchange", find);
    window.addEventListener("keydown", press, true);
    let swipe = 0;
    main.addEventListener("pointerdown", ({ clientX }) => { swipe = clientX; });
    main.addEventListener("pointerup", ({ clientX, pointerType }) => {
      if (pointerType === "touch" && Math.abs(clientX - swipe) > 50) go(now + (clientX < swipe ? 1 : -1));
    });
    document.addEventListener("toggle", () => fit(faces[now].firstElementChild), true);
    window.addEventListener("beforeprint", toPaper);
    window.addEventListener("afterprint", fromPaper);
    document.head.append(make("style", "", "@page { size: A4 landscape; margin: 10mm }"));
    window.setInterval(tick, 1000);
  };
  document.documentElement.classList.add("slides");
  start();
})();
