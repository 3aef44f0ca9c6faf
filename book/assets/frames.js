// Two frames to cut anywhere, and frames to build, on the page about frames.
"use strict";
(() => {
  // Makes an element: its attributes, and what is in it.
  const make = (name, attributes, ...content) => {
    const element = document.createElement(name);
    for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
    element.append(...content);
    return element;
  };
  const code = (text) => make("code", {}, text);
  const count = (n) => (Number(n) === 1 ? "1 byte" : `${n} bytes`);

  // Shows nothing but what the table of the page says: a test of Rust made it.
  const cutFrames = (figure) => {
    const rows = [...figure.querySelectorAll("tbody tr")];
    const total = rows.length;
    const input = make("input", { type: "range", min: 1, max: total, value: 9 });
    const hex = make("p", { class: "hex" });
    const words = make("p", { "aria-live": "polite" });
    const frames = (text) => (text === "–" ? "no frame" : `“${text.split(" ").join("” and “")}”`);
    const show = () => {
      const row = rows[input.value - 1];
      const [first, bytes, found, kept, second, then] = row.cells;
      hex.innerHTML = bytes.innerHTML;
      words.replaceChildren("The first ", code("read"), ` gives ${count(first.textContent)}: `,
        code("decode"), ` finds ${frames(found.textContent)} and keeps ${count(kept.textContent)}.`,
        make("br", {}));
      if (second.textContent === "0") words.append("There is nothing left for a second ", code("read"), ".");
      else words.append("The second ", code("read"), ` brings ${count(second.textContent)}: `,
        code("decode"), ` finds ${frames(then.textContent)}.`);
      input.setAttribute("aria-valuetext", `after byte ${first.textContent} of ${total}`);
      for (const other of rows) other.removeAttribute("aria-current");
      row.setAttribute("aria-current", "true");
    };
    input.addEventListener("input", show);
    show();
    const table = figure.querySelector(".table-wrapper");
    const fold = make("details", {}, make("summary", {}, `All ${total} cuts`));
    table.replaceWith(make("div", { class: "widget" },
      make("label", {}, "Cut the two frames where you like", input), hex, words), fold);
    fold.append(table);
  };

  // The same as `encode` in steps/step4/frame.rs; the browser test compares
  // it with the table of the page.
  const MAX_LENGTH = 65536;
  const ECHO = 0x01;
  const SHOWN = 16; // bytes of a payload
  const encode = (text) => {
    const payload = new TextEncoder().encode(text);
    const n = payload.length + 1;
    const length = new Uint8Array(4);
    new DataView(length.buffer).setUint32(0, n); // most significant byte first
    return { n, length, payload };
  };

  const band = (name, bytes) => {
    const hex = Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0"));
    return make("span", { class: name }, hex.join(" "));
  };

  const buildFrame = (figure) => {
    const input = make("textarea", { rows: 2, spellcheck: "false", autocomplete: "off" });
    const hex = make("p", { class: "hex" });
    const words = make("p", { "aria-live": "polite" });
    const show = () => {
      const { n, length, payload } = encode(input.value);
      if (n > MAX_LENGTH) {
        hex.replaceChildren();
        words.textContent = `encode refuses this text: a frame of length ${n}; at most ${MAX_LENGTH}`;
        return;
      }
      hex.replaceChildren(band("length", length), " ", band("kind", [ECHO]));
      if (payload.length > 0) hex.append(" ", band("payload", payload.slice(0, SHOWN)));
      if (payload.length > SHOWN) hex.append(" …");
      words.textContent = `The payload has ${count(payload.length)}. With the kind, N = ${n}. ` +
        `With the length itself, the frame has ${count(n + 4)}.`;
    };
    input.addEventListener("input", show);
    input.value = "hi";
    show();
    figure.querySelector(".table-wrapper").before(make("div", { class: "widget" },
      make("label", {}, "Type a text, and see its frame", input), hex, words));
  };

  document.querySelectorAll("figure.cuts").forEach(cutFrames);
  document.querySelectorAll("figure.examples").forEach(buildFrame);
})();
