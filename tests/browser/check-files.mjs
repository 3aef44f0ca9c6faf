// Looks at what is made from the book besides its pages: the PDF, the EPUB, and
// the folder for a host.
//
//     npm --prefix tests/browser ci && npm --prefix tests/browser run test-files
//
// It publishes the book in a folder that it removes, serves that folder below a
// path of 127.0.0.1, and tries each file. Needs poppler-utils, unzip and, for what
// EPUB allows, epubcheck. Each check is then shown a mistake that it must notice.

import { existsSync, mkdtempSync, readFileSync, readdirSync, rmSync, statSync, writeFileSync } from "node:fs";
import { createServer } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { browse, contents, run } from "./built.mjs";
import { asksOutside, emptyPages } from "./checks.mjs";
import { epub } from "./epub.mjs";
import { pdf } from "./pdf.mjs";
import { publish } from "./publish.mjs";

let passed = 0;
let failed = 0;
function check(what, problems) {
  if (problems.length === 0) passed += 1;
  else failed += 1;
  if (problems.length > 0) console.error(`FAIL ${what}\n    ${problems.slice(0, 10).join("\n    ")}`);
}
const noticed = (what, problems) => check(`planted: ${what}`, problems.length ? [] : ["nothing notices it"]);
const missing = (wanted, found, what) => wanted.filter((one) => !found.includes(one)).map((one) => `${what} ${one}`);

// ---- The PDF

const poppler = (command, ...parameters) =>
  run(command, parameters, "Debian has it in poppler-utils", { stdio: ["ignore", "pipe", "ignore"] });

// Nothing but letters: a line break, a number at the foot and a ligature are
// no difference.
const letters = (text) => text.normalize("NFKC").replace(/[^\p{L}]/gu, "");
const plain = (text) => text.replace(/<[^>]*>/g, "").replaceAll("&#39;", "'").replaceAll("&#34;", '"').replaceAll("&quot;", '"').replaceAll("&lt;", "<").replaceAll("&gt;", ">").replaceAll("&amp;", "&");

// The titles of the chapters stand in the outline in their order.
function wrongOutline(outline, titles) {
  let at = 0;
  return titles.flatMap((title) => {
    const next = outline.indexOf(title, at);
    if (next < 0) return [`the outline has no ${title} after ${outline[at - 1] ?? "the start"}`];
    at = next + 1;
    return [];
  });
}

function wrongCover(first, second, title) {
  const problems = missing([title, "one small step at a time", "SYN ACK", "CC BY 4.0"], first, "the cover lacks");
  if (/^\s*1\s*$/m.test(first.trim().split("\n").at(-1))) problems.push("the cover has a number");
  if (!/^\s*2\s*$/.test(second.trim().split("\n").at(-1))) problems.push("page 2 has no number");
  return problems;
}

const wrongPages = (texts) => texts.flatMap((text, i) => (letters(text).length < 3 ? [`page ${i + 1} is empty`] : []));
// A paragraph may go on on the next page, and a sign of another font may stand
// apart: so most of its pieces of 20 letters must be there, not all.
const lostText = (text, paragraphs) => paragraphs.flatMap(({ file, words }) => {
  const pieces = letters(words).match(/.{20}/gsu) ?? [letters(words)];
  const isThere = pieces.filter((piece) => text.includes(piece)).length * 2 > pieces.length;
  return isThere ? [] : [`${file} says, and the PDF does not: ${words.slice(0, 60)}`];
});
const strayLinks = (urls) => urls.filter((url) => !url.startsWith("https://")).map((url) => `a link leads to ${url}`);

// Paragraphs and headings of each page, without boxes that stand side by side.
const paragraphsOf = (entries) => browse(async (open) => {
  const found = [];
  for (const { file } of entries) {
    const page = await open(file);
    const words = await page.$$eval("main > :is(p, h1, h2, h3), main > ul > li > p", (all) => all.map((one) => one.textContent));
    found.push(...words.map((words) => ({ file, words })));
    await page.close();
  }
  return found;
});

