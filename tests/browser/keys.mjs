// What a reader does with a page: keys, the search, the menus, the mouse. Each
// function takes a page of the book and returns what is wrong, in words.

import { look, nowhere } from "./checks.mjs";

const toggle = "[aria-controls=mdbook-sidebar], #mdbook-sidebar-toggle-anchor";
const stops = {
  "the skip link": "a.skip",
  "the sidebar's button": toggle,
  "the theme button": "#mdbook-theme-toggle",
  "the search button": "#mdbook-search-toggle",
};
const wait = (page, what) => page.waitForFunction(what, null, { timeout: 15000, polling: 30 }).then(() => true, () => false);
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

// mdBook loads its index when the search first opens, and then moves the focus.
const searchIsReady = (page) => wait(page, () => document.getElementById("mdbook-search-index") &&
  !document.getElementById("mdbook-searchbar-outer").matches(".searching"));

// Enter and Space do what a click does.
export async function buttons(page) {
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
        if (!done) return [`${key} at ${button} ${after ? "opens" : "closes"} nothing`];
        if (after && button.includes("search")) await searchIsReady(page);
      }
    }
  }
  return [];
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

// The buttons at a listing can be reached, seen, and used, and say so.
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
  if (!first || problems.length) return problems;
  await first.focus();
  await page.keyboard.press("Enter");
  const said = await wait(page, () => document.querySelector(".clip-button.tooltipped, .clip-button .tooltiptext:not(:empty)") &&
    document.querySelector("[role=status].copied").textContent.startsWith("Copied"));
  if (!said) problems.push("Enter at a copy button copies nothing, or does not say so");
  return [...problems, ...(await look("copies")(page))];
}

// One sees where the keyboard is, at each kind of thing in the text.
export async function rings(page) {
  await page.keyboard.press("Tab");
  return look("rings")(page);
}

// Tab and Shift+Tab leave whatever one can enter.
export async function traps(page) {
  const problems = [];
  await look("controls")(page);
  const number = await page.evaluate(() => {
    globalThis.entered = [...new Set([...looks.controls().map(([, element]) => element),
      ...document.querySelectorAll("main :is(input, textarea, select)")])];
    return entered.length;
  });
  for (let i = 0; i < number; i += 1) {
    for (const key of ["Tab", "Shift+Tab"]) {
      await page.evaluate((i) => entered[i].focus(), i);
      await page.keyboard.press(key);
      const stays = await page.evaluate((i) => document.activeElement === entered[i] && entered[i].outerHTML.slice(0, 60), i);
      if (stays) problems.push(`${key} does not leave ${stays}`);
    }
  }
  return problems;
}

// What Shift+Tab leads to is not under the menu bar: each time, it has just
// been scrolled there.
export async function backwards(page) {
  const problems = [];
  for (let i = 1; i < 40; i += 6) {
    const there = await page.evaluate((i) => {
      const stops = [...document.querySelectorAll("main :is(a[href], summary, button, input, textarea, [tabindex='0'])")]
        .filter((element) => element.tabIndex >= 0 && element.checkVisibility({ visibilityProperty: true }));
      if (!stops[i + 1]) return false;
      stops[i].focus({ preventScroll: true });
      scrollTo({ top: stops[i - 1].getBoundingClientRect().top + scrollY - 2, behavior: "instant" });
      return true;
    }, i);
    if (!there) break;
    await page.keyboard.press("Shift+Tab");
    const hidden = await page.evaluate(() => {
      const element = document.activeElement;
      const box = element.getClientRects()[0];
      const bar = document.getElementById("mdbook-menu-bar").getBoundingClientRect().bottom;
      const fits = box.height < innerHeight - bar; // what is taller shows one of its ends
      return fits && scrollY > 0 && box.top < bar - 1 && box.bottom > 0 && element.outerHTML.slice(0, 60);
    });
    if (hidden) problems.push(`after Shift+Tab, ${hidden} is under the menu bar`);
  }
  return problems;
}

