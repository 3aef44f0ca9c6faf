// The book as mdBook builds it, and a browser that opens its pages: what the
// PDF, the EPUB and the published folder are made from.

import { execFileSync, spawnSync } from "node:child_process";
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";

export const root = fileURLToPath(new URL("../../", import.meta.url));
export const book = join(root, "target/book");

// Says in one line what is missing, and what to do about it.
export function stop(problem) {
  console.error(problem);
  process.exit(2);
}

export function noArguments() {
  if (process.argv.length > 2) stop(`cannot understand ${process.argv[2]}: this command takes no argument`);
}

// Runs a command; if the machine does not have it, says what it is for.
export function run(command, parameters, purpose, options = {}) {
  try {
    return execFileSync(command, parameters, { cwd: root, encoding: "utf8", maxBuffer: 1 << 28, ...options });
  } catch (error) {
    if (error.code === "ENOENT") stop(`cannot find ${command}: ${purpose}`);
    throw error;
  }
}

// mdBook goes on after an error, so a word from it ends this.
export function build(folder = book, variables = {}) {
  const env = { ...process.env, ...variables, MDBOOK_LOG: "warn" };
  const built = spawnSync("mdbook", ["build", "book", "--dest-dir", folder], { cwd: root, env, encoding: "utf8" });
  if (built.error?.code === "ENOENT") stop('cannot find mdbook, which builds the book: "cargo install mdbook" brings it');
  if (built.error) throw built.error;
  const words = built.stdout + built.stderr;
  if (built.status !== 0 || words) stop(`cannot build the book without errors:\n${words.trim()}`);
}

async function playwright() {
  try {
    return await import("playwright-core");
  } catch {
    return stop('cannot load playwright-core, which drives the browser: run "npm --prefix tests/browser ci"');
  }
}

export function chromiumPath() {
  const named = process.env.CHROMIUM;
  if (named && !existsSync(named)) stop(`cannot find the browser that CHROMIUM names: ${named}`);
  const paths = [named, "/usr/bin/chromium", "/usr/bin/google-chrome"];
  return paths.find((path) => path && existsSync(path)) ??
    stop("cannot find Chromium: install it, or set CHROMIUM to its path");
}

// Calls `use` with a function that opens a page of the book, without the files
// whose names start with one of `without`, and with the context of its pages.
export async function browse(use, without = []) {
  const { chromium } = await playwright();
  const browser = await chromium.launch({ executablePath: chromiumPath(), args: ["--no-sandbox", "--disable-gpu"] });
  try {
    const context = await browser.newContext({ viewport: { width: 1000, height: 1000 } });
    context.setDefaultTimeout(300_000); // a busy machine opens print.html slowly
    await context.addInitScript(() => {
      window.print = () => {}; // print.html prints at once
      localStorage.setItem("mdbook-theme", "light");
    });
    for (const file of without) await context.route(`**/${file}-*`, (route) => route.abort());
    return await use(async (name) => {
      const page = await context.newPage();
      await page.goto(pathToFileURL(join(book, name)).href, { waitUntil: "load" });
      return page;
    }, context);
  } finally {
    await browser.close();
  }
}

const plain = (html) => html.replace(/<[^>]*>/g, "").replaceAll("&#39;", "’").replaceAll("&amp;", "&").trim();

// The table of contents: title, file and level of each page, in order.
export function contents() {
  const toc = readFileSync(join(book, "toc.html"), "utf8");
  let level = 0;
  const entries = [];
  for (const [found, file, title] of toc.matchAll(/<ol|<\/ol|<a href="([^"#]+)"[^>]*>(.*?)<\/a>/gs)) {
    if (found === "<ol") level += 1;
    else if (found === "</ol") level -= 1;
    else if (!/^\s*</.test(title)) entries.push({ file, level, title: plain(title) });
  }
  if (entries.length < 8) stop(`cannot find the pages of the book in ${book}/toc.html`);
  return entries;
}

export const unfold = (page) => page.evaluate(() => {
  for (const details of document.querySelectorAll("main details")) details.open = true;
});
