// Searches through the box, as a reader would: the right section comes first,
// it works by keyboard and for a screen reader, and it can be read in all
// themes. The box relies on what mdBook and elasticlunr do inside, so these
// checks are what tells us when a new version does something else.

import { readFileSync } from "node:fs";
import { createRequire } from "node:module";

const axe = readFileSync(createRequire(import.meta.url).resolve("axe-core"), "utf8");

// What is typed, and the section that must be among the first so many.
const queries = [
  ["half-close", 1, "glossary.html#network"],
  ["half-close", 2, "client.html#talk"],
  ["half close", 2, "client.html#talk"],
  ["Half-Close", 2, "client.html#talk"],
  ["40 ms", 1, "client.html#nagle"],
  ["40 ms", 2, "errors.html#forty-ms"],
  ["nagle", 1, "glossary.html#network"],
  ["nagle", 3, "client.html#nagle"],
  ["sticky packet", 1, "glossary.html#protocol"],
  ["sticky packet", 2, "frames.html#sticky"],
  ["TIME_WAIT", 1, "glossary.html#network"],
  ["TIME_WAIT", 2, "server.html#in-use"],
  ["address already in use", 1, "server.html#in-use"],
  ["EADDRINUSE", 1, "errors.html#address-in-use"],
  ["backlog", 1, "glossary.html#program"],
  ["backlog", 2, "server.html#backlog"],
  ["broken pipe", 1, "errors.html#broken-pipe"],
  ["SO_REUSEADDR", 1, "options.html#reuseaddr"],
  ["deadline", 1, "glossary.html#time"],
  ["deadline", 2, "retry.html#client"],
  ["deadlock", 1, "glossary.html#program"],
  ["deadlock", 2, "errors.html#hang-read"],
  ["deadlock", 4, "client.html#both-wait"],
  ["idempotent", 2, "retry.html#meaning"],
  ["reset", 2, "errors.html#connection-reset"],
  ["timeout", 1, "glossary.html#time"],
  ["connection refused", 1, "errors.html#connection-refused"],
  ["ECONNRESET", 1, "errors.html#connection-reset"],
  ["slowloris", 2, "time-limits.html#for-ever"],
  ["jitter", 2, "retry.html#when"],
  ["jiter", 2, "retry.html#when"],
  ["three-way handshake", 2, "introduction.html#handshake"],
  ["slow start", 2, "flow.html#slow-start"],
  ["port 8888", 8, "flow.html#same-port"],
  ["ctrl-z", 1, "system.html#system"],
  ["select!", 3, "async.html#together"],
  ["S3-06", 1, "cases.html#s3-06"],
  ["s4-05", 1, "cases.html#s4-05"],
  ["timeou", 2, "time-limits.html#write"],
  ["length prefix", 1, "frames.html#length"],
  ["粘包", 1, "glossary.html#protocol"],
  ["半关闭", 1, "glossary.html#network"],
  ["超时", 1, "glossary.html#time"],
  ["幂等", 1, "glossary.html#time"],
  ["什么是粘包", 1, "glossary.html#protocol"],
  ["Nagle 算法", 1, "glossary.html#network"],
  ["TCP 粘包", 1, "glossary.html#protocol"],
  ["xyzzy", 0],
  ["龘", 0],
];

async function enter(page, query, key = false) {
  const box = page.getByRole("searchbox", { name: "Search this book" });
  if (!(await box.isVisible())) await page.keyboard.press("/");
  if (key) await box.pressSequentially(query);
  else await box.fill(query); // as a paste, or Chinese input, does
  await page.waitForFunction((typed) =>
    document.getElementById("mdbook-searchresults-header").textContent.includes(`'${typed}'`), query);
  return box;
}

