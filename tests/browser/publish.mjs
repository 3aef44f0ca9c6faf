// Writes the built book as a folder that any static host can serve:
//
//     npm --prefix tests/browser ci
//     npm --prefix tests/browser run publish -- FOLDER [ADDRESS]
//
// The links are relative, so the folder may lie anywhere below a host's root. The
// PDF and the EPUB are in it, and the first page leads to them. With the
// ADDRESS that the folder will have, such as https://example.org/tcp/, the page
// for what is not there works at any depth, and there are a sitemap and robots.txt.

import { cpSync, existsSync, mkdirSync, mkdtempSync, readFileSync, readdirSync, rmdirSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { basename, dirname, join, relative, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { build, contents, stop } from "./built.mjs";
import { makeEpub } from "./epub.mjs";
import { makePdf } from "./pdf.mjs";

// This file lists what this command made in a folder: all that it may remove.
const mark = ".published-book";

// The files in a folder, as paths from it, without those of git.
function filesIn(folder) {
  const entries = readdirSync(folder, { recursive: true, withFileTypes: true });
  const files = entries.filter((entry) => !entry.isDirectory()).map((entry) => relative(folder, join(entry.parentPath, entry.name)));
  return files.filter((file) => file.split("/")[0] !== ".git").sort();
}

// What an earlier run made here. Something else stands in the way.
function madeEarlier(folder) {
  if (!existsSync(folder)) return [];
  const found = statSync(folder).isDirectory() ? filesIn(folder) : [basename(folder)];
  const list = found.includes(mark) ? readFileSync(join(folder, mark), "utf8").split("\n").filter(Boolean) : [];
  const ours = new Set([...list, mark]);
  const other = found.find((file) => !ours.has(file));
  if (other === undefined) return found;
  throw new Error(`cannot publish to ${folder}: it holds something that this command did not make (${other}); take it away, or name a new folder`);
}

// A folder that is empty now was of use to these files only.
function remove(folder, files) {
  for (const file of files) {
    rmSync(join(folder, file));
    for (let at = dirname(file); at !== "." && readdirSync(join(folder, at)).length === 0; at = dirname(at)) rmdirSync(join(folder, at));
  }
}

function addressOf(text) {
  if (text === undefined) return null;
  const address = URL.canParse(text) ? new URL(text) : null;
  if (!/^https?:$/.test(address?.protocol)) throw new Error(`cannot publish for ${text}: not an address such as https://example.org/tcp/`);
  if (!address.pathname.endsWith("/")) address.pathname += "/";
  return address;
}

// The end of the first page, where a reader of the web looks for a file.
function leadTo(folder, files) {
  const link = ([name, what]) => `<a href="${name}">${what}</a> (${(statSync(join(folder, name)).size / 1e6).toFixed(1)} MB)`;
  const line = `<p>To take along: the whole book as ${files.map(link).join(" or as ")}.</p>\n`;
  for (const page of ["index.html", contents()[0].file]) {
    const html = readFileSync(join(folder, page), "utf8");
    writeFileSync(join(folder, page), html.replace("</main>", `${line}</main>`));
  }
}

function forSearchEngines(folder, address) {
  const pages = contents().map(({ file }) => `<url><loc>${new URL(file, address)}</loc></url>\n`);
  writeFileSync(join(folder, "sitemap.xml"),
    `<?xml version="1.0" encoding="UTF-8"?>\n<urlset xmlns="http://www.sitemaps.org/schemas/sitemap/0.9">\n${pages.join("")}</urlset>\n`);
  writeFileSync(join(folder, "robots.txt"), `User-agent: *\nAllow: /\nSitemap: ${new URL("sitemap.xml", address)}\n`);
}

export async function publish(folder, text) {
  const address = addressOf(text);
  madeEarlier(folder); // before the long work
  build();
  const made = [[await makePdf(), "PDF"], [await makeEpub(), "EPUB"]];
  const work = mkdtempSync(join(tmpdir(), "book-"));
  try {
    build(work, { MDBOOK_OUTPUT__HTML__SITE_URL: address?.pathname ?? "./" });
    for (const [file] of made) cpSync(file, join(work, basename(file)));
    leadTo(work, made.map(([file, what]) => [basename(file), what]));
    if (address) forSearchEngines(work, address);
    writeFileSync(join(work, ".nojekyll"), "");
    writeFileSync(join(work, mark), `${filesIn(work).join("\n")}\n`);
    remove(folder, madeEarlier(folder));
    mkdirSync(folder, { recursive: true });
    cpSync(work, folder, { recursive: true });
  } finally {
    rmSync(work, { recursive: true, force: true });
  }
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const [folder, address, ...rest] = process.argv.slice(2);
  if (!folder || folder.startsWith("-") || rest.length > 0) stop("usage: npm --prefix tests/browser run publish -- FOLDER [ADDRESS]");
  const path = resolve(process.env.INIT_CWD ?? ".", folder); // npm runs this in its own folder
  await publish(path, address).catch((error) => stop(error.message));
  console.log(path);
}
