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

  // The first stop of the Tab key leads past the contents.
  const skip = make("a", "skip", "Skip to the text");
  skip.href = "#mdbook-content";
  document.body.prepend(skip);

  // The toggle of the sidebar is a label, which no keyboard reaches: make it a
  // button. A reader who opens the contents wants to be in them; Esc leads back.
  const toggle = document.getElementById("mdbook-sidebar-toggle");
  const sidebar = document.getElementById("mdbook-sidebar");
  const isOpen = () => toggle.getAttribute("aria-expanded") === "true";
  toggle.setAttribute("role", "button");
  toggle.tabIndex = 0;
  toggle.addEventListener("keydown", (event) => {
    if (event.key !== "Enter" && event.key !== " ") return;
    event.preventDefault();
    toggle.click();
    if (isOpen()) (sidebar.querySelector("a.active") ?? sidebar.querySelector("a"))?.focus();
  });
  sidebar.addEventListener("keydown", (event) => {
    if (event.key !== "Escape") return;
    if (isOpen()) toggle.click();
    toggle.focus();
  });

  // Client or server? The title of a terminal says so.
  const role = (title) =>
    title.match(/^(?:the |a second |a |two |three )?(client|server)/)?.[1] ??
    title.match(/, (?:the|a|with a) (client|server)$/)?.[1] ?? "other";

  // A long line gets smaller letters before it has to scroll.
  const fit = (code) => code.classList.toggle("long", code.scrollWidth > code.clientWidth);

  // A line with a prompt is typed; the rest is what the programs print, and
  // they start a line with the word for the end that speaks.
  const lines = (code, text) => {
    code.replaceChildren();
    for (const line of text.split(/(?<=\n)/)) {
      const [, prompt, end, rest] = line.match(/^(\$ )?((?:client|server)(?=[ :])(?: [A-Z]:)?)?(.*)/s);
      if (prompt) {
        code.append(make("span", "prompt", prompt), make("span", "typed", (end ?? "") + rest));
        continue;
      }
      const printed = make("span", "printed", rest);
      if (end) printed.prepend(make("span", end.slice(0, 6), end));
      code.append(printed);
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
      terminal.append(make("div", "title", parts[i]), one);
      box.append(terminal);
    }
    pre.replaceWith(box);
  }
  all("main pre > code.language-console").forEach(fit);

  // Copying a transcript takes what is typed: nobody pastes output in a shell.
  document.addEventListener("click", (event) => {
    const pre = event.target.closest?.(".clip-button")?.closest("pre");
    if (!pre?.querySelector(".typed")) return;
    pre.classList.add("copying"); // while mdBook's handler reads the text
    setTimeout(() => pre.classList.remove("copying"));
  }, true);

  // A listing says which file it is from: a word of its fence has the path.
  for (const code of all("main pre > code")) {
    const path = [...code.classList].find((word) => word.includes("/"));
    if (!path) continue;
    const end = path.match(/(client|server)\.\w+$/)?.[1] ?? "";
    code.parentElement.before(make("div", `file ${end}`, path));
  }

  // A question, or an exercise, with all that belongs to it, in a box: it ends
  // with its folded answer, or where something else starts.
  const isTask = (p) => p.matches("p") &&
    /^(Predict\.|(Break|Build|Measure) it\.)$/.test(p.querySelector("strong:first-child")?.textContent);
  const wrap = (start, className) => {
    const box = make("div", className);
    start.before(box);
    let next = start;
    do {
      box.append(next);
      next = box.nextElementSibling;
    } while (box.lastElementChild.tagName !== "DETAILS" && next && !/^H\d$/.test(next.tagName) && !isTask(next));
  };
  all("main > [id^=predict]").forEach((heading) => wrap(heading, "predict"));
  for (const p of [...all("main > p")].filter(isTask)) {
    wrap(p, p.textContent.startsWith("Predict") ? "predict" : "exercise");
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

  // What is wider than the screen can be scrolled with the keyboard; there
  // the arrows scroll; elsewhere they turn the page.
  const regions = all("main pre > code, main .table-wrapper");
  const mark = () => {
    for (const region of regions) {
      if (region.scrollWidth > region.clientWidth) region.tabIndex = 0;
      else region.removeAttribute("tabindex");
    }
  };
  mark();
  window.addEventListener("resize", mark);
  document.addEventListener("toggle", mark, true); // a <details> was opened
  for (const region of regions) {
    region.addEventListener("keydown", (event) => {
      if (event.key === "ArrowLeft" || event.key === "ArrowRight") event.stopPropagation();
    });
  }

  // Paper cannot be clicked. (Some browsers open it by style, others do not.)
  let closed = [];
  window.addEventListener("beforeprint", () => {
    closed = [...all("main details:not([open])")];
    for (const details of closed) details.open = true;
  });
  window.addEventListener("afterprint", () => {
    for (const details of closed) details.open = false;
  });
})();
