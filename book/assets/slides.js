// A page as slides: what it shows, one thing after another, and its prose as
// the speaker's notes. ?slides behind the address of a page asks for it.
// Without JavaScript it is the page.
"use strict";
(() => {
  const query = new URLSearchParams(location.search);
  const main = document.querySelector("main");
  const page = location.pathname.split("/").pop().replace(/\.html$/, "") || "index";
  const { readPage, fit, make, copyOf } = slideFaces;

  // The teacher's guide, in a hidden frame: it sends its notes on one page.
  if (query.has("notes")) {
    const items = [];
    let head = ""; // of a list or a table: it goes where they go
    let next = document.getElementById(`guide-${query.get("notes")}`)?.nextElementSibling;
    for (; next && !/^H[12]$/.test(next.tagName); next = next.nextElementSibling) {
      const isHead = next.matches("p") && next.children.length === 1 && next.firstElementChild.matches("strong") &&
        next.textContent === next.firstElementChild.textContent;
      if (next.matches("ul, ol")) {
        const number = (i) => (next.matches("ol") ? `${i + 1}. ` : "");
        items.push(...[...next.children].map((item, i) => `<p>${head} ${number(i)}${item.innerHTML}</p>`));
      } else if (!isHead) items.push(`${head && `<p>${head}</p>`}${next.outerHTML}`);
      head = isHead ? next.innerHTML : "";
    }
    window.parent.postMessage({ notes: items }, "*");
    return;
  }

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

  const bar = make("nav", "slides-bar");
  const status = make("p", "copied");
  const faces = []; // the sections, one for each face
  let now = 0;
  // The short way: the title, and the sections that the guide shows.
  // It, and when the talk began, hold from chapter to chapter.
  const kept = (name, value) => {
    try {
      if (value !== undefined) sessionStorage.setItem(`slides-${name}`, value);
      return Number(sessionStorage.getItem(`slides-${name}`));
    } catch {
      return 0;
    }
  };
  let isShort = query.get("slides") === "short" || kept("short") === 1;
  const shown = new Set(); // their names
  const isOn = (i) => !isShort || !shown.size || i < 1 || i >= faces.length || shown.has(faces[i].of);
  const from = (i, by) => (isOn(i + by) ? i + by : from(i + by, by));
  const build = () => {
    for (const slide of readPage()) {
      const { id } = slide.section;
      slide.faces.forEach((face, i) => {
        const one = make("section", "slide", face, make("aside", "notes", ...(i ? [] : slide.notes)));
        const before = faces.filter(({ of }) => of === id).length;
        Object.assign(one, { of: id, id: before ? `${id}.${before + 1}` : id });
        one.setAttribute("aria-roledescription", "slide");
        one.lastElementChild.setAttribute("aria-label", "Notes");
        one.lastElementChild.tabIndex = 0;
        if (slide.faces.length > 1) face.append(make("p", "part", `${i + 1} of ${slide.faces.length}`));
        faces.push(one);
      });
    }
    for (const one of faces) one.firstElementChild.append(make("p", "foot"));
    number();
    main.append(...faces, bar, status);
  };
  // Counts the slides that are on; paper has only them.
  const number = () => {
    const on = faces.filter((one, i) => isOn(i));
    for (const one of faces) {
      const at = on.indexOf(one);
      const name = at < 0 ? "left out" : `${at + 1} of ${on.length}`;
      one.classList.toggle("left-out", at < 0);
      one.setAttribute("aria-label", `${name}: ${titleOf(one)}`);
      const onward = following && one === on.at(-1) ? ` · → ${following.textContent.trim()}` : "";
      one.querySelector(".foot").textContent = `${document.title.replace(/ - .*/, "")} · ${name}${onward}`;
    }
  };
  const titleOf = (one) => one?.querySelector("h1, h2").textContent ?? (following?.textContent.trim() || "the end");
  // What comes next, if its title does not say that.
  const kinds = { transcript: ".terminals, .language-console", listing: "pre", drawing: "figure", table: "table", trap: "blockquote" };
  const kindOf = (one) => {
    const face = one?.querySelector(".face");
    if (!face || titleOf(one) !== titleOf(faces[now])) return "";
    const kind = face.dataset.kind || Object.keys(kinds).find((name) => face.querySelector(kinds[name]));
    return kind ? ` (${kind})` : "";
  };
  // The next chapter, in the contents.
  const chapters = [...document.querySelectorAll("#mdbook-sidebar .chapter > li > span > a[href]")].filter((link) => !link.matches(".spacer ~ * *"));
  const following = chapters[chapters.findIndex((link) => link.matches(".active")) + 1 || chapters.length];

  // On a touch screen the buttons have a place of their own, below or beside.
  const resize = () => {
    const style = getComputedStyle(main);
    const [below, beside] = ["--below", "--beside"].map((name) => parseFloat(style.getPropertyValue(name)));
    const hasNotes = main.classList.contains("with-notes");
    const width = window.innerWidth - beside;
    const height = (window.innerHeight - below) * (hasNotes ? 0.7 : 1);
    const scale = Math.min(width / 1280, height / 720);
    main.style.setProperty("--scale", scale);
    main.style.setProperty("--top", `${hasNotes ? 0 : (height - 720 * scale) / 2}px`);
    main.style.setProperty("--left", `${beside + (width - 1280 * scale) / 2}px`);
  };
  // A slide that goes on has the notes of its first part, but not on paper.
  const repeatNotes = () => {
    const first = faces.findLast((one, i) => i <= now && one.lastElementChild.matches(":not(:empty, .again)"));
    const { lastElementChild: notes } = faces[now];
    if (first === faces[now] || first?.of !== faces[now].of) return;
    notes.classList.add("again");
    notes.replaceChildren(...[...first.lastElementChild.children].map(copyOf));
  };
  const go = (to) => {
    if (to === faces.length && following) {
      presenter?.close();
      location.href = `${following.href}?slides${isShort ? "=short" : ""}`;
      return;
    }
    now = Math.max(0, Math.min(faces.length - 1, to));
    faces.forEach((one, i) => { one.hidden = i !== now; });
    repeatNotes();
    fit(faces[now].firstElementChild);
    status.textContent = faces[now].getAttribute("aria-label");
    history.replaceState(null, "", `#${faces[now].id}`);
    tell();
  };
  const find = () => {
    const id = location.hash.slice(1); // no heading has a name that is escaped
    const there = id && document.getElementById(id)?.closest(".slide");
    go(there ? faces.indexOf(there) : now);
  };
  const leave = () => {
    presenter?.close();
    location.href = `${location.pathname}#${faces[now].of}`;
  };

  // The presenter's window has no script: this page writes into it.
  let presenter = null;
  let since = 0;
  const present = () => {
    if (presenter && !presenter.closed) return presenter.focus();
    presenter = window.open("", `presenter-${page}`, "popup,width=900,height=700");
    if (!presenter) return window.alert("Your browser has blocked the speaker's window: allow it for this page, and try again.");
    const { document: notes } = presenter;
    const { color, backgroundColor } = getComputedStyle(main);
    notes.title = `Notes: ${document.title}`;
    notes.documentElement.lang = document.documentElement.lang;
    notes.head.innerHTML = `<style>body { margin: 1.5em; font: 1.25em/1.5 sans-serif; color: ${color}; background: ${backgroundColor} }
      a { color: inherit } li { list-style: none } .clock { font-size: 1.5em }</style>`;
    notes.body.innerHTML = '<p class="clock"></p><h1></h1><p class="next"></p><div class="notes"></div>';
    presenter.onkeydown = press;
    since = Date.now() - kept("since") < 4 * 3600000 ? kept("since") : Date.now();
    kept("since", since);
    tell();
  };
  const tell = () => {
    if (!presenter || presenter.closed) return;
    const put = (selector, text) => { presenter.document.querySelector(selector).textContent = text; };
    put("h1", faces[now].getAttribute("aria-label"));
    const next = faces[from(now, 1)];
    put(".next", `Next: ${titleOf(next)}${kindOf(next)}`);
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
  const shorten = () => {
    isShort = !isShort;
    kept("short", isShort ? 1 : 0);
    bar.querySelector("[aria-pressed]").ariaPressed = isShort;
    const few = shown.size ? "Only the slides that the guide shows" : "All slides: the guide names none of this page";
    status.textContent = isShort ? few : "All slides";
    number();
    tell();
  };
  const [onward, back] = [() => go(from(now, 1)), () => go(from(now, -1))];
  const commands = {
    ArrowRight: onward, ArrowDown: onward, PageDown: onward, " ": onward, ArrowLeft: back, ArrowUp: back, PageUp: back,
    Home: () => go(0), End: () => go(from(faces.length, -1)), Escape: leave, n: showNotes, p: present, b: shorten,
  };
  const early = []; // what keys ask for before there are slides
  // mdBook's own keys would turn to another chapter, or open what is not shown.
  const press = (event) => {
    if (event.ctrlKey || event.altKey || event.metaKey) return;
    if (event.key !== "Escape" && event.target.closest?.("input, textarea, select")) return;
    if (event.key === " " && event.target.closest?.("summary, button, a")) return;
    if (/^(Arrow|Page|Home|End)/.test(event.key) && event.target.closest?.(".notes")) return event.stopImmediatePropagation();
    const command = event.key === " " && event.shiftKey ? commands.ArrowLeft : commands[event.key];
    if (command) event.preventDefault();
    if (command || /^[s/?]$/.test(event.key)) event.stopImmediatePropagation();
    if (faces.length) command?.();
    else if (command) early.push(command);
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
        const ids = [...note.querySelectorAll("a[href]")].map((link) => link.getAttribute("href").match(aim)?.[1]).filter(Boolean);
        if (/^Show( on slides)?\./.test(note.textContent)) ids.filter((id) => !/^(exercises|check-yourself)$/.test(id)).forEach((id) => shown.add(id));
        const to = (ids[0] && document.getElementById(ids[0])?.closest(".slide")) || faces[0];
        to.lastElementChild.append(copyOf(note));
      }
      frame.remove();
      number();
      if (isShort) status.textContent = faces[now].getAttribute("aria-label");
      tell();
    });
    document.body.append(frame);
  };

  // Notes get what room they need: first smaller letters, then a smaller slide.
  const papers = [[0.8, 14], [0.7, 13], [0.62, 12], [0.62, 11], [0.5, 11], [0.5, 10], [0.4, 10], [0.4, 9], [0.32, 9], [0.32, 8]];
  const toPaper = () => {
    document.documentElement.classList.add("paper");
    for (const details of main.querySelectorAll("details")) details.open = false; // book.js opened them
    for (const notes of main.querySelectorAll(".again")) {
      notes.replaceChildren();
      notes.classList.remove("again");
    }
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
      ["Notes", "Notes (n)", showNotes], ["Short", "Only what the guide shows (b)", shorten],
      ["Presenter", "A window for the speaker (p)", present], ["Back to the page", "Back to the page (Esc)", leave]];
    for (const [text, title, run] of buttons) {
      const button = Object.assign(make("button", "", text), { type: "button", title, ariaLabel: /\w/.test(text) ? text : title });
      if (run === present) button.className = "presents";
      if (run === shorten) button.ariaPressed = isShort;
      button.addEventListener("click", run);
      bar.append(button);
    }
    status.setAttribute("role", "status");
    bar.setAttribute("aria-label", "Slides");
    resize();
    find();
    askGuide();
    window.addEventListener("resize", resize);
    window.addEventListener("hashchange", find);
    let swipe = 0;
    main.addEventListener("pointerdown", ({ clientX }) => { swipe = clientX; });
    main.addEventListener("pointerup", ({ clientX, pointerType }) => {
      if (pointerType === "touch" && Math.abs(clientX - swipe) > 50) (clientX < swipe ? onward : back)();
    });
    document.addEventListener("toggle", () => fit(faces[now].firstElementChild), true);
    window.addEventListener("beforeprint", toPaper);
    window.addEventListener("afterprint", fromPaper);
    document.head.append(make("style", "", "@page { size: A4 landscape; margin: 10mm }"));
    window.setInterval(tick, 1000);
    for (const command of early) command();
  };
  window.addEventListener("keydown", press, true);
  document.documentElement.classList.add("slides");
  const fonts = ["", "bold ", "italic "].map((style) => document.fonts.load(`${style}16px "Open Sans"`));
  Promise.allSettled([...fonts, document.fonts.load('16px "Source Code Pro"')]).then(start);
})();
