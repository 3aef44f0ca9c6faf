// What mdBook does not give: terminals and boxes for the eye, and what a
// keyboard and a screen reader need. Without this, every word is still there.
"use strict";
(() => {
  const all = (selector) => document.querySelectorAll(selector);
  const make = (name, className, text = "") => {
    const element = document.createElement(name);
    element.className = className;
    element.textContent = text;
    return element;
  };

  // Client or server? The title of a terminal says so.
  const role = (title) =>
    title.match(/^(?:the |a second |a |two |three )?(client|server)/)?.[1] ??
    title.match(/, (?:the|a|with a) (client|server)$/)?.[1] ?? "other";

  // A long line gets smaller letters before it has to scroll.
  const scrolls = (code) => code.scrollWidth > code.clientWidth;
  const fit = (code) => {
    if (code.classList.toggle("long", scrolls(code)) && scrolls(code)) code.classList.remove("long");
  };

  // A line with a prompt is typed; the rest is what the programs print, and
  // they start a line with the word for the end that speaks.
  const lines = (code, text) => {
    code.replaceChildren();
    let typed = "typed";
    let goesOn = false; // a command whose line ends in a backslash
    for (const line of text.match(/[^\n]*\n|[^\n]+/g) ?? []) {
      const [, prompt, end, rest] = line.match(/^(\$ )?((?:client|server)(?=[ :])(?: [A-Z]:)?)?(.*)/s);
      if (prompt) code.append(make("span", "prompt", prompt));
      if (prompt || goesOn) {
        code.append(make("span", typed, (end ?? "") + rest));
        goesOn = rest.endsWith("\\\n");
        continue;
      }
      const printed = make("span", "printed", rest);
      if (end) printed.prepend(make("span", end.slice(0, 6), end));
      code.append(printed);
      if (line === "^Z\n") typed = "typed later"; // the reader must press that key first
    }
  };

  // A transcript of several terminals becomes as many boxes.
  for (const code of all("main pre > code.language-console")) {
    const parts = code.textContent.split(/^# (terminal \d+: .*)\n/m);
    if (parts.length < 3) {
      lines(code, code.textContent);
      continue;
    }
    const pre = code.parentElement;
    const box = make("div", "terminals");
    for (let i = 1; i < parts.length; i += 2) {
      const name = role(parts[i].replace(/^terminal \d+: /, ""));
      const terminal = make("div", `terminal ${name}`);
      terminal.setAttribute("role", "group");
      terminal.setAttribute("aria-label", parts[i]);
      const one = pre.cloneNode(true);
      lines(one.querySelector("code"), parts[i + 1].trimEnd() + "\n");
      const title = make("div", "title", parts[i]);
      title.ariaHidden = "true"; // the group has it as its name
      one.dataset.name = parts[i];
      terminal.append(title, one);
      box.append(terminal);
    }
    pre.replaceWith(box);
  }
  all("main pre > code.language-console").forEach(fit);

  // Copying a transcript takes what is typed, up to a key that only the reader
  // can press: nobody pastes output in a shell.
  document.addEventListener("click", (event) => {
    const pre = event.target.closest?.(".clip-button")?.closest("pre");
    if (!pre?.querySelector(".typed")) return;
    pre.classList.add("copying"); // while mdBook's handler reads the text
    setTimeout(() => pre.classList.remove("copying"));
  }, true);
  // A screen reader hears what is copied, and what mdBook shows: "Copied!".
  const copied = make("div", "copied");
  copied.setAttribute("role", "status");
  document.body.append(copied);
  for (const button of all("main .clip-button")) {
    button.setAttribute("aria-label", `Copy ${button.closest("pre").dataset.name ?? "this"}`);
    button.addEventListener("click", () => {
      copied.textContent = "";
      setTimeout(() => { copied.textContent = button.textContent; }, 100);
    });
  }

  // A listing says which file it is from: a word of its fence has the path.
  for (const code of all("main pre > code")) {
    const path = [...code.classList].find((word) => word.includes("/"));
    if (!path) continue;
    const end = path.match(/(client|server)\.\w+$/i)?.[1].toLowerCase() ?? "";
    code.parentElement.before(make("div", `file ${end}`, path));
    code.parentElement.dataset.name = path;
  }

  // A question, or an exercise, with all that belongs to it, in a box: it ends
  // with what is folded, such as its choices, or where something else starts.
  const isTask = (p) => p.matches("p") &&
    /^(Predict\.|Question \d\.|(Break|Build|Measure) it\.)$/.test(p.querySelector("strong:first-child")?.textContent);
  const wrap = (start, className) => {
    const box = make("div", className);
    start.before(box);
    let next = start;
    do {
      box.append(next);
      next = box.nextElementSibling;
    } while (next && (next.tagName === "DETAILS" || box.lastElementChild.tagName !== "DETAILS") &&
      !/^H\d$/.test(next.tagName) && !next.style.breakBefore && !isTask(next));
  };
  all("main > [id^=predict]").forEach((heading) => wrap(heading, "predict"));
  for (const p of [...all("main > p")].filter(isTask)) {
    wrap(p, /^(Predict|Question)/.test(p.textContent) ? "predict" : "exercise");
  }

  // A source in brackets moves to the margin where there is one.
  const isSource = /^https:\/\/(www\.rfc-editor\.org|man7\.org)\//;
  for (const link of all("main > p > a[href], main > ul > li > a[href]")) {
    const [before, after] = [link.previousSibling, link.nextSibling];
    if (!isSource.test(link.href)) continue;
    if (!before?.textContent.endsWith(" (") || !after?.textContent.startsWith(")")) continue;
    before.textContent = before.textContent.slice(0, -2);
    after.textContent = after.textContent.slice(1);
    const source = make("span", "source");
    source.append(make("span", "bracket", " ("), link, make("span", "bracket", ")"));
    after.before(source);
  }

  // A link to a case of the checker shows the case, which is folded.
  const showCase = () => {
    const folded = document.getElementById(location.hash.slice(1))?.nextElementSibling;
    if (folded?.matches("details.case")) folded.open = true;
  };
  showCase();
  window.addEventListener("hashchange", showCase);

  // A name or an option stays in one piece: "-- bin" is another command. The
  // browser would break a line after each hyphen.
  for (const code of all("main :not(pre) > code")) {
    const text = code.textContent;
    if (code.firstElementChild) continue;
    const words = text.length < 16 ? [text] : text.split(/( )/);
    const longest = code.closest("table") ? 12 : 24;
    const isWhole = (word) => word.length <= longest && (words.length === 1 || /-./.test(word));
    if (!words.some(isWhole)) continue;
    code.replaceChildren(...words.map((word) => (isWhole(word) ? make("span", "whole", word) : word)));
  }

  // Paper cannot be clicked. (Some browsers open it by style, others do not.)
  // Choices of one question close each other, as long as they share a name.
  let before = [];
  window.addEventListener("beforeprint", () => {
    before = [...all("main details")].map((details) => [details, details.open, details.getAttribute("name")]);
    for (const [details] of before) details.removeAttribute("name");
    for (const [details] of before) details.open = true;
  });
  window.addEventListener("afterprint", () => {
    for (const [details, isOpen, name] of before) {
      details.open = isOpen;
      if (name) details.setAttribute("name", name);
    }
  });
})();

// The keyboard, apart from the text: where one fails, the other works.
(() => {
  const all = (selector) => document.querySelectorAll(selector);

  // The first stop of the Tab key leads past the contents.
  const skip = document.createElement("a");
  skip.className = "skip";
  skip.textContent = "Skip to the text";
  skip.href = "#mdbook-content";
  document.body.prepend(skip);

  // The toggle of the sidebar is a label, which no keyboard reaches: make it a
  // button. A reader who opens the contents wants to be in them; Esc leads back.
  // On a phone they push the page aside: so they close when the reader leaves.
  const toggle = document.getElementById("mdbook-sidebar-toggle");
  const sidebar = document.getElementById("mdbook-sidebar");
  const isOpen = () => toggle.getAttribute("aria-expanded") === "true";
  const isPhone = () => window.innerWidth < 620;
  const close = () => {
    if (isOpen()) toggle.click();
  };
  toggle.setAttribute("role", "button");
  toggle.tabIndex = 0;
  toggle.addEventListener("keydown", (event) => {
    if (event.key !== "Enter" && event.key !== " ") return;
    event.preventDefault();
    toggle.click();
    if (isOpen()) (sidebar.querySelector("a.active") ?? sidebar.querySelector("a"))?.focus();
  });
  document.addEventListener("keydown", (event) => {
    const isInside = sidebar.contains(event.target);
    if (event.key !== "Escape" || !isOpen() || !(isInside || isPhone())) return;
    close();
    toggle.focus();
  });
  document.addEventListener("focusin", ({ target }) => {
    if (isPhone() && target !== toggle && !sidebar.contains(target)) close();
  });
  skip.addEventListener("click", () => {
    if (isPhone()) close();
  });
  sidebar.querySelector("a.active")?.setAttribute("aria-current", "page");

  // What is wider than the screen can be scrolled with the keyboard, and has a
  // name then.
  const regions = all("main pre > code, main .table-wrapper");
  const mark = () => {
    for (const region of regions) {
      const scrolls = region.scrollWidth > region.clientWidth;
      const name = region.parentElement.dataset.name ?? (region.matches("code") ? "Code" : "Table");
      const attributes = { tabindex: 0, role: "group", "aria-label": `${name}, scrolls` };
      for (const [key, value] of Object.entries(attributes)) {
        if (scrolls) region.setAttribute(key, value);
        else region.removeAttribute(key);
      }
    }
  };
  mark();
  window.addEventListener("resize", mark);
  document.addEventListener("toggle", mark, true); // a <details> was opened

  // The arrows turn the page, but not where they scroll, or where a reader
  // chooses something.
  for (const element of [...regions, sidebar, ...all("#mdbook-theme-list, summary")]) {
    element.addEventListener("keydown", (event) => {
      if (event.key === "ArrowLeft" || event.key === "ArrowRight") event.stopPropagation();
    });
  }
})();
