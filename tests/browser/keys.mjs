// What a reader does with a page: keys, the search, the menus, the mouse. Each
// function takes a page of the book and returns what is wrong, in words.

import { existsSync, readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";

const toggle = "[aria-controls=mdbook-sidebar], #mdbook-sidebar-toggle-anchor";
const stops = {
  "the skip link": "a.skip",
  "the sidebar's button": toggle,
  "the theme button": "#mdbook-theme-toggle",
  "the search button": "#mdbook-search-toggle",
};
const wait = (page, what) => page.waitForFunction(what, null, { timeout: 3000, polling: 30 }).then(() => true, () => false);
const left = async (page, address) => page.url().replace(/[?#].*/, "") !== address.replace(/[?#].*/, "");

// Where the keyboard is, and whether one can see that.
function here(stops) {
  const element = document.activeElement;
  const box = element.getBoundingClientRect();
  const style = getComputedStyle(element);
  const outline = style.outlineStyle !== "none" && parseFloat(style.outlineWidth) > 0;
  const inside = box.width > 1 && box.bottom > 0 && box.right > 0 && box.left < innerWidth;
  return {
    name: element.id || element.className || element.textContent.slice(0, 30),
    stop: Object.keys(stops).find((name) => element.matches(stops[name])),
    seen: inside && (outline || style.boxShadow !== "none"),
  };
}

// Tab reaches each button, and shows where it is.
export async function tab(page) {
  const problems = [];
  const missing = new Set(Object.keys(stops));
  await page.evaluate(() => { document.activeElement.blur(); scrollTo(0, 0); });
  for (let i = 0; i < 70 && missing.size > 0; i += 1) {
    await page.keyboard.press("Tab");
    const at = await page.evaluate(here, stops);
    if (i === 0 && at.stop !== "the skip link") problems.push(`Tab goes first to ${at.name}, not to the skip link`);
    if (!at.seen) problems.push(`nothing shows that the focus is at ${at.name}`);
    missing.delete(at.stop);
  }
  for (const name of missing) problems.push(`Tab never reaches ${name}`);
  return problems.slice(0, 8);
}

// Enter and Space do what a click does.
export async function buttons(page) {
  const problems = [];
  const visible = {
    [toggle]: () => document.getElementById("mdbook-sidebar").getBoundingClientRect().right > 50 &&
      document.querySelector("#mdbook-sidebar a").checkVisibility(),
    "#mdbook-theme-toggle": () => document.getElementById("mdbook-theme-list").checkVisibility(),
    "#mdbook-search-toggle": () => document.getElementById("mdbook-searchbar").checkVisibility(),
  };
  for (const [button, open] of Object.entries(visible)) {
    for (const key of ["Enter", "Space"]) {
      const before = await page.evaluate(open);
      for (const after of [!before, before]) {
        await page.evaluate((button) => {
          const all = [...document.querySelectorAll(button)];
          (all.find((element) => element.tabIndex >= 0 && element.checkVisibility()) ?? all[0]).focus();
        }, button);
        await page.keyboard.press(key);
        const done = await wait(page, after ? open : `!(${open})()`);
        if (!done) problems.push(`${key} at ${button} ${after ? "opens" : "closes"} nothing`);
      }
    }
  }
  return problems;
}

// The list of themes: arrows move, Enter chooses, Escape closes.
export async function themes(page) {
  const problems = [];
  const now = () => page.evaluate(() => document.documentElement.className);
  const before = await now();
  await page.focus("#mdbook-theme-toggle");
  await page.keyboard.press("Enter");
  const from = await page.evaluate(() => document.activeElement.id);
  await page.keyboard.press("ArrowDown");
  if (from === (await page.evaluate(() => document.activeElement.id))) problems.push("an arrow does not move in the list of themes");
  await page.keyboard.press("Enter");
  if (before === (await now())) problems.push("Enter chooses no theme");
  await page.keyboard.press("Escape");
  if (await page.isVisible("#mdbook-theme-list")) problems.push("Escape leaves the list of themes open");
  return problems;
}

// The keys that mdBook's own help promises.
export async function letters(page) {
  const problems = [];
  for (const key of ["s", "/"]) {
    await page.evaluate(() => document.activeElement.blur());
    await page.keyboard.press(key);
    const at = await page.evaluate(() => document.activeElement.id);
    if (at !== "mdbook-searchbar" || !(await page.isVisible("#mdbook-searchbar"))) problems.push(`${key} does not open the search`);
    await page.keyboard.press("Escape");
    if (await page.isVisible("#mdbook-searchbar")) problems.push(`Escape does not close the search that ${key} opened`);
  }
  await page.keyboard.press("?");
  if (!(await page.isVisible("#mdbook-help-popup"))) problems.push("? does not show the help");
  await page.keyboard.press("Escape");
  if (await page.isVisible("#mdbook-help-popup")) problems.push("Escape does not hide the help");
  return problems;
}

// What is folded opens with Enter, and closes.
export async function folds(page) {
  const problems = [];
  for (const fold of (await page.$$("main details > summary")).slice(0, 4)) {
    const is = () => fold.evaluate((summary) => summary.parentElement.open);
    const before = await is();
    await fold.focus();
    await page.keyboard.press("Enter");
    if (before === (await is())) problems.push("Enter does not open what is folded");
    await page.keyboard.press("Space");
    if (before !== (await is())) problems.push("Space does not close it again");
  }
  return problems;
}

// The buttons at a listing can be reached, seen, and used.
export async function copying(page) {
  await page.addStyleTag({ content: "* { transition: none !important }" });
  const problems = await page.evaluate(() => {
    const problems = [];
    for (const button of document.querySelectorAll("main .clip-button")) {
      if (!button.closest("pre").checkVisibility()) continue;
      button.focus();
      const shown = button.checkVisibility({ visibilityProperty: true, opacityProperty: true });
      if (document.activeElement !== button || !shown) problems.push("the keyboard cannot reach a copy button, or cannot see it");
    }
    return [...new Set(problems)];
  });
  const first = await page.$("main pre:visible .clip-button");
  if (first && problems.length === 0) {
    await first.focus();
    await page.keyboard.press("Enter");
    if (!(await wait(page, () => document.querySelector(".clip-button.tooltipped, .clip-button .tooltiptext:not(:empty)")))) {
      problems.push("Enter at a copy button copies nothing");
    }
  }
  return problems;
}

// In a box that scrolls, the arrows scroll; in a field, they move in the text.
export async function boxes(page) {
  const problems = [];
  const address = page.url();
  const index = await page.evaluate(() => {
    const all = [...document.querySelectorAll("main *")];
    return all.findIndex((element) => element.checkVisibility() && element.scrollWidth > element.clientWidth + 8 &&
      /auto|scroll/.test(getComputedStyle(element).overflowX));
  });
  if (index >= 0) {
    await page.evaluate((i) => {
      const box = document.querySelectorAll("main *")[i];
      box.scrollLeft = 0;
      box.focus();
    }, index);
    await page.keyboard.press("ArrowRight");
    await page.waitForTimeout(100);
    if (await left(page, address)) return ["ArrowRight in a box that scrolls turns the page"];
    if (!(await wait(page, `document.querySelectorAll("main *")[${index}].scrollLeft > 0`))) problems.push("ArrowRight does not scroll a box");
  }
  await page.keyboard.press("/");
  await page.keyboard.type("a");
  await page.keyboard.press("ArrowLeft");
  await page.waitForTimeout(30);
  if (await left(page, address)) problems.push("ArrowLeft in the search turns the page");
  await page.keyboard.press("Escape");
  return problems;
}

// The arrows turn the page, as the links for it say. Leaves the page.
export async function arrows(page) {
  const problems = [];
  const address = page.url();
  for (const [key, rel] of [["ArrowRight", "next"], ["ArrowLeft", "prev"]]) {
    const to = await page.evaluate((rel) => document.querySelector(`a[rel~=${rel}]`)?.href, rel);
    if (!to) continue;
    await page.evaluate(() => document.activeElement.blur());
    await page.keyboard.press(key);
    const there = await page.waitForURL(to, { timeout: 3000, waitUntil: "load" }).then(() => true, () => false);
    if (!there) problems.push(`${key} does not turn to ${to.split("/").pop()}`);
    await page.goto(address, { waitUntil: "load" });
  }
  return problems;
}

// The skip link brings the keyboard to the text.
export async function skip(page) {
  if (!(await page.$("a.skip"))) return ["there is no skip link"];
  await page.focus("a.skip");
  await page.keyboard.press("Enter");
  await page.keyboard.press("Tab");
  const inside = await page.evaluate(() => document.querySelector("#mdbook-content").contains(document.activeElement));
  return inside ? [] : ["after the skip link, Tab is not in the text"];
}

export const query = "server";

// Opens the search with results, as a reader does.
export async function openSearch(page, words) {
  await page.evaluate(() => { document.activeElement.blur(); });
  await page.keyboard.press("/");
  await page.fill("#mdbook-searchbar", "");
  await page.keyboard.type(words);
  await wait(page, () => document.querySelector("#mdbook-searchresults-outer").checkVisibility() &&
    document.querySelector("#mdbook-searchresults-header").textContent);
}

// A word of the book has hits, which lead somewhere; no word of it has none.
export async function search(page) {
  const problems = [];
  await openSearch(page, query);
  await wait(page, () => document.querySelector("#mdbook-searchresults li"));
  const hits = await page.evaluate(() => [...document.querySelectorAll("#mdbook-searchresults li")]
    .filter((hit) => hit.checkVisibility({ opacityProperty: true, visibilityProperty: true }) && hit.getBoundingClientRect().height > 10)
    .map((hit) => hit.querySelector("a")?.href));
  if (hits.length < 5) problems.push(`"${query}" has ${hits.length} hits`);
  problems.push(...hits.flatMap(nowhere));
  await page.keyboard.press("ArrowDown");
  if (!(await wait(page, () => document.querySelector("#mdbook-searchresults :is(li.focus, :focus)")))) problems.push("ArrowDown does not go to the first hit");
  await page.keyboard.press("Escape");
  await openSearch(page, "xyzzy");
  if (await page.$("#mdbook-searchresults li")) problems.push('"xyzzy" has hits');
  if (!/no/i.test(await page.innerText("#mdbook-searchresults-header"))) problems.push("nothing says that there is no hit");
  await page.keyboard.press("Escape");
  return problems;
}

function nowhere(href) {
  if (!href) return ["a hit has no link"];
  const { pathname, hash } = new URL(href);
  const file = fileURLToPath(`file://${pathname}`);
  if (!existsSync(file)) return [`a hit leads to ${file}`];
  const id = decodeURIComponent(hash.slice(1));
  return readFileSync(file, "utf8").includes(`id="${id}"`) ? [] : [`a hit leads to ${hash}, which is not there`];
}

// The menu bar: all of it can be seen and clicked, also after scrolling.
export async function menu(page) {
  const look = () => {
    const bar = document.getElementById("mdbook-menu-bar");
    const parts = bar.querySelectorAll(".icon-button, .menu-title, .right-buttons a");
    const problems = [];
    if (parts.length < 5) problems.push(`the menu bar has only ${parts.length} parts`);
    for (const part of parts) {
      const box = part.getBoundingClientRect();
      const at = document.elementFromPoint((box.left + box.right) / 2, (box.top + box.bottom) / 2);
      const shown = part.checkVisibility({ opacityProperty: true, visibilityProperty: true });
      if (!shown || box.width < 10 || !part.contains(at)) problems.push(`${part.id || part.className || part.title} in the menu bar cannot be seen or clicked`);
    }
    return problems;
  };
  await page.evaluate(() => scrollTo(0, 0));
  const problems = await page.evaluate(look);
  await page.mouse.wheel(0, 3000);
  await page.waitForTimeout(60);
  await page.mouse.wheel(0, -600);
  await page.waitForTimeout(60);
  problems.push(...(await page.evaluate(look)).map((problem) => `after scrolling: ${problem}`));
  await page.evaluate(() => scrollTo(0, 0));
  return problems;
}

// The mouse goes over the links, listings and pictures. Whoever opened the
// page notes what it asks for.
export async function hover(page) {
  const places = await page.evaluate(() => {
    const found = [];
    const kinds = "main a[href], main figure, main img, main pre, main table, main button, .menu-bar a, .menu-bar button, .nav-wide-wrapper a";
    for (const element of document.querySelectorAll(kinds)) {
      for (const name of ["pointerover", "mouseover", "mouseenter", "focusin"]) {
        element.dispatchEvent(new MouseEvent(name, { bubbles: name !== "mouseenter" }));
      }
      const box = element.getBoundingClientRect();
      if (box.width) found.push([box.left + box.width / 2 + scrollX, box.top + Math.min(box.height / 2, 20) + scrollY]);
    }
    const step = Math.ceil(found.length / 30);
    return found.filter((_, i) => i % step === 0);
  });
  for (const [x, y] of places) {
    const top = await page.evaluate((y) => { scrollTo(0, Math.max(0, y - 300)); return scrollY; }, y);
    await page.mouse.move(x, y - top);
  }
  await page.evaluate(() => scrollTo(0, 0));
  await page.mouse.move(1, 1);
  return [];
}
