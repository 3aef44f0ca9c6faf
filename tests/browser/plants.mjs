// Defects, each with the check that must notice it. The run plants every one of
// them in a page of the book and fails if the check says the same as before.
//
// page, width (1280), theme (light): where. by: the check. Then how it is
// planted: css, edit (a function run in the page), or routes (what a file of
// the book holds instead). paper: on paper. open: the state of the page.

import { accessible, contrast, look, unfold } from "./checks.mjs";
import * as keys from "./keys.mjs";

const search = (page) => keys.openSearch(page, keys.query);
const themes = (page) => page.evaluate(() => { document.getElementById("mdbook-theme-list").style.display = "block"; });

// A key that is taken away from the page.
const swallow = (key) => `addEventListener("keydown", (event) => {
  if (event.key === "${key}") { event.stopImmediatePropagation(); event.preventDefault(); }
}, true)`;

export const plants = [
  // Wider than its column.
  { defect: "a box wider than a phone", page: "frames.html", width: 375, by: look("fits"),
    edit: () => { document.querySelector("main p").insertAdjacentHTML("afterend", '<div style="width:420px;height:9px"></div>'); } },
  { defect: "a paragraph that does not wrap, on a tablet", page: "flow.html", width: 768, by: look("fits"),
    css: "main p { white-space: nowrap }" },
  { defect: "a table wider than its column", page: "errors.html", by: look("fits"),
    css: ".table-wrapper { overflow: visible } main table { min-width: 1000px }" },
  { defect: "a listing that does not scroll", page: "frames.html", width: 375, by: look("fits"),
    css: "main pre, main pre > code, main pre * { overflow: visible !important; white-space: pre !important }" },

  // Cut off, covered, on one another, not there.
  { defect: "code cut at its right", page: "server.html", width: 375, by: look("whole"),
    css: "main pre, main pre > code, main pre * { overflow: hidden !important; white-space: pre !important }" },
  { defect: "code cut at its foot", page: "server.html", by: look("whole"),
    css: "main pre > code { max-height: 7em; overflow: hidden !important }" },
  { defect: "a heading cut by an ellipsis", page: "many-clients.html", width: 375, by: look("whole"),
    css: "main h2 { white-space: nowrap; overflow: hidden; text-overflow: ellipsis; max-width: 60px }" },
  { defect: "copy buttons that cover the code", page: "frames.html", width: 375, by: look("uncovered"),
    css: "main pre .buttons { visibility: visible !important; opacity: 1 !important; top: 20px !important; left: 0 !important }" },
  { defect: "lines of text on one another", page: "introduction.html", by: look("apart"),
    css: "main p { line-height: 0.5em !important }" },
  { defect: "a block pulled over the one before", page: "retry.html", width: 768, by: look("apart"),
    css: "main p + p { margin-top: -2.6em !important }" },
  { defect: "text that is not shown", page: "glossary.html", by: look("visible"),
    css: "main p, main dd { opacity: 0 }" },

  // Drawings.
  { defect: "a label away from its packet", page: "introduction.html", by: look("drawn"),
    edit: () => { const label = document.querySelectorAll(".lifelines .label")[1]; label.setAttribute("y", Number(label.getAttribute("y")) - 21); } },
  { defect: "labels moved by style", page: "client.html", width: 768, by: look("drawn"),
    css: ".lifelines .call { transform: translate(0, 26px) }" },
  { defect: "labels not in the middle", page: "frames.html", by: look("drawn"),
    css: ".lifelines .label { text-anchor: start !important }" },
  { defect: "labels too large for a phone's drawing", page: "introduction.html", width: 375, by: look("drawn"),
    css: ".lifelines .call { font-size: 34px !important }" },
  { defect: "a label outside its drawing", page: "introduction.html", by: look("drawn"),
    edit: () => { document.querySelector("svg .end").setAttribute("y", "-6"); } },
  { defect: "a drawing that moves on paper only", page: "client.html", paper: true, by: look("drawn"),
    css: "@media print { .lifelines .label { transform: translateY(-30px) } }" },
  { defect: "pale words in a drawing, in a dark theme", page: "introduction.html", theme: "coal", width: 375, by: look("inks"),
    css: ".lifelines text { fill: #444 !important }" },

  // The bar, the search, colours.
  { defect: "no menu bar", page: "index.html", width: 375, by: keys.menu, css: "#mdbook-menu-bar { display: none }" },
  { defect: "a menu bar that cannot be seen", page: "index.html", by: keys.menu, css: "#mdbook-menu-bar { opacity: 0 }" },
  { defect: "a menu bar under something else", page: "index.html", by: keys.menu,
    css: "body::after { content: ''; position: fixed; inset: 0 0 auto 0; height: 60px; z-index: 999 }" },
  { defect: "an empty index of the search", page: "index.html", by: keys.search,
    routes: { "searchindex-": (text) => text.replace(/"doc_urls":.*?\],"index"/, '"doc_urls":[],"index"').replace(/"docs":\{.*?\}\}/, '"docs":{}}').replace(/"index":\{"body":\{"root":\{.*"lang"/, '"index":{"body":{"root":{"docs":{}}},"breadcrumbs":{"root":{"docs":{}}},"title":{"root":{"docs":{}}}},"lang"') } },
  { defect: "no index of the search", page: "index.html", by: keys.search, routes: { "searchindex-": () => "" } },
  { defect: "hits that are not shown", page: "frames.html", width: 375, by: keys.search,
    css: "#mdbook-searchresults { display: none !important }" },
  { defect: "hits that lead nowhere", page: "index.html", by: keys.search,
    routes: { "searchindex-": (text) => text.replaceAll(".html#", ".html#gone-") } },
  { defect: "pale hits of the search", page: "system.html", theme: "navy", width: 375, state: search, by: contrast,
    css: "#mdbook-searchresults .teaser { color: #555 !important }" },
  { defect: "a pale list of themes", page: "system.html", theme: "ayu", state: themes, by: contrast,
    css: ".theme-popup .theme { color: #444 !important }" },
  { defect: "pale text in what is folded, on a phone", page: "frames.html", width: 375, state: unfold, by: contrast,
    css: "main details p { color: #aaa }" },
  { defect: "pale links in one theme", page: "server.html", theme: "ayu", width: 375, by: contrast,
    css: ".ayu main a { color: #3b4a5a !important }" },
  { defect: "a picture without a name", page: "introduction.html", by: accessible,
    edit: () => { const svg = document.querySelector("main svg[role=img]"); svg.removeAttribute("aria-labelledby"); svg.querySelector("title").remove(); } },

  // Other hosts.
  { defect: "a style that asks another host on hover", page: "index.html", by: keys.hover,
    css: "main a:hover { background: url(http://localhost:9/a.png) }" },
  { defect: "a script that asks another host on hover", page: "introduction.html", by: keys.hover,
    edit: () => document.querySelector("main figure").addEventListener("mouseenter", () => { new Image().src = "http://localhost:9/"; }) },
  { defect: "an @import", name: "book.css", text: '@import "https://example.org/font.css";' },
  { defect: "a style's url", name: "book.css", text: ".x { background: url( 'http://example.org/x.png') }" },
  { defect: "a page to fetch before it is asked for", name: "index.html", text: '<link rel="dns-prefetch" href="//example.org">' },

  // Headings.
  { defect: "a level of heading that is skipped", page: "retry.html", by: look("headings"),
    edit: () => { const h2 = document.querySelectorAll("main h2")[1]; h2.outerHTML = `<h4 id="${h2.id}">${h2.innerHTML}</h4>`; } },
  { defect: "a second title", page: "retry.html", by: look("headings"),
    edit: () => { const h2 = document.querySelector("main h2"); h2.outerHTML = `<h1>${h2.innerHTML}</h1>`; } },

  // Keys.
  { defect: "a sidebar button that Tab does not reach", page: "index.html", width: 375, by: keys.tab,
    edit: () => { for (const element of document.querySelectorAll("[aria-controls=mdbook-sidebar], #mdbook-sidebar-toggle-anchor")) element.tabIndex = -1; } },
  { defect: "a focus that does not show", page: "index.html", width: 375, by: keys.tab,
    css: "*:focus, *:focus-visible { outline: none !important; box-shadow: none !important }" },
  { defect: "buttons that Enter does not press", page: "index.html", by: keys.buttons, edit: swallow("Enter") },
  { defect: "a list of themes that stays open", page: "index.html", by: keys.themes, edit: swallow("Escape") },
  { defect: "s that opens no search", page: "index.html", width: 375, by: keys.letters, edit: swallow("s") },
  { defect: "/ that opens no search", page: "index.html", by: keys.letters, edit: swallow("/") },
  { defect: "what is folded does not open", page: "frames.html", by: keys.folds,
    edit: () => { for (const summary of document.querySelectorAll("summary")) summary.addEventListener("keydown", (event) => event.preventDefault()); } },
  { defect: "copy buttons that stay hidden", page: "frames.html", width: 375, by: keys.copying,
    css: "main pre .buttons { visibility: hidden !important }" },
  { defect: "a box that turns the page instead of scrolling", page: "frames.html", width: 375, by: keys.boxes,
    edit: () => { Event.prototype.stopPropagation = () => {}; } },
  { defect: "an arrow that does not turn the page", page: "server.html", by: keys.arrows, edit: swallow("ArrowRight") },
  { defect: "no skip link", page: "index.html", by: keys.skip,
    edit: () => document.querySelector("a.skip")?.remove() },

  // Paper.
  { defect: "folded on paper", page: "frames.html", paper: true, by: look("printed"),
    edit: () => { for (const details of document.querySelectorAll("details")) details.open = false; },
    css: "details::details-content { content-visibility: hidden !important; display: none !important }" },
  { defect: "light text on paper", page: "flow.html", paper: true, theme: "coal", by: look("printed"),
    css: "main p { color: #c8c9db !important }" },
  { defect: "code that wraps on paper", page: "async.html", paper: true, by: look("unbroken"),
    css: "main pre code { font-size: 16px !important; white-space: pre-wrap !important; overflow-wrap: anywhere }" },
  { defect: "code cut on paper", page: "frames.html", paper: true, by: look("whole"),
    css: "main pre, main pre > code { white-space: pre !important; overflow: hidden !important; font-size: 20px !important }" },
];
