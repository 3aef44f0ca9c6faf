// Looks at each page of the built book in a real browser.
//
//     mdbook build book
//     npm --prefix tests/browser ci && npm --prefix tests/browser test
//
// Each page on a phone, a tablet, a desk and a wide desk, in each theme, without
// JavaScript, on paper, and by keyboard. `checks.mjs`, `keys.mjs`, `looks.js` (text)
// and `parts.js` (terminals, boxes, drawings) say what must hold; `plants.mjs`
// plants defects that they must notice. Words after the command choose what to
// try: `node check.mjs frames.html`, `planted`.
// The pictures of a run are in target/browser (SHOTS=full: each page down to
// its foot in each theme).

import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import { chromium } from "playwright-core";
import { accessible, asksOutside, contrast, emptyPages, links, look, setTheme, terminals, toPaper, unfold } from "./checks.mjs";
import { run as cases } from "./cases.mjs";
import { run as frames } from "./frames.mjs";
import { run as herd } from "./herd.mjs";
import * as keys from "./keys.mjs";
import { plants } from "./plants.mjs";
import { run as search } from "./search.mjs";
import { run as slides } from "./slides.mjs";

const book = fileURLToPath(new URL("../../target/book", import.meta.url));
const shots = fileURLToPath(new URL("../../target/browser", import.meta.url));
const browsers = [process.env.CHROMIUM, "/usr/bin/chromium", "/usr/bin/google-chrome"];
const executablePath = browsers.find((path) => path && existsSync(path));
if (!executablePath) {
  console.error("no Chromium found: install it, or set CHROMIUM to its path");
  process.exit(2);
}
const names = existsSync(book) ? readdirSync(book) : [];
const pages = names.filter((name) => name.endsWith(".html") && !["404.html", "toc.html", "print.html"].includes(name)).sort();
if (pages.length < 8) {
  console.error(`only ${pages.length} pages in ${book}: run "mdbook build book" first`);
  process.exit(2);
}
rmSync(shots, { recursive: true, force: true });
mkdirSync(shots, { recursive: true });

const themes = ["light", "rust", "coal", "navy", "ayu"];
const sizes = { 375: { width: 375, height: 800 }, 768: { width: 768, height: 1000 }, 1280: { width: 1280, height: 900 }, 1600: { width: 1600, height: 900 } };
const offline = "--no-sandbox --disable-gpu --disable-background-networking " +
  "--disable-component-update --disable-sync --no-first-run --disable-quic";

let passed = 0;
let failed = 0;
function check(what, problems) {
  if (problems.length === 0) passed += 1;
  else failed += 1;
  if (problems.length > 0) console.error(`FAIL ${what}\n    ${problems.join("\n    ")}`);
}

// Opens a page, and says what it asked for and complained of.
async function open(context, name) {
  const page = await context.newPage();
  const problems = [];
  page.on("request", (request) => {
    if (!/^(file|data|blob):/.test(request.url())) problems.push(`asks for ${request.url()}`);
  });
  page.on("console", (message) => {
    if (message.type() === "error") problems.push(`console: ${message.text()}`);
  });
  page.on("pageerror", (error) => problems.push(`error: ${error.message}`));
  await page.goto(pathToFileURL(join(book, name)).href, { waitUntil: "load" });
  return { page, problems };
}

const browser = await chromium.launch({ executablePath, args: offline.split(" ") });

async function context(options = {}, theme = "light") {
  const made = await browser.newContext({ viewport: sizes[1280], ...options });
  await made.addInitScript((theme) => {
    window.print = () => {}; // print.html prints at once
    try {
      localStorage.setItem("mdbook-theme", theme);
    } catch { /* an address without storage */ }
  }, theme);
  return made;
}

async function shoot(page, name, theme, size, fullPage = theme === "light" || process.env.SHOTS === "full") {
  const path = join(shots, `${name.replace(".html", "")}-${theme}-${size}.jpg`);
  await page.screenshot({ path, type: "jpeg", quality: 50, fullPage });
}

// Layout does not depend on the theme. axe says what no theme changes; our own
// check of colors is quick enough for each theme and width.
async function inEachTheme(page, name, size) {
  for (const theme of themes) {
    await setTheme(page, theme);
    check(`${name}, ${theme}, ${size}: colors`, await (theme === "light" && size === 375 ? accessible : contrast)(page));
    if (size === 1280) check(`${name}, ${theme}: where the keyboard is`, await keys.rings(page));
    await shoot(page, name, theme, size);
  }
  await setTheme(page, "light");
}

// Only a wide screen has the icons beside the text.
async function turning(page, name) {
  for (const theme of themes) {
    await setTheme(page, theme);
    check(`${name}, ${theme}, 1600: icons`, await look("icons")(page));
  }
  await setTheme(page, "light");
}

