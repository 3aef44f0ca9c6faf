// Makes target/tcp-step-by-step.epub, the whole book for reading programs:
//
//     npm --prefix tests/browser ci && npm --prefix tests/browser run epub
//
// The browser opens each page, lets it build its boxes and color its listings,
// and writes what is then there as XHTML. The rules: EPUB 3.3 of the W3C,
// https://www.w3.org/TR/epub-33/; `check-files.mjs` tries them.

import { readFileSync, readdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { book, browse, build, contents, noArguments, root, run } from "./built.mjs";
import { addCover } from "./cover.mjs";
import { zip } from "./zip.mjs";

export const epub = join(root, "target/tcp-step-by-step.epub");
// The same book keeps this name in each edition.
const identity = "urn:uuid:5b0bd4e0-3c8e-4f0c-9a55-7d6f5c1e2a18";
const toml = readFileSync(join(root, "book/book.toml"), "utf8");
const word = (key) => new RegExp(`^${key} = \\[?"(.*?)"`, "m").exec(toml)[1];
const escape = (text) => text.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll('"', "&quot;");
const named = (file) => file.replace(/\.html$/, ".xhtml");

// Runs in the page: its text as XHTML, with what belongs to a screen or to a
// script taken away.
function serialise() {
  const main = document.querySelector("main");
  const all = (selector) => main.querySelectorAll(selector);
  // XHTML of an EPUB has no such attribute; readers open each choice by itself.
  for (const choice of all("details[name]")) choice.removeAttribute("name");
  for (const part of all(".buttons, script, .skip, button")) part.remove();
  for (const link of all("a.header")) link.replaceWith(...link.childNodes);
  for (const part of all("[tabindex]")) {
    for (const name of ["tabindex", "role", "aria-label"]) part.removeAttribute(name);
  }
  // mdBook gives a term the id of its word, which a heading may have already.
  for (const term of all("dt[id]")) {
    if (all(`#${CSS.escape(term.id)}`).length > 1) term.removeAttribute("id");
  }
  for (const part of all("[lang]")) part.setAttributeNS("http://www.w3.org/XML/1998/namespace", "xml:lang", part.lang);
  for (const link of all("a[href]")) {
    const href = link.getAttribute("href");
    if (!href.includes(":")) link.setAttribute("href", href.replace(/\.html(?=#|$)/, ".xhtml"));
  }
  const svg = main.querySelector("svg") !== null;
  return { svg, text: new XMLSerializer().serializeToString(main) };
}

const page = (title, body) => `<?xml version="1.0" encoding="utf-8"?>
<!DOCTYPE html>
<html xmlns="http://www.w3.org/1999/xhtml" xmlns:epub="http://www.idpf.org/2007/ops" lang="en" xml:lang="en">
<head>
<title>${escape(title)}</title>
<link rel="stylesheet" type="text/css" href="book.css"/>
</head>
<body class="content">
${body}
</body>
</html>
`;

// Runs in the page: rules of today as rules that each reading program knows, one
// selector for each thing that :is() or :where() may stand for. What depends on
// :has(), on paper or on the keyboard is left out.
function plain(css) {
  const split = (list) => {
    const parts = [""];
    let depth = 0;
    for (const letter of list) {
      depth += (letter === "(") - (letter === ")");
      if (letter === "," && depth === 0) parts.push("");
      else parts[parts.length - 1] += letter;
    }
    return parts.map((part) => part.trim());
  };
  const end = (text, from) => {
    let depth = 1;
    while (depth > 0) depth += { "(": 1, ")": -1 }[text[from++]] ?? 0;
    return from - 1;
  };
  const spell = (selector) => {
    const found = /:(?:is|where)\(/.exec(selector);
    if (!found) return [selector];
    const from = found.index + found[0].length;
    const to = end(selector, from);
    return split(selector.slice(from, to)).flatMap((one) => spell(selector.slice(0, found.index) + one + selector.slice(to + 1)));
  };
  const leftOut = /:has\(|::details|:focus|::-|#mdbook|\.clip-button|\.js\b/;
  const write = (rule) => {
    if (rule.selectorText) {
      const selectors = split(rule.selectorText).flatMap(spell).filter((selector) => !leftOut.test(selector));
      return selectors.length ? `${selectors.join(",\n")} { ${rule.style.cssText} }` : "";
    }
    const inner = [...(rule.cssRules ?? [])].map(write).filter(Boolean).join("\n");
    const condition = rule.conditionText ?? "";
    return inner && rule instanceof CSSMediaRule && !/print|forced/.test(condition) ? `@media ${condition} {\n${inner}\n}` : "";
  };
  const sheet = new CSSStyleSheet();
  sheet.replaceSync(css);
  return [...sheet.cssRules].map(write).filter(Boolean).join("\n");
}

// Reading programs know light-dark() less well than a dark rule of its own.
function style() {
  const asset = (folder, name) => readFileSync(join(book, folder, readdirSync(join(book, folder)).find((file) => file.startsWith(name))), "utf8");
  const both = /light-dark\(([^,()]+), ([^,()]+)\)/g;
  const ours = ["book-", "pictures-"].map((name) => asset("assets", name)).join("\n");
  const dark = [...ours.matchAll(/^ *(--[\w-]+: light-dark\(.*\);)/gm)].map(([, line]) => line.replace(both, "$2"));
  const atNight = (text) => `@media (prefers-color-scheme: dark) {\n${text}\n}\n`;
  return [
    asset(".", "highlight-"), atNight(asset(".", "tomorrow-night-")),
    ours.replace(both, "$1"), atNight(`:root {\n${dark.join("\n")}\n}`),
    readFileSync(new URL("epub.css", import.meta.url), "utf8"),
  ].join("\n");
}

// The contents, as lists in lists.
function list(entries, level = 1) {
  let items = "";
  for (let i = 0; i < entries.length;) {
    let end = i + 1;
    while (end < entries.length && entries[end].level > level) end += 1;
    const below = entries.slice(i + 1, end);
    const inner = below.length ? `\n${list(below, level + 1)}` : "";
    items += `<li><a href="${named(entries[i].file)}">${escape(entries[i].title)}</a>${inner}</li>\n`;
    i = end;
  }
  return `<ol>\n${items}</ol>`;
}

const navigation = (entries) => page("Contents", `<nav epub:type="toc" id="toc">
<h1>Contents</h1>
${list(entries)}
</nav>
<nav epub:type="landmarks" hidden="">
<ol>
<li><a epub:type="toc" href="nav.xhtml">Contents</a></li>
<li><a epub:type="bodymatter" href="${named(entries[0].file)}">Start</a></li>
</ol>
</nav>`);

// When the text was last changed, to the second.
function modified() {
  const time = run("git", ["log", "-1", "--format=%cI"], "it knows when the book was changed").trim();
  return new Date(time).toISOString().replace(/\.\d+/, "");
}

function packageFile(pages) {
  const items = pages.map(({ file, svg }, i) =>
    `<item id="page${i}" href="${named(file)}" media-type="application/xhtml+xml"${svg ? ' properties="svg"' : ""}/>`);
  const order = pages.map((_, i) => `<itemref idref="page${i}"/>`);
  return `<?xml version="1.0" encoding="utf-8"?>
<package xmlns="http://www.idpf.org/2007/opf" version="3.0" unique-identifier="id" xml:lang="en">
<metadata xmlns:dc="http://purl.org/dc/elements/1.1/">
<dc:identifier id="id">${identity}</dc:identifier>
<dc:title>${escape(word("title"))}</dc:title>
<dc:language>${word("language")}</dc:language>
<dc:creator>${escape(word("authors"))}</dc:creator>
<dc:description>${escape(word("description"))}</dc:description>
<dc:rights>Text: CC BY 4.0 (https://creativecommons.org/licenses/by/4.0/). Code: MIT or Apache-2.0.</dc:rights>
<meta property="dcterms:modified">${modified()}</meta>
<meta property="schema:accessMode">textual</meta>
<meta property="schema:accessMode">visual</meta>
<meta property="schema:accessModeSufficient">textual</meta>
<meta property="schema:accessibilityFeature">tableOfContents</meta>
<meta property="schema:accessibilityFeature">structuralNavigation</meta>
<meta property="schema:accessibilityFeature">longDescription</meta>
<meta property="schema:accessibilityHazard">none</meta>
<meta property="schema:accessibilitySummary">Each drawing has a description in words. Listings and tables are text.</meta>
</metadata>
<manifest>
<item id="nav" href="nav.xhtml" media-type="application/xhtml+xml" properties="nav"/>
<item id="cover" href="cover.xhtml" media-type="application/xhtml+xml"/>
<item id="picture" href="cover.png" media-type="image/png" properties="cover-image"/>
<item id="style" href="book.css" media-type="text/css"/>
${items.join("\n")}
</manifest>
<spine>
<itemref idref="cover"/>
<itemref idref="nav"/>
${order.join("\n")}
</spine>
</package>
`;
}

const container = `<?xml version="1.0"?>
<container version="1.0" xmlns="urn:oasis:names:tc:opendocument:xmlns:container">
<rootfiles><rootfile full-path="book/package.opf" media-type="application/oebps-package+xml"/></rootfiles>
</container>
`;

async function picture(open, { file, title }) {
  const tab = await open(file);
  await tab.setViewportSize({ width: 800, height: 1200 });
  await tab.evaluate(addCover, title);
  await tab.evaluate(() => document.body.replaceChildren(document.querySelector(".pdf-cover")));
  await tab.addStyleTag({ content: `
    html { font-size: 62.5%; color-scheme: light; }
    body { margin: 0; padding: 80px 60px; height: 1040px; background: #fff; color: #000; text-align: center; font-size: 24px; }
    .name { margin: 40px 0; font-size: 68px; font-weight: bold; }
    svg { width: 600px; height: auto; max-width: none !important; }
    figcaption { display: none; }
    .licence { font-size: 18px; }` });
  const png = await tab.screenshot();
  await tab.close();
  return png;
}

export async function makeEpub() {
  const entries = contents();
  // Not the parts of a page that only a script brings to life.
  const { pages, css, png } = await browse(async (open) => {
    const pages = [];
    for (const entry of entries) {
      const tab = await open(entry.file);
      pages.push({ ...entry, ...(await tab.evaluate(serialise)) });
      await tab.close();
    }
    const css = await (await open(entries[0].file)).evaluate(plain, style());
    return { pages, css, png: await picture(open, entries[0]) };
  }, ["frames", "herd", "search", "elasticlunr", "mark"]);
  const cover = page(entries[0].title, `<div class="cover-image"><img src="cover.png" alt="The cover: ${escape(word("title"))}. ${escape(word("description"))}."/></div>`);
  writeFileSync(epub, zip([
    ["mimetype", "application/epub+zip"],
    ["META-INF/container.xml", container],
    ["book/package.opf", packageFile(pages)],
    ["book/nav.xhtml", navigation(entries)],
    ["book/cover.xhtml", cover],
    ["book/cover.png", png],
    ["book/book.css", css],
    ...pages.map(({ file, title, text }) => [`book/${named(file)}`, page(title, text)]),
  ]));
  return epub;
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  noArguments();
  build();
  console.log(await makeEpub());
}