async function checkPdf(entries) {
  const titles = entries.map(({ title }) => title);
  const xml = poppler("pdftohtml", "-xml", "-i", "-q", "-stdout", pdf);
  const outline = [...xml.slice(xml.indexOf("<outline>")).matchAll(/<item[^>]*>(.*?)<\/item>/gs)].map(([, title]) => plain(title).trim());
  check("PDF: outline", wrongOutline(outline, titles));
  noticed("two chapters change places", wrongOutline(outline, [titles[1], titles[0], ...titles.slice(2)]));
  const texts = poppler("pdftotext", "-layout", pdf, "-").split("\f").slice(0, -1);
  check("PDF: cover and numbers", wrongCover(texts[0], texts[1], titles[0]));
  noticed("no cover", wrongCover(texts[2], texts[3], titles[0]));
  check("PDF: no page is empty", wrongPages(texts));
  noticed("a page with a number alone", wrongPages([...texts, "  9\n"]));
  check("PDF: no page ends early", emptyPages(pdf));
  const raw = letters(poppler("pdftotext", "-raw", pdf, "-"));
  const paragraphs = await paragraphsOf(entries);
  check("PDF: text of each page", lostText(raw, paragraphs));
  const other = { file: "other.html", words: "This sentence is in no page of the book, and so it must be missed." };
  noticed("a paragraph is lost", lostText(raw, [...paragraphs, other]));
  const urls = poppler("pdfinfo", "-url", pdf).split("\n").slice(1).filter(Boolean).map((line) => line.trim().split(/\s+/).at(-1));
  check("PDF: links to elsewhere", strayLinks(urls));
  noticed("a link to a file", strayLinks([...urls, "file:///server.html"]));
  const numbered = contentsNumbers(texts, titles);
  check("PDF: the contents say the page", numbered);
  noticed("a chapter is a page later", contentsNumbers([...texts.slice(0, 2), "", ...texts.slice(2)], titles));
}

// "3 The server ..... 42": page 42 starts with that title.
function contentsNumbers(texts, titles) {
  const lines = texts.slice(1, 3).join("\n").split("\n").map((line) => line.trim());
  return titles.flatMap((title) => {
    const line = lines.find((line) => line.startsWith(title) && /^\W*\d+$/.test(line.slice(title.length)));
    const number = Number(/(\d+)$/.exec(line ?? "")?.[1]);
    return texts[number - 1]?.trimStart().startsWith(title) ? [] : [`the contents send ${title} to page ${number}`];
  });
}

const deadAnchors = (page) => page.$$eval("main a[href]", (links) => links
  .map((link) => link.getAttribute("href"))
  .filter((href) => (href.startsWith("#") ? !document.getElementById(decodeURIComponent(href.slice(1))) : !href.startsWith("https://")))
  .map((href) => `a link leads nowhere: ${href}`));

async function checkPrintLinks() {
  await browse(async (open) => {
    const page = await open("print.html");
    check("PDF: links inside", await deadAnchors(page));
    await page.evaluate(() => { document.querySelector("main a[href^='#']").href = "#not-there"; });
    noticed("a link to a place that is not there", await deadAnchors(page));
  });
}

// ---- The EPUB

const filesOf = (folder) => new Map(readdirSync(join(folder, "book")).map((name) => [name, readFileSync(join(folder, "book", name), "utf8")]));

// Each file is XML, and each link leads to a file that the package names, and to
// a place in it.
async function wrongXhtml(files) {
  const pages = [...files].filter(([name]) => /\.(xhtml|opf)$/.test(name));
  const problems = await browse(async (open) => {
    const tab = await open("index.html");
    return tab.evaluate((pages) => pages.flatMap(([name, text]) => {
      const error = new DOMParser().parseFromString(text, "application/xml").querySelector("parsererror");
      return error ? [`${name}: ${error.textContent.slice(0, 120)}`] : [];
    }), pages);
  });
  const named = files.get("package.opf");
  for (const [name, text] of pages.filter(([name]) => name.endsWith(".xhtml"))) {
    if (!named.includes(`href="${name}"`)) problems.push(`the package does not name ${name}`);
    for (const [, href] of text.matchAll(/<a\b[^>]*\bhref="([^"]*)"/g)) {
      if (href.startsWith("https://")) continue;
      const [file, id] = href.split("#");
      const target = files.get(file || name);
      if (target === undefined) problems.push(`${name}: no file ${href}`);
      else if (id && !target.includes(`id="${id}"`)) problems.push(`${name}: no place ${href}`);
    }
  }
  return problems;
}

function epubcheck(file) {
  const jar = ["/usr/share/java/epubcheck.jar", process.env.EPUBCHECK].find((path) => path && existsSync(path));
  if (!jar) return null;
  try {
    run("java", ["-jar", jar, "--quiet", file], "epubcheck needs it", { stdio: ["ignore", "pipe", "pipe"] });
    return [];
  } catch (error) {
    return `${error.stdout}${error.stderr}`.trim().split("\n");
  }
}

