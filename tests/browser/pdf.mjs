// Makes target/tcp-step-by-step.pdf, the whole book for paper:
//
//     npm --prefix tests/browser ci && npm --prefix tests/browser run pdf
//
// mdBook has one page with all chapters, print.html; Chromium prints it, with
// an outline and tags. Two things are added: a cover and a table of contents. A
// browser does not know on which page something will be, so the book is printed
// twice, and `pdfinfo -dests` says after the first time where the chapters are.

import { readFileSync, rmSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { browse, build, contents, noArguments, root, run, unfold } from "./built.mjs";
import { addCover } from "./cover.mjs";

export const pdf = join(root, "target/tcp-step-by-step.pdf");
const style = readFileSync(new URL("pdf.css", import.meta.url), "utf8");

// Runs in the page. Returns the place of each chapter.
function addContents(entries) {
  const titles = [...document.querySelectorAll("main h1")];
  const list = document.createElement("ol");
  entries.forEach(({ title, level }, i) => {
    const item = document.createElement("li");
    item.className = level > 1 ? "deep" : "";
    const link = document.createElement("a");
    link.textContent = title;
    link.href = `#${titles[i].id}`;
    item.append(link, document.createElement("span"));
    list.append(item);
  });
  const heading = document.createElement("h2");
  heading.textContent = "Contents";
  const front = document.createElement("div");
  front.className = "pdf-contents";
  front.append(heading, list);
  document.querySelector(".pdf-cover").after(front);
  return titles.map((title) => title.id);
}

// The page of each place that a link leads to.
function pagesOf(places) {
  const lines = run("pdfinfo", ["-dests", pdf], "it says on which page a chapter is; Debian has it in poppler-utils", { stdio: ["ignore", "pipe", "ignore"] });
  const found = new Map([...lines.matchAll(/^ *(\d+) .*"(.*)"$/gm)].map(([, page, id]) => [id, page]));
  return places.map((id) => found.get(id) ?? "");
}

const fill = (numbers) =>
  document.querySelectorAll(".pdf-contents li > span").forEach((span, i) => { span.textContent = numbers[i]; });

export async function makePdf() {
  run("pdfinfo", ["-v"], "it says on which page a chapter is; Debian has it in poppler-utils", { stdio: "ignore" }); // before the long work
  rmSync(pdf, { force: true });
  const entries = contents();
  await browse(async (open) => {
    const page = await open("print.html");
    await page.emulateMedia({ media: "print" });
    await page.addStyleTag({ content: style });
    await unfold(page);
    await page.evaluate(addCover, entries[0].title);
    const places = await page.evaluate(addContents, entries);
    const print = () => page.pdf({ path: pdf, preferCSSPageSize: true, printBackground: true, outline: true, tagged: true });
    await print();
    await page.evaluate(fill, pagesOf(places));
    await print();
  });
  return pdf;
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  noArguments();
  build();
  console.log(await makePdf());
}