// Enter opens the contents and goes into them, Esc leads back; on a phone, where
// they push the text aside, they close when the reader leaves them.
export async function contents(page) {
  const button = await page.$("#mdbook-sidebar-toggle");
  const open = () => document.getElementById("mdbook-sidebar-toggle").getAttribute("aria-expanded") === "true";
  const closed = `!(${open})()`;
  const inside = () => document.activeElement.matches("#mdbook-sidebar a") && document.activeElement.getBoundingClientRect().right > 20;
  const enter = async () => {
    if (await page.evaluate(open)) await button.click();
    await button.focus();
    await page.keyboard.press("Enter");
    return wait(page, inside);
  };
  if (!(await enter())) return ["Enter does not go into the contents"];
  await page.keyboard.press("Escape");
  if (!(await wait(page, closed))) return ["Esc in the contents does not close them"];
  if (!(await wait(page, () => document.activeElement.id === "mdbook-sidebar-toggle"))) return ["Esc does not lead back to the button"];
  if (page.viewportSize().width > 620) return [];
  await enter();
  await page.evaluate(() => document.activeElement.blur());
  await page.keyboard.press("Escape");
  if (!(await wait(page, closed))) return ["Esc does not close the contents from elsewhere"];
  await enter();
  await page.evaluate(() => [...document.querySelectorAll("#mdbook-sidebar a")].at(-1).focus());
  for (let i = 0; i < 2; i += 1) await page.keyboard.press("Tab"); // over the button
  return (await wait(page, closed)) ? [] : ["the contents stay open when Tab leaves them"];
}

// The list of themes and the search can be used on the smallest phones.
export async function narrow(page) {
  await page.setViewportSize({ width: 320, height: 600 });
  const unreachable = (selector) => page.evaluate((selector) => {
    const all = [...document.querySelectorAll(selector)];
    const gone = all.filter((element) => {
      const { left, right, top, height } = element.getBoundingClientRect();
      const middle = top + height / 2; // below the edge of the screen, nothing is found
      const at = document.elementFromPoint((left + right) / 2, middle);
      return left < 0 || right > innerWidth || right - left < 50 || !element.contains(at) && middle < innerHeight;
    });
    if (all.length === 0 || all[0].getBoundingClientRect().top > innerHeight) return [`at 320 px, there is no ${selector}`];
    return gone.slice(0, 3).map((element) => `at 320 px, ${element.id || element.textContent.trim().slice(0, 30)} cannot be seen or clicked`);
  }, selector);
  const problems = await menu(page);
  await page.click("#mdbook-theme-toggle");
  problems.push(...(await unreachable("#mdbook-theme-list button")));
  await page.keyboard.press("Escape");
  await openSearch(page, query);
  await wait(page, () => document.querySelector("#mdbook-searchresults li"));
  problems.push(...(await unreachable("#mdbook-searchbar")), ...(await unreachable("#mdbook-searchresults li")));
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
  const address = page.url();
  for (const [key, rel] of [["ArrowRight", "next"], ["ArrowLeft", "prev"]]) {
    const to = await page.evaluate((rel) => document.querySelector(`a[rel~=${rel}]`)?.href, rel);
    if (!to) continue;
    await page.evaluate(() => document.activeElement.blur());
    await page.keyboard.press(key);
    const there = await page.waitForURL(to, { timeout: 15_000, waitUntil: "load" }).then(() => true, () => false);
    if (!there) return [`${key} does not turn to ${to.split("/").pop()}`];
    await page.goto(address, { waitUntil: "load" });
  }
  return [];
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
  if (hits.length < 5) return [`"${query}" has ${hits.length} hits`];
  problems.push(...hits.flatMap(nowhere));
  if (new Set(hits).size < hits.length) problems.push("a hit is listed twice");
  await page.keyboard.press("ArrowDown");
  if (!(await wait(page, () => document.querySelector("#mdbook-searchresults :is(li.focus, :focus)")))) problems.push("ArrowDown does not go to the first hit");
  await page.keyboard.press("Escape");
  await openSearch(page, "xyzzy");
  if (await page.$("#mdbook-searchresults li")) problems.push('"xyzzy" has hits');
  if (!/no/i.test(await page.innerText("#mdbook-searchresults-header"))) problems.push("nothing says that there is no hit");
  await page.keyboard.press("Escape");
  return problems;
}

// The menu bar: all of it can be seen and clicked, also after scrolling.
export async function menu(page) {
  const see = () => {
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
  // Scrolls, and waits until the page knows.
  const scroll = (by) => page.evaluate((by) => new Promise((done) => {
    scrollBy(0, by);
    requestAnimationFrame(() => requestAnimationFrame(done));
  }), by);
  await scroll(-1e6);
  const problems = await page.evaluate(see);
  await scroll(3000);
  await scroll(-600);
  problems.push(...(await page.evaluate(see)).map((problem) => `after scrolling: ${problem}`));
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
