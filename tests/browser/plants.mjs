// Defects, each with the check that must notice it. The run plants every one of
// them in a page of the book and fails if the check says the same as before.
//
// page, width (1280), theme (light): where. by: the check. Then how it is
// planted: css, edit (a function run in the page), or routes (what a file of
// the book holds instead). paper: on paper. open: the state of the page.

import { accessible, contrast, links, look, terminals, unfold } from "./checks.mjs";
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

  // Terminals, listings and boxes.
  { defect: "a line of a transcript that is gone", page: "preparation.html", by: terminals,
    edit: () => { document.querySelector(".terminal .printed").remove(); } },
  { defect: "a word of a transcript that is another", page: "hello.html", by: terminals,
    edit: () => { const code = document.querySelector(".terminal code"); code.lastElementChild.append("!"); } },
  { defect: "two terminals that changed places", page: "async.html", by: terminals,
    edit: () => { const box = document.querySelector(".terminals"); box.append(box.firstElementChild); } },
  { defect: "a client that is dressed as a server", page: "preparation.html", by: terminals,
    edit: () => { document.querySelector(".terminal.client").className = "terminal server"; } },
  { defect: "a title in the other end's color", page: "hello.html", theme: "navy", by: terminals,
    css: ".terminal.client .title { color: var(--terminal-server) !important }" },
  { defect: "client and server in one color", page: "hello.html", by: terminals,
    css: ":root, html { --terminal-server: #7fc1f7 !important; --terminal-client: #7fc1f7 !important }" },
  { defect: "lines of a terminal that wrap", page: "preparation.html", by: terminals,
    css: ".terminal code { white-space: pre-wrap !important }" },
  { defect: "what is printed marked as typed", page: "hello.html", by: terminals,
    edit: () => { document.querySelector(".terminal .printed").className = "typed"; } },
  { defect: "a command that looks like what is printed", page: "preparation.html", by: terminals,
    css: ".language-console .typed { font-weight: 400 !important }" },
  { defect: "a listing below another path", page: "many-clients.html", by: look("captions"),
    edit: () => { document.querySelector(".file").textContent = "steps/step1/listener.rs"; } },
  { defect: "a listing's path that is not shown", page: "many-clients.html", width: 375, by: look("captions"),
    css: ".file { visibility: hidden }" },
  { defect: "a box that does not end", page: "introduction.html", by: look("boxes"),
    edit: () => { const box = document.querySelector(".predict"); while (box.nextElementSibling) box.append(box.nextElementSibling); } },
  { defect: "an exercise outside of its box", page: "preparation.html", by: look("boxes"),
    edit: () => { const box = document.querySelector(".exercise"); box.replaceWith(...box.childNodes); } },
  { defect: "a question in a box without an edge", page: "flow.html", by: look("boxes"), css: ".predict { border: 0 !important }" },
  { defect: "the end of a page in a box", page: "preparation.html", by: look("boxes"),
    edit: () => { document.querySelector(".exercise").insertAdjacentHTML("beforeend", '<div style="break-before: page"></div>'); } },

  // Shapes.
  { defect: "a packet that is moved", page: "index.html", by: look("shapes"), css: ".lifelines line.packet { transform: translateY(14px) }" },
  { defect: "a circle moved by style", page: "index.html", width: 375, by: look("shapes"), css: ".lifelines circle { cx: 60px }" },
  { defect: "packets that are not drawn", page: "index.html", by: look("shapes"), css: ".lifelines .packet { display: none }" },
  { defect: "packets without ink", page: "index.html", by: look("shapes"), css: ".lifelines .packet { stroke: none }" },
  { defect: "packets without tips", page: "index.html", by: look("shapes"), edit: () => { document.querySelectorAll("marker").forEach((marker) => marker.remove()); } },
  { defect: "tips without ink, on paper", page: "index.html", paper: true, by: look("shapes"), css: "@media print { marker path { fill: none !important } }" },
  { defect: "a server's packets not dashed, on paper", page: "index.html", paper: true, by: look("shapes"), css: ".packet.server { stroke-dasharray: none !important }" },
  { defect: "a number beside its circle", page: "index.html", by: look("shapes"),
    edit: () => { const text = document.querySelector("text.number"); text.setAttribute("x", Number(text.getAttribute("x")) + 7); } },
  { defect: "a band beside its lifeline", page: "server.html", by: look("shapes"),
    edit: () => { const band = document.querySelector("rect.band"); band.setAttribute("x", Number(band.getAttribute("x")) + 9); } },
  { defect: "a box outside its panel", page: "client.html", by: look("shapes"),
    edit: () => { document.querySelector(".panels rect").setAttribute("x", "-12"); } },
  { defect: "packets in the other end's color", page: "index.html", by: look("roles"), css: ".lifelines .client { color: var(--server) }" },
  { defect: "no icons in the menu bar", page: "system.html", by: look("icons"), css: ".menu-bar svg path { d: none; visibility: hidden }" },

  // Pale, shifted, covered, broken, and links to nothing.
  { defect: "a blurred column", page: "system.html", by: look("unaltered"), css: "main { filter: blur(2px) }" },
  { defect: "half a page clipped", page: "system.html", by: look("unaltered"), css: "#mdbook-content { clip-path: inset(0 50% 0 0) }" },
  { defect: "pale paragraphs by opacity", page: "system.html", by: look("unaltered"), css: "main p { opacity: 0.4 }" },
  { defect: "headings that are turned", page: "system.html", by: look("unaltered"), css: "main h1 { rotate: 3deg }" },
  { defect: "text in the color of its ground", page: "system.html", width: 375, by: look("inks"), css: "main td { color: var(--bg) !important }" },
  { defect: "text almost clear", page: "system.html", by: look("inks"), css: "main p { color: rgb(0 0 0 / 0.3) !important }" },
  { defect: "pale icons to turn the page", page: "system.html", width: 1600, theme: "coal", by: contrast, css: ".nav-chapters { color: #2a2f36 !important }" },
  { defect: "pale icons to turn the page, on a phone", page: "system.html", theme: "rust", width: 375, by: contrast, css: ".mobile-nav-chapters { color: #777 !important; background: #888 !important }" },
  { defect: "text under what lets the mouse through", page: "system.html", by: look("covered"),
    css: "main { position: relative } main::after { content: ''; position: absolute; inset: 200px 0 auto 0; height: 300px; background: #ccc; pointer-events: none }" },
  { defect: "a footer over the text", page: "system.html", width: 375, by: look("covered"),
    css: "body::after { content: ''; position: fixed; inset: auto 0 0 0; height: 120px; background: #ccc; z-index: 9 }" },
  { defect: "words broken in a table", page: "contract.html", width: 375, by: look("words"),
    css: "main td { word-break: break-all !important; white-space: normal !important }" },
  { defect: "a column too narrow", page: "contract.html", by: look("columns"),
    css: "main table { table-layout: fixed; width: 100% !important } main th:first-child { width: 4px !important }" },
  { defect: "a link to an id that is not there", page: "system.html", by: links,
    edit: () => { document.querySelector('main a[href*="#"]').href += "-gone"; } },
  { defect: "a link to a page that is not there", page: "system.html", by: links,
    edit: () => { document.querySelector('main a[href*=".html"]').href = "gone.html"; } },

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
  { defect: "a focus that does not show in the text", page: "system.html", by: keys.rings,
    css: "main *:focus-visible { outline: none !important }" },
  { defect: "a focus in the color of its ground", page: "hello.html", theme: "coal", by: keys.rings,
    css: "summary:focus-visible { outline-color: #1a1e24 !important }" },
  { defect: "a field that Tab does not leave", page: "frames.html", by: keys.traps,
    edit: () => { document.querySelector("textarea").addEventListener("keydown", (event) => { if (event.key === "Tab" && !event.shiftKey) event.preventDefault(); }); } },
  { defect: "what is folded, and Shift+Tab does not leave", page: "hello.html", by: keys.traps,
    edit: () => { document.querySelector("main summary").addEventListener("keydown", (event) => { if (event.key === "Tab" && event.shiftKey) event.preventDefault(); }); } },
  { defect: "a focus under the menu bar", page: "hello.html", by: keys.backwards, css: "html { scroll-padding: 0 !important }" },
  { defect: "contents that open without the focus", page: "system.html", by: keys.contents,
    edit: () => { const { focus } = HTMLElement.prototype; HTMLElement.prototype.focus = function (...how) { if (!this.matches(".sidebar a")) focus.apply(this, how); }; } },
  { defect: "contents that Esc does not close", page: "system.html", width: 375, by: keys.contents, edit: swallow("Escape") },
  { defect: "output that is copied with the commands", page: "preparation.html", by: keys.copying,
    css: ".copying :is(.prompt, .printed, .later) { display: inline !important }" },
  { defect: "a listing that is copied in part", page: "many-clients.html", by: keys.copying,
    edit: () => { document.querySelector("main pre > code.language-rust").lastChild.remove(); },
    css: ".hljs-comment { display: none }" },
  { defect: "a list of themes beside a small phone", page: "system.html", width: 375, by: keys.narrow,
    css: ".theme-popup { left: 220px !important; min-width: 160px }" },
  { defect: "a search wider than a small phone", page: "system.html", width: 375, by: keys.narrow,
    css: "#mdbook-searchbar { width: 400px !important }" },
  { defect: "a hit that is listed twice", page: "system.html", by: keys.search,
    edit: () => new MutationObserver(() => {
      const hit = document.querySelector("#mdbook-searchresults li");
      if (!hit || document.querySelector("#mdbook-searchresults li.again")) return;
      hit.after(hit.cloneNode(true));
      hit.nextSibling.className = "again";
    }).observe(document.getElementById("mdbook-searchresults"), { childList: true }) },
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
