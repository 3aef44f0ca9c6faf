// Looks at each page of the built book in a real browser.
//
//     mdbook build book
//     npm --prefix tests/browser ci && npm --prefix tests/browser test
//
// Each page, in each theme, on a desk, and on a phone: no request to anywhere,
// no error in the console, nothing wider than the screen, and nothing that
// axe-core calls serious or critical. And each page without JavaScript, and
// printed. With SHOTS=folder it also leaves pictures there.

import { existsSync, mkdirSync, readdirSync, readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { join } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import { chromium } from "playwright-core";
import * as cases from "./cases.mjs";

const book = fileURLToPath(new URL("../../target/book", import.meta.url));
const browsers = [process.env.CHROMIUM, "/usr/bin/chromium", "/usr/bin/google-chrome"];
const executablePath = browsers.find((path) => path && existsSync(path));
if (!executablePath) {
  console.error("no Chromium found: install it, or set CHROMIUM to its path");
  process.exit(2);
}
const axe = readFileSync(createRequire(import.meta.url).resolve("axe-core"), "utf8");
const pages = readdirSync(book)
  .filter((name) => name.endsWith(".html") && !["404.html", "toc.html"].includes(name))
  .sort();
if (pages.length < 8) {
  console.error(`only ${pages.length} pages in ${book}: run "mdbook build book" first`);
  process.exit(2);
}
const shots = process.env.SHOTS;
if (shots) mkdirSync(shots, { recursive: true });

const themes = ["light", "rust", "coal", "navy", "ayu"];
const screens = { desk: { width: 1280, height: 900 }, phone: { width: 375, height: 800 } };
const offline = "--no-sandbox --disable-gpu --disable-background-networking " +
  "--disable-component-update --disable-sync --no-first-run --disable-quic";

let passed = 0;
const failures = [];
function check(what, problems) {
  if (problems.length === 0) passed += 1;
  else failures.push(`${what}\n    ${problems.join("\n    ")}`);
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

// What is wider than the screen, and does not scroll by itself.
async function tooWide(page) {
  return page.evaluate(() => {
    const width = document.documentElement.clientWidth;
    const wide = document.documentElement.scrollWidth;
    return wide > width ? [`the page is ${wide} px wide on a screen of ${width} px`] : [];
  });
}

async function axeProblems(page) {
  await page.evaluate(axe);
  const result = await page.evaluate(() => axe.run({ preload: false, resultTypes: ["violations"] }));
  return result.violations
    .filter((violation) => ["serious", "critical"].includes(violation.impact))
    .map((violation) => {
      const nodes = violation.nodes.slice(0, 4).map((node) => node.target.join(" ") + " " + (node.any[0]?.message ?? ""));
      return `${violation.id}: ${violation.help}: ${nodes.join(" | ")}`;
    });
}

const browser = await chromium.launch({ executablePath, args: offline.split(" ") });

for (const theme of themes) {
  for (const [screen, viewport] of Object.entries(screens)) {
    // A phone is tried with the two themes that the book chooses by itself.
    if (screen === "phone" && !["light", "navy"].includes(theme)) continue;
    const context = await browser.newContext({ viewport });
    await context.addInitScript((name) => localStorage.setItem("mdbook-theme", name), theme);
    for (const name of pages) {
      if (name === "print.html") continue; // it prints at once; see below
      const { page, problems } = await open(context, name);
      problems.push(...(await tooWide(page)), ...(await axeProblems(page)));
      check(`${name}, ${theme}, ${screen}`, problems);
      if (shots) {
        const path = join(shots, `${name.replace(".html", "")}-${theme}-${screen}.png`);
        await page.screenshot({ path, fullPage: true });
      }
      await page.close();
    }
    await context.close();
  }
}

for (const [screen, viewport] of Object.entries(screens)) {
  const context = await browser.newContext({ viewport, javaScriptEnabled: false });
  for (const name of pages) {
    const { page, problems } = await open(context, name);
    const words = (await page.locator("main").innerText()).split(/\s+/).length;
    if (words < 150) problems.push(`only ${words} words without JavaScript`);
    check(`${name}, without JavaScript, ${screen}`, [...problems, ...(await tooWide(page))]);
    await page.close();
  }
  await context.close();
}

// On paper: 650 px is the width of an A4 page within its margins.
const paper = await browser.newContext({ viewport: { width: 650, height: 900 } });
await paper.addInitScript(() => { window.print = () => {}; });
for (const name of pages) {
  const { page, problems } = await open(paper, name);
  await page.emulateMedia({ media: "print" });
  const cut = await page.evaluate(() =>
    [...document.querySelectorAll("main pre > code, main table, main svg")]
      .filter((element) => element.scrollWidth > element.clientWidth + 1 && element.clientWidth > 0)
      .map((element) => `is cut on paper: ${element.textContent.trim().slice(0, 60)}`));
  check(`${name}, printed`, [...problems, ...cut, ...(await tooWide(page))]);
  if (shots) await page.screenshot({ path: join(shots, `${name}-print.png`), fullPage: true });
  await page.close();
}

await cases.run({ browser, open, check });

// The checks themselves must be able to fail.
const bad = await browser.newContext({ viewport: screens.phone });
const page = await bad.newPage();
await page.setContent('<html><body><img src="x:"><p style="width:900px;color:#eee">wide</p></body></html>');
check("a page that is too wide is found", (await tooWide(page)).length ? [] : ["it was not"]);
check("a page with poor contrast is found",
  (await axeProblems(page)).some((p) => p.startsWith("color-contrast")) ? [] : ["it was not"]);
await browser.close();

for (const failure of failures) console.error(`FAIL ${failure}`);
console.log(`${passed} passed, ${failures.length} failed`);
process.exit(failures.length ? 1 : 0);
