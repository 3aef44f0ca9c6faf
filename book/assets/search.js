// Search that finds what a reader means. mdBook's index finds the sections
// that hold the words; this puts the section that explains them first, repairs
// a slip of the keyboard, and looks for Chinese words, which that index throws
// away. It relies on elasticlunr's index as mdBook 0.5 builds it, so
// tests/browser/search.mjs tries it through the search box.
"use strict";
(() => {
  if (!window.elasticlunr) return;
  const plain = elasticlunr.Index.prototype.search;
  const han = /\p{Script=Han}+/gu;
  // Where a term is listed, used or practised, and explained elsewhere.
  const weights = [
    [/^solutions\./, 0.1], // whoever does not ask for one should not meet it
    [/^(gallery|teaching-chapters|ways-in)\./, 0.2],
    [/^(cases|five-languages|ideas)\.|#(exercises|diff|next|picture|predict|check-yourself)$/, 0.4],
    [/^(glossary|contract|welcome)\./, 0.5],
    [/^errors\./, 1.3],
    [/^introduction\./, 1.5], // there the first words are explained
  ];
  const count = (text, pattern) => (text.match(pattern) || []).length;

  // Chinese has no spaces. A run of characters that the book has is one word;
  // otherwise the browser knows where words end, if it has a segmenter.
  function chinese(term, docs) {
    const known = (run) => docs.some((doc) => (doc.title + doc.body).includes(run));
    return (term.match(han) || []).flatMap((run) => {
      if (!Intl.Segmenter || known(run)) return [run];
      const segmenter = new Intl.Segmenter("zh", { granularity: "word" });
      return [...segmenter.segment(run)].map((part) => part.segment);
    });
  }

  // What was typed, as it may stand in the text: "half close" is "half-close",
  // and an unfinished last word is the start of a word.
  function pattern(term) {
    const escaped = term.replace(/[.*+?^${}()|[\]\\]/g, "\\$&");
    const start = /^\w/.test(term) ? "\\b" : "";
    return new RegExp(start + escaped.replace(/[\s-]+/g, "[\\s-]+"), "g");
  }

  // Whether a section of the glossary says what was typed means: its terms
  // stand before a " · ", after the link that ends the entry before.
  const explains = (body, phrase) =>
    new RegExp(`(^|\\) )([^()·]*, )?${phrase.source}(e?s|[’']s \\w+)?(, [^()·]*)? · `).exec(body);

  // The index's own score counts single words; ours looks for what was typed,
  // in the name of the section first of all: its title, and its id, which says
  // what it is about even if the title doesn't.
  function rank({ ref, score, doc }, term) {
    const phrase = pattern(term);
    const [page, id = ""] = window.search.doc_urls[ref].split("#");
    const title = doc.title.toLowerCase().replace(/^[\d “]+/, "");
    let sum = score + 3 * Math.log2(1 + count(doc.body.toLowerCase(), phrase));
    if (count(`${title} ${id}`, phrase)) sum += 12;
    if (title.search(phrase) === 0) sum += 12;
    const isCase = id !== "" && id === term; // whoever types "s3-06" wants that
    const entry = page === "glossary.html" && explains(doc.body.toLowerCase(), phrase);
    if (entry) {
      const body = doc.body.slice(entry.index + entry[1].length);
      return { ref, score: 1000, doc: shown({ ...doc, body }, phrase) };
    }
    const weight = !isCase && weights.find(([where]) => where.test(`${page}#${id}`));
    return { ref, score: sum * (weight ? weight[1] : 1), doc: shown(doc, phrase) };
  }

  // What mdBook shows of a result: "7 Time limits" once, and the text around
  // what was typed, if it stands there as it was typed.
  function shown(doc, phrase) {
    const typed = doc.body.toLowerCase().search(phrase);
    const at = typed < 0 && "at" in doc ? doc.at : typed;
    const from = at < 60 ? 0 : doc.body.lastIndexOf(" ", at - 40) + 1;
    return {
      ...doc,
      body: (at < 0 ? doc.body : doc.body.slice(from, at + 200)).replace(/\s+/g, " "),
      breadcrumbs: doc.breadcrumbs.replace(/(^| » )(.+) » \2$/, "$1$2"),
    };
  }

  // mdBook marks words between spaces, so Chinese words get some.
  const spaced = (body, words) =>
    words.reduce((text, word) => text.replaceAll(word, ` ${word} `), body);

  function find(index, term, options, bool) {
    const docs = Object.entries(index.documentStore.docs);
    const words = chinese(term, Object.values(index.documentStore.docs));
    const latin = term.replace(han, " ").trim();
    const found = latin ? plain.call(index, latin, { ...options, bool }) : [];
    if (!words.length) return found;
    const scores = new Map(found.map((result) => [result.ref, result.score]));
    const results = [];
    for (const [ref, doc] of docs) {
      const here = words.filter((word) => (doc.title + doc.body).includes(word));
      const all = here.length === words.length && (!latin || scores.has(ref));
      if (!here.length || (bool === "AND" && !all)) continue;
      const score = (scores.get(ref) || 0) + 5 * here.join("").length;
      const body = spaced(doc.body, here);
      results.push({ ref, score, doc: { ...doc, body, at: body.indexOf(here[0]) } });
    }
    return results;
  }

  // The words in the index that are one slip away: a letter wrong, missing, too
  // many, or changed over with its neighbour.
  function near(node, rest, slips, word, found) {
    if (!rest && node.df > 0) found.push({ word, df: node.df });
    for (const letter of Object.keys(node).filter((key) => key.length === 1)) {
      const next = node[letter];
      if (letter === rest[0]) near(next, rest.slice(1), slips, word + letter, found);
      else if (slips) {
        near(next, rest.slice(1), 0, word + letter, found);
        near(next, rest, 0, word + letter, found);
      }
    }
    if (!slips || !rest) return;
    near(node, rest.slice(1), 0, word, found);
    const over = node[rest[1]] && node[rest[1]][rest[0]];
    if (over) near(over, rest.slice(2), 0, word + rest[1] + rest[0], found);
  }

  function repaired(index, term) {
    const trie = index.index.body;
    return term.replace(/[a-z]{4,}/g, (typed) => {
      const word = elasticlunr.stemmer(typed);
      if (trie.getNode(word)) return typed;
      const found = [];
      near(trie.root, word, 1, "", found);
      found.sort((a, b) => b.df - a.df);
      return found.length ? found[0].word : typed;
    });
  }

  // All of the words; or all of them as they were meant; or any of them.
  elasticlunr.Index.prototype.search = function (typed, options) {
    let term = typed.normalize("NFKC").toLowerCase().trim();
    term = term.replace(/\b([sc]\d)_(\d\d)\b/g, "$1-$2"); // as a test calls a case
    let found = find(this, term, options, "AND");
    if (!found.length) {
      term = repaired(this, term);
      found = find(this, term, options, "AND");
    }
    if (!found.length) found = find(this, term, options, "OR");
    return found.map((result) => rank(result, term)).sort((a, b) => b.score - a.score);
  };
})();

// The search box for a keyboard and a screen reader. mdBook moves a class
// through the results; we move the focus itself.
(() => {
  const wrapper = document.getElementById("mdbook-search-wrapper");
  if (!wrapper) return;
  const input = document.getElementById("mdbook-searchbar");
  const toggle = document.getElementById("mdbook-search-toggle");
  const header = document.getElementById("mdbook-searchresults-header");
  const results = document.getElementById("mdbook-searchresults");

  input.setAttribute("aria-label", "Search this book");
  input.setAttribute("aria-describedby", header.id);
  toggle.setAttribute("aria-label", "Search");
  results.setAttribute("aria-label", "Search results");
  // A live region must be there before its text changes: so it stands outside
  // of the box that mdBook hides until there are results.
  header.setAttribute("role", "status");
  header.setAttribute("aria-live", "polite");
  document.getElementById("mdbook-searchresults-outer").before(header);
  // mdBook searches on keyup, which a paste, dictation and the end of Chinese
  // input need not send.
  input.addEventListener("input", () => {
    input.dispatchEvent(new KeyboardEvent("keyup"));
    if (input.value.trim() === "") header.textContent = "";
  });

  // A span has no role that could carry mdBook's label.
  new MutationObserver(() => {
    for (const teaser of results.querySelectorAll(".teaser")) {
      teaser.removeAttribute("aria-label");
    }
  }).observe(results, { childList: true });

  // Before mdBook's own keys, which would turn the page on an arrow. Enter in
  // the box stays mdBook's: it follows the first result.
  const steps = { ArrowDown: 1, ArrowUp: -1, ArrowLeft: 0, ArrowRight: 0 };
  wrapper.addEventListener("keydown", (event) => {
    if (!(event.key in steps) || event.ctrlKey || event.metaKey || event.altKey) return;
    event.stopPropagation();
    if (steps[event.key] === 0) return;
    event.preventDefault();
    const all = [input, ...results.querySelectorAll("a")];
    const to = all.indexOf(document.activeElement) + steps[event.key];
    all[Math.max(0, Math.min(to, all.length - 1))].focus();
  });

  // After mdBook has closed the box, the focus goes back to where it was opened.
  document.addEventListener("keydown", (event) => {
    if (event.key === "Escape" && wrapper.contains(event.target)) toggle.focus();
  });

  // A search for "40 ms" marks the "ms" in "terms" as well: unmark these.
  for (const mark of document.querySelectorAll("mark[data-markjs]")) {
    const before = mark.previousSibling ? mark.previousSibling.textContent : "";
    if (/\w$/.test(before) && /^\w/.test(mark.textContent)) {
      mark.replaceWith(...mark.childNodes);
    }
  }
})();
