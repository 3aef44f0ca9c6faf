// Each page of the book as slides: what the page shows is there, once, and
// nothing is cut off. Then keys, notes, the presenter's window, paper, colors.

import { execFileSync } from "node:child_process";
import { mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import { accessible, contrast, setTheme } from "./checks.mjs";

const book = fileURLToPath(new URL("../../target/book", import.meta.url));
const names = readdirSync(book)
  .filter((name) => name.endsWith(".html") && !["404.html", "toc.html", "print.html"].includes(name));
const themes = ["light", "rust", "coal", "navy", "ayu"];
const desk = { width: 1280, height: 720 };
const old = { width: 1024, height: 768 };
const where = (name, rest = "?slides") => pathToFileURL(join(book, name)).href + rest;

// What a page shows: run in the page, and again in its slides.
function shown() {
  const inSlides = document.documentElement.classList.contains("slides");
  const isExtra = (element) => { // in a fold that is neither an answer nor a hint
    let fold = element.closest("details");
    for (let outer = fold; outer; outer = outer.parentElement.closest("details, figure")) fold = outer;
    return fold?.matches("details:not(.choice)") === true && !/^(Hint|Second hint|Answer)$/.test(fold.firstElementChild.textContent);
  };
  const all = (selector) => [...document.querySelectorAll(inSlides ? `.face ${selector}` : `main ${selector}`)].filter((element) => !isExtra(element));
  const text = (element) => element.textContent.replace(/\s+/g, " ").trim();
  const tasks = all("p > strong:first-child").filter((strong) =>
    /^(Predict|Question \d|(Break|Build|Measure) it)\.$/.test(strong.textContent)).map(text);
  return {
    "lines of code": all("pre > code").flatMap((code) => code.textContent.replace(/\n$/, "").split("\n")),
    "names of files": [...new Set(all(".file").map(text))],
    terminals: [...new Set(all(".terminal > .title").map(text))],
    rows: all("tbody > tr").map(text),
    words: all("figure svg text").map(text).sort(),
    items: all(":is(li, dt, dd)").map(text),
    traps: all("blockquote").map(text),
    tasks,
    choices: all("details.choice > summary").map(text),
  };
}

// What is said on the page is on a slide or in its notes.
function said() {
  const inSlides = document.documentElement.classList.contains("slides");
  if (inSlides) return document.querySelector("main").textContent.replace(/\s+/g, " ");
  const lines = [...document.querySelectorAll("main p")].flatMap((p) => p.textContent.split("\n"));
  return lines.map((line) => line.replace(/\s+/g, " ").trim()).filter(Boolean);
}

// Leafs through the slides. Looks at each line of text and opens what is
// folded, unless it is asked to be quick: a slide is scaled as a whole.
async function leaf(quick) {
  const problems = [];
  const press = (key) => document.body.dispatchEvent(new KeyboardEvent("keydown", { key, bubbles: true }));
  const turn = (details, open) => new Promise((done) => { // until the slide has heard of it
    details.addEventListener("toggle", done, { once: true });
    details.open = open;
  });
  const visible = () => [...document.querySelectorAll(".slide")].filter((slide) => !slide.hidden);
  const look = (state) => {
    const [slide] = visible();
    const face = slide.querySelector(".face");
    const tell = (what) => problems.push(`${slide.getAttribute("aria-label")}${state}: ${what}`);
    const box = face.getBoundingClientRect();
    const scale = box.width / 1280;
    if (box.left < -1 || box.top < -1 || box.right > innerWidth + 1 || box.bottom > innerHeight + 1) tell("it is larger than the window");
    if (visible().length !== 1) tell(`${visible().length} slides at once`);
    const body = face.querySelector(".body");
    if (body.scrollHeight > body.clientHeight + 1 || body.scrollWidth > body.clientWidth + 1) tell("it is too full");
    if (quick) return;
    const bottom = box.bottom - 50 * scale;
    const texts = document.createTreeWalker(face, NodeFilter.SHOW_TEXT);
    const range = document.createRange();
    while (texts.nextNode()) {
      const { parentElement: element, data } = texts.currentNode;
      if (!data.trim() || !element.checkVisibility({ contentVisibilityAuto: true }) || element.closest("title, desc, .foot, .part")) continue;
      range.selectNodeContents(texts.currentNode);
      const svg = element.closest("svg");
      const { d } = svg?.getScreenCTM() ?? { d: scale };
      const size = (parseFloat(getComputedStyle(element).fontSize) * d) / scale;
      if (size < 17.4) tell(`"${data.trim().slice(0, 30)}" has letters of ${size.toFixed(1)} px`);
      for (const line of range.getClientRects()) {
        if (line.width < 1 || line.height < 1) continue;
        // (The box of a line is higher than its letters, which an upper edge cuts.)
        const { left, right, top, bottom: foot } = svg?.getBoundingClientRect() ?? {};
        const around = [...(svg ? [{ left, right, top: top - 0.3 * line.height, bottom: foot + 0.3 * line.height }] : []), { left: box.left + 20 * scale, right: box.right - 20 * scale, top: box.top, bottom }];
        // Where lines wrap, the spaces at the end of one hang over the edge.
        const hangs = element.closest(".wrapped pre") ? 1e4 : 0;
        if (around.some(({ left, right, top, bottom }) =>
          line.left < left - 2 || line.right > right + 2 + hangs || line.top < top - 2 || line.bottom > bottom + 2)) {
          tell(`"${data.trim().slice(0, 30)}" is cut off`);
        }
      }
    }
    for (const element of face.querySelectorAll("*:not(svg *)")) {
      const style = getComputedStyle(element);
      if (style.display === "inline" || style.overflowX === "visible") continue;
      if (element.scrollWidth > element.clientWidth + 1 || element.scrollHeight > element.clientHeight + 1) tell(`${element.className || element.tagName} scrolls`);
    }
  };
  press("Home");
  const final = [...document.querySelectorAll(".slide")].at(-1);
  for (let last = null; last !== final; last === final || press("ArrowRight")) {
    [last] = visible();
    look("");
    for (const details of quick ? [] : last.querySelectorAll(".face details")) {
      await turn(details, true);
      look(`, "${details.querySelector("summary").textContent}" open`);
      await turn(details, false);
    }
  }
  return [...new Set(problems)].slice(0, 6);
}

const differs = (page, slides) => Object.keys(page).flatMap((what) => {
  const [from, to] = [page[what], slides[what]];
  if (from.join("\n") === to.join("\n")) return [];
  const at = from.findIndex((text, i) => text !== to[i]);
  return [`${from.length} ${what} on the page, ${to.length} on slides; the first that differs: "${from[at]}", "${to[at < 0 ? from.length : at]}"`];
});

// The checks. Each takes a page that shows slides.
const whole = async (slides) => {
  const plain = await slides.context().newPage();
  await plain.goto(slides.url().replace(/\?.*/, ""));
  const problems = differs(await plain.evaluate(shown), await slides.evaluate(shown));
  const all = await slides.evaluate(said);
  const lost = (await plain.evaluate(said)).filter((line) => !all.includes(line));
  await plain.close();
  return [...problems, ...[...new Set(lost)].slice(0, 12).map((line) => `neither on a slide nor in the notes: "${line}"`)];
};
const fits = (slides) => slides.evaluate(leaf, false);
const resized = async (slides, size) => { // the page hears of its size a moment later
  await slides.setViewportSize(size);
  let found = await slides.evaluate(leaf, true);
  for (let i = 0; i < 40 && found.length > 0; i += 1) {
    await slides.waitForTimeout(250);
    found = await slides.evaluate(leaf, true);
  }
  return found;
};
const paper = async (slides) => {
  const folder = mkdtempSync(join(tmpdir(), "slides-"));
  const path = join(folder, "slides.pdf");
  if (/(server|drain|performance)\.html/.test(slides.url())) await slides.locator(".guide").first().waitFor({ state: "attached" });
  try {
    await slides.pdf({ path, preferCSSPageSize: true });
    const text = execFileSync("pdftotext", [path, "-"], { encoding: "utf8" }).split("\f").slice(0, -1);
    const wanted = await slides.evaluate(() => [...document.querySelectorAll(".slide:not([aria-label^='left out'])")].map((slide) => ({
      foot: slide.querySelector(".foot").textContent,
      end: slide.querySelector(".notes").textContent.trim().split(/\s+/).at(-1),
    })));
    const info = execFileSync("pdfinfo", [path], { encoding: "utf8" });
    const [, width, height] = info.match(/Page size:\s+([\d.]+) x ([\d.]+)/);
    const problems = text.length === wanted.length ? [] : [`${wanted.length} slides on ${text.length} pages`];
    if (Number(width) <= Number(height)) problems.push("the paper is upright");
    wanted.forEach(({ foot, end }, i) => {
      if (!text[i]?.includes(foot)) problems.push(`page ${i + 1} is not of "${foot}"`);
      if (!text[i]?.replace(/\s+/g, "").includes(end)) problems.push(`page ${i + 1}: the notes do not end with "${end}"`);
    });
    return problems.slice(0, 6);
  } finally {
    rmSync(folder, { recursive: true });
  }
};
const label = (slides) => slides.locator(".slide:not([hidden])").getAttribute("aria-label");
const at = (n, text) => (text?.startsWith(`${n} of `) ? [] : [`"${text}" instead of slide ${n}`]);
const keys = async (slides) => {
  const problems = [];
  const count = await slides.locator(".slide").count();
  const address = slides.url().replace(/[?#].*/, "");
  const steps = [["ArrowRight", 2], ["Space", 3], ["PageDown", 4], ["ArrowDown", 5], ["ArrowLeft", 4], ["ArrowUp", 3], ["PageUp", 2],
    ["Shift+Space", 1], ["ArrowLeft", 1], ["End", count], ["Home", 1], ["s", 1], ["?", 1]];
  for (const [key, n] of steps) {
    await slides.keyboard.press(key);
    problems.push(...at(n, await label(slides)).map((problem) => `${key}: ${problem}`));
    const told = await slides.locator("main > [role=status]").textContent();
    problems.push(...at(n, told).map((problem) => `${key}: it says ${problem}`));
  }
  if (await slides.locator("#mdbook-searchbar").isVisible()) problems.push("s opens the search");
  await slides.keyboard.press("Home");
  const [x, y] = [900, 300];
  for (const [from, to, n] of [[x, 200, 2], [200, x, 1]]) {
    await slides.evaluate(([from, to, y]) => {
      const touch = (type, clientX) => document.querySelector(".slide:not([hidden]) .face").dispatchEvent(
        new PointerEvent(type, { clientX, clientY: y, pointerType: "touch", bubbles: true }));
      touch("pointerdown", from);
      touch("pointerup", to);
    }, [from, to, y]);
    problems.push(...at(n, await label(slides)).map((problem) => `a swipe: ${problem}`));
  }
  await slides.getByRole("button", { name: "Next slide" }).click();
  problems.push(...at(2, await label(slides)).map((problem) => `a button: ${problem}`));
  await slides.evaluate(() => { location.hash = "#backlog"; });
  await slides.waitForFunction(() => document.getElementById("backlog").hidden === false, null, { timeout: 120000 }).catch(() => problems.push("a link to a section does not show its slide"));
  await slides.keyboard.press("ArrowRight");
  await slides.reload();
  if ((await slides.locator(".slide:not([hidden])").getAttribute("id")) !== "backlog.2") problems.push("reloading loses the place");
  await slides.keyboard.press("Escape");
  await slides.waitForURL(`${address}#backlog`, { timeout: 120000 }).catch(() => problems.push(`Esc leads to ${slides.url()}`));
  const top = await slides.locator("#backlog").evaluate((heading) => heading.getBoundingClientRect().top);
  if (top < 0 || top > 200) problems.push(`the page is ${top} px away from the section`);
  await slides.keyboard.press("v");
  await slides.waitForURL(`${address}?slides#backlog`, { timeout: 120000 }).catch(() => problems.push(`v leads to ${slides.url()}`));
  return problems;
};
const early = async (slides) => { // keys that come before the fonts
  const page = await slides.context().newPage();
  await page.addInitScript(() => {
    const fonts = new Promise((done) => { window.haveFonts = done; });
    FontFaceSet.prototype.load = () => fonts;
  });
  await page.goto(slides.url().replace(/#.*/, ""));
  const address = page.url();
  for (const key of ["ArrowRight", "ArrowRight", "ArrowLeft", "s"]) await page.keyboard.press(key);
  const problems = page.url() === address ? [] : [`a key leads to ${page.url()}`];
  await page.evaluate(() => window.haveFonts()).catch(() => problems.push("there is another page"));
  const shown = page.locator(".slide:not([hidden])");
  problems.push(...at(2, await shown.getAttribute("aria-label", { timeout: 120000 })));
  await page.close();
  return problems;
};
const phone = async (slides) => { // upright and lying: buttons for a finger
  const problems = [];
  for (const size of [{ width: 375, height: 700 }, { width: 700, height: 375 }]) {
    const tell = (what) => problems.push(`${size.width} x ${size.height}: ${what}`);
    (await resized(slides, size)).forEach(tell);
    const look = async (state, part) => {
      const other = await slides.locator(`.slide:not([hidden]) ${part}`).boundingBox();
      for (const button of await slides.locator(".slides-bar button:visible").all()) {
        const { x, y, width, height } = await button.boundingBox();
        const name = await button.textContent();
        if (width < 44 || height < 44) tell(`${name} has ${width} x ${height} px`);
        if (x < 0 || y < 0 || x + width > size.width || y + height > size.height) tell(`${name} is outside`);
        if (x < other.x + other.width && other.x < x + width && y < other.y + other.height && other.y < y + height) tell(`${name} covers the ${state}`);
      }
    };
    await look("slide", ".face");
    await slides.keyboard.press("n");
    await look("slide beside notes", ".face");
    await look("notes", ".notes");
    const [face, text] = await Promise.all([".face", ".notes"].map((part) => slides.locator(`.slide:not([hidden]) ${part}`).boundingBox()));
    if (face.y + face.height > text.y + 1) tell("the notes are over the slide");
    await slides.keyboard.press("n");
    const hint = await slides.locator("main").evaluate((main) => getComputedStyle(main, "::before").content.includes("Turn"));
    if (hint !== size.width < size.height) tell(`a hint to turn the phone: ${hint}`);
  }
  await slides.setViewportSize(desk);
  return problems;
};
const leads = async (slides) => { // from the last slide to the next chapter
  await slides.keyboard.press("End");
  const foot = await slides.locator(".slide:not([hidden]) .foot").textContent();
  const problems = foot.includes("→ 4 The client") ? [] : [`the last slide says "${foot}"`];
  await slides.keyboard.press("ArrowRight");
  await slides.waitForURL(/client\.html\?slides/, { timeout: 120000 }).catch(() => problems.push(`→ leads to ${slides.url()}`));
  return problems;
};
const short = async (slides) => { // only what the guide shows
  const problems = [];
  await slides.locator(".guide").first().waitFor({ state: "attached", timeout: 120000 });
  const button = slides.getByRole("button", { name: "Short" });
  const leafs = async (...wanted) => {
    for (const [key, id] of wanted) {
      await slides.keyboard.press(key);
      const now = await slides.locator(".slide:not([hidden])").getAttribute("id");
      if (now !== id) problems.push(`${key} leads to ${now} instead of ${id}`);
      if ((await button.getAttribute("aria-pressed")) !== `${key !== "b" || id === "server"}`) problems.push(`${key}: the button is wrong`);
    }
  };
  await slides.keyboard.press("Home");
  await leafs(["b", "server"], ["Home", "server"], ["ArrowRight", "backlog"], ["ArrowLeft", "server"], ["End", "backlog.2"]);
  if (!/^3 of 3: /.test(await label(slides))) problems.push(`the last slide is "${await label(slides)}"`);
  problems.push(...(await paper(slides)).map((problem) => `on paper: ${problem}`));
  await leafs(["b", "backlog.2"]);
  await slides.keyboard.press("ArrowRight");
  if (/^backlog/.test(await slides.locator(".slide:not([hidden])").getAttribute("id"))) problems.push("b does not bring all slides back");
  await slides.keyboard.press("b");
  await slides.keyboard.press("End");
  await slides.keyboard.press("ArrowRight");
  await slides.waitForURL(/client\.html\?slides=short/, { timeout: 120000 }).catch(() => problems.push(`→ leads to ${slides.url()}`));
  return problems;
};
const folds = async (slides) => { // a question, by keyboard
  await slides.evaluate(() => { location.hash = "#predict"; });
  const summary = slides.locator(".slide:not([hidden]) summary").first();
  await slides.locator("#predict:not([hidden])").waitFor({ state: "attached" });
  const problems = (await slides.locator(".face details[open]").count()) ? ["an answer is open"] : [];
  await summary.press("Space");
  if (!(await slides.locator("#predict details[open]").count())) problems.push("Space does not open the answer");
  if (!(await slides.locator("#predict details[open] p").first().isVisible())) problems.push("the reason is not shown");
  return problems;
};
const notes = async (slides) => {
  const problems = [];
  const of = (id) => slides.locator(`[id="${id}"] .notes`);
  await slides.locator(".guide").first().waitFor({ state: "attached", timeout: 120000 }).catch(() => problems.push("the guide's notes do not come"));
  const has = async (id, text, is = true) => {
    if ((await of(id).textContent()).includes(text) !== is) problems.push(`"${text}" is ${is ? "not " : ""}in the notes of ${id}`);
  };
  await has("server", "Bring two terminals.");
  await has("backlog", "Ask how many clients fit.");
  await has("backlog", "Bring two terminals.", false);
  await has("backlog", "Show. 1. Type it.");
  await has("server", "Show.", false);
  await has("backlog", "Linux takes one more than you ask for");
  await has("server", "Not this chapter.", false);
  await slides.evaluate(() => window.postMessage({ notes: ["<p>From a stranger.</p>"] }, "*"));
  await slides.evaluate(() => new Promise((done) => { setTimeout(done, 50); }));
  await has("server", "From a stranger.", false);
  await slides.keyboard.press("Home");
  if (await of("server").isVisible()) problems.push("notes are shown before anybody asks");
  await slides.keyboard.press("n");
  if (!(await of("server").isVisible())) problems.push("n shows no notes");
  problems.push(...(await slides.evaluate(leaf, true)).map((problem) => `with notes: ${problem}`));
  const [face, text] = await Promise.all([".slide:not([hidden]) .face", ".slide:not([hidden]) .notes"].map((part) => slides.locator(part).boundingBox()));
  if (face.y + face.height > text.y + 1) problems.push("the notes are over the slide");
  await slides.keyboard.press("n");
  return problems;
};
const presenter = async (slides) => {
  const problems = [];
  await slides.keyboard.press("Home");
  const [popup] = await Promise.all([slides.waitForEvent("popup", { timeout: 120000 }), slides.keyboard.press("p")]);
  popup.on("pageerror", (error) => problems.push(`error: ${error.message}`));
  const follows = async (n) => {
    const [now, next, words] = await slides.evaluate(() => {
      const all = [...document.querySelectorAll(".slide")];
      const i = all.findIndex((slide) => !slide.hidden);
      return [all[i].getAttribute("aria-label"), all[i + 1].querySelector("h1, h2").textContent, all[i].querySelector(".notes").textContent];
    });
    const text = await popup.locator("body").textContent();
    problems.push(...at(n, now));
    for (const part of [now, `Next: ${next}`, words]) if (!text.includes(part)) problems.push(`slide ${n}: the presenter does not see "${part.slice(0, 60)}"`);
  };
  await follows(1);
  await slides.keyboard.press("ArrowRight");
  await slides.keyboard.press("ArrowRight");
  await follows(3);
  await popup.keyboard.press("ArrowRight");
  await follows(4);
  const clock = popup.locator(".clock");
  const before = await clock.textContent();
  if (!/\d.* · 0:\d\d /.test(before)) problems.push(`the clock says "${before}"`);
  await popup.waitForFunction((before) => document.querySelector(".clock").textContent !== before, before, { timeout: 120000 }).catch(() => problems.push("the clock stands still"));
  await popup.close();
  await slides.keyboard.press("ArrowRight");
  problems.push(...at(5, await label(slides)));
  return problems;
};
const colors = async (slides) => {
  const problems = [];
  for (const id of ["server", "a-socket", "picture", "in-use.2", "long.2", "predict"]) {
    await slides.evaluate((id) => { location.hash = `#${id}`; }, id);
    await slides.waitForFunction((id) => !document.getElementById(id).hidden, id);
    await slides.evaluate(() => { for (const details of document.querySelectorAll(".slide:not([hidden]) details")) details.open = true; });
    for (const theme of themes) {
      await setTheme(slides, theme);
      problems.push(...(await (theme === "light" ? accessible : contrast)(slides)).map((problem) => `${id}, ${theme}: ${problem}`));
    }
  }
  return problems;
};

// A question with choices, and a section of the guide, as the book will have them.
const reason = "This is why. ".repeat(12);
const question = `<p><strong>Question 8.</strong> What does the server receive?</p>
${["Nothing", "Seven bytes", "All of it"].map((choice, i) => `<details class="choice${i === 1 ? " right" : ""}" name="fixture-1"><summary>${choice}</summary>
<p>${reason}</p>${i === 1 ? `<pre><code class="language-console">${"$ cargo run\nserver: listens\n".repeat(9)}</code></pre>` : ""}</details>`).join("\n")}
<p><strong>Question 9.</strong> And then?</p>
<details class="choice" name="fixture-2"><summary>It ends</summary><p>No.</p></details>
<details class="choice right" name="fixture-2"><summary>It goes on</summary><p>Yes.</p></details>`;
const withQuestion = (html) => {
  const parts = html.split(/(<h3 id="predict">[\s\S]*?<\/h3>)[\s\S]*?<\/details>/);
  return `${parts[0]}${parts[1]}\n<p>A client sends <code>Hello</code>.</p>\n${question}${parts[2]}`;
};
const guide = `<h2 id="guide-server">The server</h2><p>Bring two terminals.</p>
<ul><li>Ask how many clients fit. <a href="server.html#backlog">The queue</a></li></ul>
<p><strong>Show.</strong></p><ol><li>Type it. <a href="server.html#backlog">The queue</a></li></ol><h2 id="guide-client">Client</h2><p>Not this chapter.</p>`;
const fixtures = { "server.html": withQuestion, "teaching-chapters.html": (html) => html.replace(/id="guide-(server|client)"/g, "").replace("</main>", `${guide}</main>`) };

async function show(browser, name, files = {}) {
  const context = await browser.newContext({ viewport: desk });
  context.setDefaultTimeout(300000);
  await context.addInitScript(() => localStorage.setItem("mdbook-theme", "light"));
  for (const [file, change] of Object.entries(files)) {
    const isWanted = (url) => url.pathname.endsWith(`/${file}`);
    await context.route(isWanted, (route) => route.fulfill({
      body: change(readFileSync(join(book, file), "utf8")), contentType: file.endsWith(".html") ? "text/html; charset=utf-8" : "text/javascript" }));
  }
  const page = await context.newPage();
  const problems = [];
  page.on("request", (request) => { if (!/^(file|data|about):/.test(request.url())) problems.push(`asks for ${request.url()}`); });
  page.on("console", (message) => { if (message.type() === "error") problems.push(`console: ${message.text()}`); });
  page.on("pageerror", (error) => problems.push(`error: ${error.message}`));
  await page.goto(where(name));
  await page.locator(".slide:not([hidden]) .face").waitFor();
  return { context, page, problems };
}

const guarded = (by) => async (page) => {
  try {
    return await by(page);
  } catch (error) {
    return [error.message.split("\n")[0]];
  }
};

const script = readdirSync(join(book, "assets")).find((name) => name.startsWith("slides-") && name.endsWith(".js"));
const plants = [
  { defect: "a listing that is gone", by: whole, edit: () => document.querySelector(".face pre").remove() },
  { defect: "a listing on two slides", by: whole, edit: () => { const pre = document.querySelector(".face pre"); pre.after(pre.cloneNode(true)); } },
  { defect: "a drawing that is gone", by: whole, edit: () => document.querySelector(".face .lifelines").remove() },
  { defect: "a question that is gone", by: whole, edit: () => document.querySelector(".face summary").closest(".slide").remove() },
  { defect: "a row that is gone", by: whole, edit: () => document.querySelector(".face tbody tr").remove() },
  { defect: "notes that are gone", by: whole, edit: () => document.querySelector("#a-socket .notes").replaceChildren() },
  { defect: "letters that are too small", by: fits, css: ".content main .face .body li { font-size: 14px !important }" },
  { defect: "a listing cut off", by: fits, css: ".content main .face .body pre > code { line-height: 2.4 !important }" },
  { defect: "a listing that scrolls", by: fits, css: ".content main .face pre > code { width: 200px; overflow: auto !important }" },
  { defect: "a drawing with small words", by: fits, css: ".face svg { height: 200px !important; flex: none !important }" },
  { defect: "a slide larger than the window", by: fits, css: ".face { scale: 1.1 }" },
  { defect: "an open answer below the foot", by: fits, css: ".face details[open] { padding-top: 600px }" },
  { defect: "a key that does nothing", by: keys, script: (text) => text.replace("End: () =>", "Delete: () =>") },
  { defect: "a chapter that leads nowhere", by: leads, script: (text) => text.replace("to === faces.length && following", "false") },
  { defect: "a short way that is as long", by: short, script: (text) => text.replace("shown.add(id)", "{}") },
  { defect: "a short way that ends at the chapter", by: short, script: (text) => text.replace('isShort ? "=short" : ""', '""') },
  { defect: "all slides on paper in the short way", by: short, script: (text) => text.replace('one.classList.toggle("left-out"', 'void ("left-out"') },
  { defect: "a position that is not told", by: keys, edit: () => document.querySelector("main > [role=status]").remove() },
  { defect: "a key that mdBook hears", by: early, script: (text) => text.replace(/\n.*"keydown", press, true.*/, "") },
  { defect: "a key before the fonts that is lost", by: early, script: (text) => text.replace("early.push(command)", "{}") },
  { defect: "buttons for a mouse", by: phone, css: ".slides-bar button { min-height: 0 !important }" },
  { defect: "no hint to turn", by: phone, css: "html.slides main::before { content: none !important }" },
  { defect: "notes over an upright slide", by: phone, css: "html.slides .notes { top: 20px !important }" },
  { defect: "an answer that does not open", by: folds, edit: () => document.addEventListener("click", (event) => event.preventDefault()) },
  { defect: "an answer that is open", by: folds, edit: () => { document.querySelector(".face details").open = true; } },
  { defect: "notes of another chapter", by: notes, edit: () => document.querySelector("#server .notes").append("Not this chapter.") },
  { defect: "notes over the slide", by: notes, css: "html.slides .notes { top: 100px !important }" },
  { defect: "notes from a stranger", by: notes, script: (text) => text.replace(/source !== frame\.contentWindow \|\| /, "") },
  { defect: "a presenter who does not follow", by: presenter, script: (text) => text.replace("put(\".next\"", "void (\".next\"") },
  { defect: "a clock that stands", by: presenter, script: (text) => text.replace("window.setInterval(tick", "void (tick") },
  { defect: "two slides on a page", by: paper, css: "html .slide { break-after: auto !important; height: 60mm !important }" },
  { defect: "a slide on two pages", by: paper, css: "html.paper .slide { height: 230mm !important }" },
  { defect: "notes cut off on paper", by: paper, css: "html.paper .notes { height: 20px !important }" },
  { defect: "upright paper", by: paper, script: (text) => text.replace("A4 landscape", "A4") },
  { defect: "pale letters in one theme", by: colors, css: ".ayu .face .lead { color: #555 !important }" },
];

// Defects that only change what the page looks like, or what is in it, share a page.
function groups() {
  const shared = [whole, fits, paper, phone].map((by) => [by, plants.filter((plant) => plant.by === by && !plant.script)]);
  const single = plants.filter((plant) => !shared.some(([, group]) => group.includes(plant)));
  return [...shared, ...single.map((plant) => [plant.by, [plant]])];
}

// A style goes again, so the next defect can be planted in the same page. What
// an edit has done stays: the check must say something new.
async function planted(browser, check, by, group) {
  const change = group[0].script;
  const { context, page } = await show(browser, "server.html", { ...fixtures, ...(change ? { [`assets/${script}`]: change } : {}) });
  let known = [];
  for (const { defect, edit, css } of group) {
    const style = css && (await page.addStyleTag({ content: css }));
    if (edit) await page.evaluate(edit);
    const found = await guarded(by)(page);
    check(`planted: ${defect}`, found.some((problem) => !known.includes(problem)) ? [] : ["nothing notices it", ...found]);
    await style?.evaluate((element) => element.remove());
    known = css ? [] : found;
  }
  await context.close();
}

async function asSlides(browser, check, name) {
  const { context, page, problems } = await show(browser, name);
  check(`${name} as slides: whole`, await guarded(whole)(page));
  check(`${name} as slides: 1280 x 720`, await guarded(fits)(page));
  check(`${name} as slides: 1024 x 768`, await resized(page, old));
  check(`${name} as slides: requests and errors`, problems);
  await context.close();
}

// A way in, where a page has something to show, and none without JavaScript.
async function waysIn(browser, check, open) {
  const context = await browser.newContext({ viewport: desk });
  context.setDefaultTimeout(300000);
  for (const [name, count] of Object.entries({ "server.html": 1, "wan.html": 1, "glossary.html": 0, "print.html": 0 })) {
    const { page, problems } = await open(context, name);
    if ((await page.locator(".slides-link").count()) !== count) problems.push(`not ${count} link to the slides`);
    check(`${name}: the way to the slides`, problems);
    await page.close();
  }
  await context.close();
  const plain = await browser.newContext({ viewport: desk, javaScriptEnabled: false });
  plain.setDefaultTimeout(300000);
  const { page, problems } = await open(plain, "server.html");
  await page.goto(where("server.html"));
  if (!(await page.locator("h2#a-socket").isVisible())) problems.push("there is no page");
  check("server.html?slides without JavaScript", problems);
  await plain.close();
}

// SLIDES=planted or SLIDES=drain.html: only what has that word in its name.
export async function run({ browser, open, check }) {
  const onServer = async (what, by) => {
    const { context, page, problems } = await show(browser, "server.html", fixtures);
    check(what, [...(await guarded(by)(page)), ...problems]);
    await context.close();
  };
  const onPaper = async (what, name) => {
    const { context, page } = await show(browser, name);
    check(what, await guarded(paper)(page));
    await context.close();
  };
  const checks = Object.entries({ whole, fits, keys, early, phone, leads, short, folds, notes, presenter, paper, colors });
  const tasks = [
    ...checks.map(([what, by]) => [`slides with questions and a guide: ${what}`, onServer, by]),
    ...["drain.html", "performance.html"].map((name) => [`${name}: slides on paper`, onPaper, name]),
    ...names.map((name) => [`${name} as slides`, (what) => asSlides(browser, check, name)]),
    ["the way to the slides", () => waysIn(browser, check, open)],
    ...groups().map(([by, group]) => [`planted: ${group.map(({ defect }) => defect).join(", ")}`, () => planted(browser, check, by, group)]),
  ].filter(([what]) => what.includes(process.env.SLIDES ?? ""));
  const work = async () => {
    for (let task = tasks.shift(); task; task = tasks.shift()) {
      const [what, by, ...given] = task;
      const from = Date.now();
      await by(what, ...given).catch((error) => check(what, [error.message.split("\n")[0]]));
      if (process.env.TIMES) console.log(`${Date.now() - from} ms ${what}`);
    }
  };
  await Promise.all([work(), work(), work(), work()]);
}
