// The checks: each takes a page of the book and returns what is wrong, in words.
// `plants.mjs` shows for each of them a defect that it notices.

import { execFileSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";

const inside = readFileSync(new URL("looks.js", import.meta.url), "utf8");
const axe = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");

// A check that only looks leaves the page as it was.
const still = (check) => Object.assign(check, { still: true });

export const look = (name) => still(async (page) => {
  if (!(await page.evaluate("globalThis.looks !== undefined"))) await page.evaluate(inside);
  return page.evaluate((name) => looks[name](), name);
});

async function axeProblems(page, only) {
  if (!(await page.evaluate("globalThis.axe !== undefined"))) await page.evaluate(axe);
  // A color on its way to another one would be measured half way.
  await page.addStyleTag({ content: "* { transition: none !important; animation: none !important }" });
  const violations = await page.evaluate(async (only) => {
    const rules = only ? { runOnly: only } : {};
    return (await axe.run({ preload: false, resultTypes: ["violations"], ...rules })).violations;
  }, only);
  return violations
    .filter((violation) => ["serious", "critical"].includes(violation.impact))
    .map((violation) => {
      const nodes = violation.nodes.slice(0, 4).map((node) => `${node.target.join(" ")} ${node.any[0]?.message ?? ""}`);
      return `${violation.id}: ${violation.help}: ${nodes.join(" | ")}`;
    });
}

export const accessible = still(async (page) =>
  [...(await axeProblems(page)), ...(await look("inks")(page))]);
export const contrast = still(async (page) =>
  [...(await axeProblems(page, ["color-contrast"])), ...(await look("inks")(page))]);

// What its own keys, and a click, do as well: mdBook also changes style sheets.
export async function setTheme(page, theme) {
  await page.evaluate((theme) => document.getElementById(`mdbook-theme-${theme}`).click(), theme);
}

export async function unfold(page) {
  await page.evaluate(() => {
    for (const details of document.querySelectorAll("details")) details.open = true;
  });
}

// A page as it is printed. The browser tells the page; so do we.
export async function toPaper(page) {
  await page.emulateMedia({ media: "print" });
  await page.evaluate(() => { window.dispatchEvent(new Event("beforeprint")); });
}

// What the text of a file asks of another host without a click: a link to
// follow (<a href>) is fine.
export function asksOutside(name, text) {
  const patterns = name.endsWith(".css")
    ? [/url\(\s*["']?(?:https?:)?\/\/[^)]*/gi, /@import[^;]*/gi]
    : [/<link\b[^>]*href\s*=\s*["']?(?:https?:)?\/\/[^>]*/gi,
      /<(?!a\b)[a-z]+\b[^>]*\s(?:src|srcset|poster|data|action|ping|href)\s*=\s*["']?(?:https?:)?\/\/[^>]*/gi,
      /<a\b[^>]*\sping\s*=[^>]*/gi,
      /url\(\s*["']?(?:https?:)?\/\/[^)]*/gi];
  return patterns.flatMap((pattern) => text.match(pattern) ?? [])
    .map((found) => `${name} asks for ${found.slice(0, 120)}`);
}

// Pages of a PDF that end early although no chapter begins on the next one.
// Needs pdftotext, of poppler: null without it.
export function emptyPages(pdf) {
  let text;
  try {
    text = execFileSync("pdftotext", ["-bbox", pdf, "-"], { encoding: "utf8", maxBuffer: 1 << 28 });
  } catch (error) {
    if (error.code === "ENOENT") return null;
    throw error;
  }
  const pages = text.split("<page ").slice(1).map((page) => {
    const height = Number(/height="([\d.]+)"/.exec(page)[1]);
    const words = [...page.matchAll(/yMin="([\d.]+)" xMax="[\d.]+" yMax="([\d.]+)">([^<]*)/g)];
    const first = words[0] ? Number(words[0][2]) - Number(words[0][1]) : 0;
    const filled = Math.max(0, ...words.map((word) => Number(word[2]))) / height;
    return { filled, title: first > 24, text: words.slice(0, 5).map((word) => word[3]).join(" ") };
  });
  return pages.flatMap(({ filled, text }, i) =>
    filled < 0.4 && pages[i + 1] && !pages[i + 1].title
      ? [`page ${i + 1} ("${text} …") is ${Math.round(100 * (1 - filled))} % empty`] : []);
}