async function checkEpub(entries, work) {
  const bytes = readFileSync(epub);
  // OCF 3.3: the first file is `mimetype`, as it is, without extra fields.
  check("EPUB: mimetype", bytes.subarray(30, 58).toString() === "mimetypeapplication/epub+zip" ? [] : ["it is not the first file, or it is compressed"]);
  run("unzip", ["-q", epub, "-d", join(work, "epub")], "Debian has it in unzip");
  const files = filesOf(join(work, "epub"));
  check("EPUB: all pages", missing(entries.map(({ file }) => file.replace("html", "xhtml")), [...files.keys()], "there is no"));
  check("EPUB: XML and links", await wrongXhtml(files));
  const text = files.get("server.xhtml");
  noticed("a tag that nothing closes", await wrongXhtml(new Map(files).set("server.xhtml", text.replace("</main>", ""))));
  noticed("a link to no page", await wrongXhtml(new Map(files).set("server.xhtml", text.replace(/href="[a-z-]+\.xhtml/, 'href="nowhere.xhtml'))));
  const words = epubcheck(epub);
  if (words) check("EPUB: epubcheck", words);
  else if (process.env.CI) check("EPUB: epubcheck", ["epubcheck is not installed"]);
  else console.log("skipped: what EPUB allows (needs epubcheck)");
}

// ---- The folder

// As a host does: files below /some/where/, and 404.html for what is not there.
function host(folder) {
  const types = { html: "text/html; charset=utf-8", css: "text/css", js: "text/javascript", svg: "image/svg+xml" };
  const server = createServer((request, response) => {
    const path = decodeURIComponent(new URL(request.url, "http://host").pathname);
    const file = path.startsWith("/some/where/") ? join(folder, path.slice(12) || "index.html") : "";
    const found = file.startsWith(folder) && existsSync(file) && statSync(file).isFile();
    const shown = found ? file : join(folder, "404.html");
    response.writeHead(found ? 200 : 404, { "content-type": types[shown.split(".").at(-1)] ?? "application/octet-stream" });
    response.end(readFileSync(shown));
  });
  return new Promise((resolve) => server.listen(0, "127.0.0.1", () => resolve(server)));
}

// Opens pages as a visitor; says what was not there, and what was asked elsewhere.
const visit = (root, names) => browse(async (_, context) => {
  const problems = [];
  const tab = await context.newPage();
  tab.on("response", (response) => {
    if (response.status() >= 400 && !names.includes(new URL(response.url()).pathname.slice(12))) problems.push(`not there: ${response.url()}`);
  });
  tab.on("request", (request) => {
    if (!request.url().startsWith(root) && !/^(data|blob):/.test(request.url())) problems.push(`asks for ${request.url()}`);
  });
  for (const name of names) {
    await tab.goto(root + name, { waitUntil: "load" });
    const links = await tab.$$eval("main a[href], #mdbook-sidebar a[href], .nav-chapters[href]", (all) => all.map((link) => link.href));
    for (const link of new Set(links.map((link) => link.replace(/#.*/, "")).filter((link) => link.startsWith("http:")))) {
      if (!link.startsWith(root)) problems.push(`${name} leads out of the folder, to ${link}`);
      else if ((await context.request.head(link)).status() !== 200) problems.push(`${name} leads to ${link}, which is not there`);
    }
    const font = await tab.evaluate(() => getComputedStyle(document.body).fontFamily);
    if (!font.includes("Open Sans")) problems.push(`${name} has lost its style`);
  }
  return problems;
});

function wrongFiles(folder) {
  return readdirSync(folder, { recursive: true, withFileTypes: true }).filter((entry) => entry.isFile()).flatMap((entry) => {
    if (entry.name.endsWith(".map")) return [`a source map: ${entry.name}`];
    if (!/\.(html|css|js)$/.test(entry.name)) return [];
    const text = readFileSync(join(entry.parentPath ?? entry.path, entry.name), "utf8");
    const maps = /^\/\/# sourceMappingURL=/m.test(text) ? [`${entry.name} asks for a source map`] : [];
    return entry.name.endsWith(".js") ? maps : [...maps, ...asksOutside(entry.name, text)];
  });
}

async function checkFolder(folder) {
  const hidden = [".nojekyll", "404.html", "index.html", "tcp-step-by-step.pdf", "tcp-step-by-step.epub"];
  check("folder: files", [...missing(hidden, readdirSync(folder), "there is no"), ...wrongFiles(folder)]);
  const server = await host(folder);
  const root = `http://127.0.0.1:${server.address().port}/some/where/`;
  try {
    const names = ["", "welcome.html", "frames.html", "cases.html", "not-there.html"];
    check("folder: below a path", await visit(root, names));
    writeFileSync(join(folder, "planted.html"), '<main><a href="/index.html">up</a></main>');
    noticed("a link to the root of the host", await visit(root, ["planted.html"]));
    rmSync(join(folder, "planted.html"));
  } finally {
    server.close();
  }
  rmSync(join(folder, ".published-book"));
  const refused = await publish(folder).then(() => ["it wrote over a folder that it does not know"], () => []);
  check("folder: refuses to write over another", refused);
}

const work = mkdtempSync(join(tmpdir(), "published-"));
try {
  const folder = join(work, "folder");
  await publish(folder);
  const entries = contents();
  await checkPdf(entries);
  await checkPrintLinks();
  await checkEpub(entries, work);
  await checkFolder(folder);
} finally {
  rmSync(work, { recursive: true, force: true });
}
console.log(`${passed} passed, ${failed} failed`);
process.exit(failed ? 1 : 0);