async function onPhone(name) {
  const phone = await context({ viewport: sizes[375] });
  const { page, problems } = await open(phone, name);
  await unfold(page);
  for (const what of ["layout", "parts"]) check(`${name}, 375: ${what}`, await look(what)(page));
  check(`${name}: headings`, await look("headings")(page));
  check(`${name}, 375: menu bar`, await keys.menu(page));
  await inEachTheme(page, name, 375);
  await page.setViewportSize(sizes[768]);
  for (const what of ["layout", "words", "columns"]) check(`${name}, 768: ${what}`, await look(what)(page));
  check(`${name}, 768: terminals`, await terminals(page));
  await shoot(page, name, "light", 768);
  check(`${name}, 375: copy buttons`, await keys.copying(page));
  check(`${name}, 375: requests and errors`, problems);
  await phone.close();
}

async function onDesk(name) {
  const desk = await context();
  const { page, problems } = await open(desk, name);
  await unfold(page);
  for (const what of ["layout", "parts"]) check(`${name}, 1280: ${what}`, await look(what)(page));
  check(`${name}: terminals`, await terminals(page));
  check(`${name}: links`, await links(page));
  check(`${name}, 1280: menu bar`, await keys.menu(page));
  check(`${name}: hover`, await keys.hover(page));
  check(`${name}: what is folded`, await keys.folds(page));
  check(`${name}: traps`, await keys.traps(page));
  check(`${name}: backwards`, await keys.backwards(page));
  await inEachTheme(page, name, 1280);
  await page.setViewportSize(sizes[1600]);
  await unfold(page);
  check(`${name}, 1600: layout`, await look("layout")(page));
  await turning(page, name);
  check(`${name}: boxes that scroll`, await keys.boxes(page));
  check(`${name}: arrows`, await keys.arrows(page));
  check(`${name}, 1280: requests and errors`, problems);
  await desk.close();
}

async function withoutScript(name) {
  for (const size of [375, 1280]) {
    const plain = await browser.newContext({ viewport: sizes[size], javaScriptEnabled: false });
    const { page, problems } = await open(plain, name);
    await unfold(page);
    const words = (await page.locator("main").innerText()).split(/\s+/).length;
    if (words < 150) problems.push(`only ${words} words`);
    check(`${name}, without JavaScript, ${size}`, [...problems, ...(await look("layout")(page))]);
    await plain.close();
  }
}

// axe needs JavaScript: so here the page has none of its own instead.
async function darkWithoutScript(name) {
  const plain = await browser.newContext({ viewport: sizes[375], colorScheme: "dark" });
  await plain.route("**/*.html", async (route) => {
    const html = readFileSync(fileURLToPath(route.request().url()), "utf8");
    const body = html.replace(/<script\b[\s\S]*?<\/script>/g, "").replace(/<\/?noscript>/g, "");
    await route.fulfill({ body, contentType: "text/html; charset=utf-8" });
  });
  const { page, problems } = await open(plain, name);
  await unfold(page);
  check(`${name}, without JavaScript, dark`, [...problems, ...(await contrast(page))]);
  await plain.close();
}

// 650 px is the width of an A4 page within its margins.
async function onPaper(name) {
  const paper = await context({ viewport: { width: 650, height: 900 } }, "coal");
  const { page, problems } = await open(paper, name);
  await toPaper(page);
  for (const what of ["layout", "unbroken", "captions", "boxes", "unaltered", "shapes"]) problems.push(...(await look(what)(page)));
  for (const theme of themes) {
    await setTheme(page, theme);
    problems.push(...(await look("printed")(page)).map((problem) => `${theme}: ${problem}`));
  }
  check(`${name}, on paper`, problems);
  await shoot(page, name, "paper", 650, true);
  await paper.close();
}

async function asPdf() {
  const paper = await context({}, "navy");
  paper.setDefaultTimeout(300_000); // a busy machine opens print.html slowly
  const { page, problems } = await open(paper, "print.html");
  await unfold(page);
  for (const what of ["captions", "boxes", "shapes"]) problems.push(...(await look(what)(page)));
  problems.push(...(await terminals(page)));
  const path = join(shots, "book.pdf");
  await page.pdf({ path, format: "A4", margin: { top: "1cm", right: "1cm", bottom: "1cm", left: "1cm" } });
  const empty = emptyPages(path);
  if (empty) check("the whole book as a PDF", [...problems, ...empty]);
  else console.log("skipped: pages of the PDF that end early (needs pdftotext)");
  await paper.close();
}

// The bar, the sidebar and the search are the same on each page.
async function byKeys(name, size) {
  for (const what of ["tab", "buttons", "themes", "letters", "skip", "search", "contents", ...(size === 375 ? ["narrow"] : [])]) {
    const fresh = await context({ viewport: sizes[size] });
    const { page, problems } = await open(fresh, name);
    check(`${name}, ${size}: ${what}`, [...(await keys[what](page)), ...problems]);
    await fresh.close();
  }
}

