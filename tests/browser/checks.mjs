// The checks: each takes a page of the book and returns what is wrong, in words.
// `plants.mjs` shows for each of them a defect that it notices.

import { execFileSync } from "node:child_process";
import { existsSync, readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { fileURLToPath } from "node:url";

const inside = ["looks.js", "parts.js"].map((file) => readFileSync(new URL(file, import.meta.url), "utf8")).join("\n");
const axe = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");

// A check that only looks leaves the page as it was.
const still = (check) => Object.assign(check, { still: true });

export const look = (name, given) => still(async (page) => {
  if (!(await page.evaluate("globalThis.looks !== undefined"))) await page.evaluate(inside);
  return page.evaluate(([name, given]) => looks[name](given), [name, given]);
});

const fileOf = (address) => fileURLToPath(address.replace(/[?#].*/, ""));

// What the page shows as terminals is what the file of the book says.
export const terminals = still((page) => look("terminals", readFileSync(fileOf(page.url()), "utf8"))(page));

// Whether a link into the book leads to a page, and to an id in it.
const files = new Map();
export function nowhere(href) {
  if (!href) return ["a link has no address"];
  if (!href.startsWith("file:")) return [];
  const [file, id] = [fileOf(href), decodeURIComponent(new URL(href).hash.slice(1))];
  if (!files.has(file)) files.set(file, existsSync(file) ? readFileSync(file, "utf8") : "");
  if (files.get(file) === "") return [`a link leads to ${file}, which is not there`];
  return id === "" || files.get(file).includes(`id="${id}"`) ? [] : [`a link leads to #${id}, which is not there`];
}

export const links = still(async (page) => {
  const all = await page.$$eval("main a[href]", (links) => links.map((link) => link.href));
  return [...new Set(all)].flatMap(nowhere);
});

// A color on its way to another one would be measured half way.
const arrive = (page) => page.addStyleTag({ content: "* { transition: none !important; animation: none !important }" });

async function axeProblems(page) {
  if (!(await page.evaluate("globalThis.axe !== undefined"))) await page.evaluate(axe);
  const violations = await page.evaluate(async () =>
    (await axe.run({ preload: false, resultTypes: ["violations"] })).violations);
  return violations
    .filter((violation) => ["serious", "critical"].includes(violation.impact))
    .map((violation) => {
      const nodes = violation.nodes.slice(0, 4).map((node) => `${node.target.join(" ")} ${node.any[0]?.message ?? ""}`);
      return `${violation.id}: ${violation.help}: ${nodes.join(" | ")}`;
    });
}

export const contrast = still(async (page) => {
  await arrive(page);
  return [...(await look("inks")(page)), ...(await look("colors")(page))];
});
export const accessible = still(async (page) =>
  [...(await axeProblems(page)), ...(await contrast(page))]);

// What its own keys, and a click, do as well: mdBook also changes style sheets.
export async function setTheme(page, theme) {
  await page.evaluate((theme) => document.getElementById(`mdbook-theme-${theme}`).click(), theme);
}

export async function unfold(page) {
  await page.evaluate(() => {
    for (const details of document.querySelectorAll("details")) {
      details.removeAttribute("name"); // else one choice of a question closes the others
      details.open = true;
    }
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