const addresses = (page) => page.locator("#mdbook-searchresults a").evaluateAll((links) =>
  links.map((link) => link.getAttribute("href").replace(/\?[^#]*/, "")));

function wrong(found, status, [query, within, section]) {
  const solution = found.findIndex((address) => address.startsWith("solutions."));
  if (solution >= 0 && solution < Math.min(3, found.length - 1)) return ["finds a solution before three others"];
  if (new Set(found).size < found.length) return ["lists an address twice"];
  if (within > 0 && found.length === 0) return [`finds nothing for ${query}`];
  if (within > 0 && found.slice(0, within).includes(section)) return [];
  if (within === 0 && found.length === 0 && status.startsWith("No search results")) return [];
  return [`finds ${found.slice(0, 3)} and says "${status}"`];
}

async function finds(open, context, check) {
  const { page, problems } = await open(context, "index.html");
  for (const entry of queries) {
    await enter(page, entry[0]);
    const status = await page.locator("#mdbook-searchresults-header").innerText();
    check(`a search for ${entry[0]}`, wrong(await addresses(page), status, entry));
  }
  await enter(page, "粘包");
  const teaser = await page.locator(".teaser em").allInnerTexts();
  check("a Chinese word is marked in what is found", teaser.includes("粘包") ? [] : [`${teaser}`]);
  check("searching asks for nothing outside", problems);
  await page.close();
}

// What has the focus, as somebody who looks at the screen would name it.
const focus = (page) => page.evaluate(() => {
  const has = document.activeElement;
  if (has.closest("#mdbook-searchresults")) {
    return `result ${[...document.querySelectorAll("#mdbook-searchresults a")].indexOf(has)}`;
  }
  return has.id || has.localName;
});

async function keyboard(open, context, check) {
  const { page } = await open(context, "client.html");
  const problems = [];
  const press = async (key, expected) => {
    await page.keyboard.press(key);
    const has = await focus(page);
    if (has !== expected) problems.push(`after ${key}, the focus is on ${has}, not ${expected}`);
  };
  const address = page.url();
  const box = await enter(page, "deadline", true);
  if (await box.getAttribute("aria-describedby") !== "mdbook-searchresults-header") {
    problems.push("the box is not described by the number of results");
  }
  if (!(await box.getAttribute("aria-label"))) problems.push("the box has no label");
  await press("Tab", "result 0");
  await press("Shift+Tab", "mdbook-searchbar");
  await press("ArrowUp", "mdbook-searchbar");
  await press("ArrowDown", "result 0");
  await press("ArrowDown", "result 1");
  await press("ArrowRight", "result 1");
  await press("ArrowUp", "result 0");
  await press("ArrowUp", "mdbook-searchbar");
  await press("ArrowDown", "result 0");
  await press("Escape", "mdbook-search-toggle");
  if (await box.isVisible()) problems.push("Escape leaves the box open");
  if (page.url() !== address) problems.push(`Escape leaves ${page.url()}`);
  await press("Enter", "mdbook-searchbar");
  await press("Escape", "mdbook-search-toggle");
  await page.keyboard.press("ArrowDown");
  check("the search box by keyboard", problems);
  await page.close();
}

async function follows(open, context, check) {
  const { page } = await open(context, "index.html");
  await enter(page, "40 ms", true);
  await page.keyboard.press("ArrowDown");
  await page.keyboard.press("Enter");
  await page.waitForURL(/client\.html\?highlight=40%20ms#nagle$/);
  const marks = await page.locator("mark").evaluateAll((all) => all.map((mark) =>
    (mark.previousSibling ? mark.previousSibling.textContent : "").slice(-1) + mark.textContent));
  const inWords = marks.filter((mark) => /^[a-z]ms$/i.test(mark));
  check("Enter follows a result, and marks what was typed",
    marks.length > 0 && inWords.length === 0 ? [] : [`marks ${marks.slice(0, 5)}`]);
  await page.close();
}

// Without a segmenter for Chinese, a run of characters is a word.
async function degrades(open, context, check) {
  await context.addInitScript(() => { Intl.Segmenter = undefined; });
  const { page } = await open(context, "index.html");
  await enter(page, "粘包");
  const found = await addresses(page);
  check("Chinese is found without Intl.Segmenter",
    found[0] === "glossary.html#protocol" ? [] : [`finds ${found}`]);
  await page.close();
}

async function axeProblems(page, where) {
  await page.evaluate(axe);
  const result = await page.evaluate((selector) => axe.run({ include: [selector] },
    { preload: false, resultTypes: ["violations"] }), where);
  return result.violations.flatMap((violation) => violation.nodes.slice(0, 4).map((node) =>
    `${violation.id}: ${node.target.join(" ")}: ${node.any[0] ? node.any[0].message : ""}`));
}

async function looks(browser, open, check, theme, width) {
  const context = await browser.newContext({ viewport: { width, height: 800 } });
  await context.addInitScript((name) => localStorage.setItem("mdbook-theme", name), theme);
  const { page } = await open(context, "glossary.html");
  await enter(page, "connection refused");
  await page.keyboard.press("ArrowDown");
  const problems = await axeProblems(page, "#mdbook-search-wrapper");
  problems.push(...(await page.evaluate(lowContrast)));
  await page.keyboard.press("Enter");
  await page.waitForURL(/highlight=/);
  await page.locator("mark").first().waitFor();
  problems.push(...(await axeProblems(page, "mark")));
  check(`search in ${theme}, ${width} px`, problems);
  await context.close();
}

// axe does not look at placeholders, nor at the border of what has the focus.
function lowContrast() {
  const numbers = (color) => color.match(/[\d.]+/g).slice(0, 3).map(Number);
  const light = (color) => {
    const [r, g, b] = color
      .map((c) => (c / 255 <= 0.04045 ? c / 255 / 12.92 : ((c / 255 + 0.055) / 1.055) ** 2.4));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const ratio = (one, two) => {
    const [low, high] = [light(one), light(two)].sort((a, b) => a - b);
    return (high + 0.05) / (low + 0.05);
  };
  const box = document.getElementById("mdbook-searchbar");
  const paper = numbers(getComputedStyle(box).backgroundColor);
  const { color, opacity } = getComputedStyle(box, "::placeholder");
  const ink = numbers(color).map((c, i) => c * opacity + paper[i] * (1 - opacity));
  const hint = ratio(ink, paper);
  const ring = ratio(numbers(getComputedStyle(document.activeElement).outlineColor), paper);
  const problems = [];
  if (hint < 4.5) problems.push(`the placeholder has a contrast of ${hint.toFixed(2)}`);
  if (ring < 3) problems.push(`the ring around the result has a contrast of ${ring.toFixed(2)}`);
  return problems;
}

// A part that cannot go on is a failure, and the others are still tried.
async function attempt(what, check, part) {
  try {
    await part();
  } catch (error) {
    check(what, [error.message]);
  }
}

export async function run({ browser, open, check }) {
  const context = await browser.newContext({ viewport: { width: 1280, height: 900 } });
  for (const part of [finds, keyboard, follows, degrades]) {
    await attempt(`search ${part.name}`, check, () => part(open, context, check));
  }
  await context.close();
  for (const theme of ["light", "rust", "coal", "navy", "ayu"]) {
    for (const width of [1280, 375]) {
      await attempt(`search in ${theme}`, check, () => looks(browser, open, check, theme, width));
    }
  }
}