const states = {
  "the search open": (page) => keys.openSearch(page, keys.query),
  "nothing found": (page) => keys.openSearch(page, "xyzzy"),
  "the list of themes open": async (page) => {
    await page.keyboard.press("Escape");
    await page.click("#mdbook-theme-toggle");
  },
  "the sidebar open": async (page) => {
    await page.keyboard.press("Escape");
    if (!(await page.isChecked("#mdbook-sidebar-toggle-anchor"))) await page.click("#mdbook-sidebar-toggle");
    await page.evaluate(() => Promise.all(document.getAnimations().map((animation) => animation.finished))); // it slides
  },
  "a hit marked": (page) => page.goto(`${page.url().replace(/[?#].*/, "")}?highlight=${keys.query}`, { waitUntil: "load" }),
};

async function withMenus(theme, size) {
  const menus = await context({ viewport: sizes[size] }, theme);
  const { page, problems } = await open(menus, "system.html");
  for (const [state, enter] of Object.entries(states)) {
    await enter(page);
    check(`${theme}, ${size}: ${state}`, await (theme === "light" ? accessible : contrast)(page));
    await shoot(page, state.replaceAll(" ", "-"), theme, size, false);
  }
  check(`${theme}, ${size}: requests and errors with menus open`, problems);
  await menus.close();
}

// Opens the page of a plant, with some of the book's files replaced.
async function ground(plant, routes = {}) {
  const viewport = plant.paper ? { width: 650, height: 900 } : sizes[plant.width ?? 1280];
  const made = await context({ viewport }, plant.theme);
  await replaceFiles(made, routes);
  const { page, problems } = await open(made, plant.page);
  if (plant.paper) await toPaper(page);
  return { made, page, problems };
}

async function replaceFiles(made, routes) {
  for (const [part, change] of Object.entries(routes)) {
    const file = names.find((name) => name.startsWith(part));
    const body = change(readFileSync(join(book, file), "utf8"));
    await made.route(`**/${file}`, (route) => route.fulfill({ body, contentType: "text/javascript" }));
  }
}

// What a check says of a page as it is, and what it says after the planting. A
// check that uses the page gets a new one.
async function beforeAndAfter(plant) {
  let { made, page, problems } = await ground(plant);
  if (plant.state) await plant.state(page);
  const before = [...(await plant.by(page)), ...problems];
  if (!plant.by.still) {
    await made.close();
    ({ made, page, problems } = await ground(plant, plant.routes));
  }
  if (plant.css) await page.addStyleTag({ content: plant.css });
  if (plant.edit) await page.evaluate(plant.edit);
  if (plant.state && !plant.by.still) await plant.state(page);
  const after = [...(await plant.by(page)), ...problems];
  await made.close();
  return { before, after };
}

// The checks themselves must be able to fail.
async function noticed(plant) {
  if (plant.text) {
    check(`planted: ${plant.defect}`, asksOutside(plant.name, plant.text).length ? [] : ["nothing notices it"]);
    return;
  }
  const { before, after } = await beforeAndAfter(plant);
  const fresh = after.some((problem) => !before.includes(problem));
  check(`planted: ${plant.defect}`, fresh ? [] : ["nothing notices it", ...after]);
}

for (const name of readdirSync(book, { recursive: true }).filter((name) => /\.(css|html)$/.test(name))) {
  check(`${name}: other hosts`, asksOutside(name, readFileSync(join(book, name), "utf8")));
}

const wanted = process.argv.slice(2);
const task = (name, run, ...arguments_) => ({ name, run: () => run(...arguments_) });
const tasks = [
  task("print.html as PDF", asPdf),
  ...pages.flatMap((name) => [onDesk, onPhone, onPaper, withoutScript].map((run) => task(`${name} ${run.name}`, run, name))),
  ...["index.html", "frames.html"].flatMap((name) => [375, 1280].map((size) => task(`${name} keys`, byKeys, name, size))),
  ...["index.html", "frames.html", "many-clients.html"].map((name) => task(`${name} dark`, darkWithoutScript, name)),
  ...themes.flatMap((theme) => [375, 1280].map((size) => task("menus", withMenus, theme, size))),
  ...plants.map((plant) => task(`planted ${plant.defect}`, noticed, plant)),
].filter(({ name }) => wanted.length === 0 || wanted.some((part) => name.includes(part)));

// Four at a time: a page often waits, for a key, for what a key does, for a picture.
async function work() {
  for (let task = tasks.shift(); task; task = tasks.shift()) {
    const from = Date.now();
    await task.run().catch((error) => check(task.name, [error.stack]));
    if (process.env.TIMES) console.log(`${Date.now() - from} ms ${task.name}`);
  }
}
await Promise.all([work(), work(), work(), work()]);

// Parts of the book that do something of their own bring their checks along.
for (const [part, run] of Object.entries({ search, frames, herd, cases, slides })) {
  if (wanted.length === 0 || wanted.includes(part)) await run({ browser, open, check });
}
await browser.close();

console.log(`${passed} passed, ${failed} failed; the pictures are in ${shots}`);
process.exit(failed ? 1 : 0);
