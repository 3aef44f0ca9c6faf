// The page about frames: the slider that cuts two frames, and the frame built
// from a text, must say what the tests of Rust wrote into the tables beside them.

const screens = { desk: { width: 1280, height: 900 }, phone: { width: 375, height: 800 } };

export async function run({ browser, open, check }) {
  for (const [screen, viewport] of Object.entries(screens)) {
    const context = await browser.newContext({ viewport });
    const { page, problems } = await open(context, "frames.html");
    const wrong = await keys(page);
    check(`frames: keys act on the widgets alone, ${screen}`, wrong);
    if (wrong.length === 0) { // otherwise this may be another page by now
      check(`frames: each cut is a row of the table, ${screen}`, [...problems, ...(await cuts(page))]);
      check(`frames: what is built is what encode made, ${screen}`, await examples(page));
      check(`frames: what is built is what Node makes, ${screen}`, await built(page));
      await page.emulateMedia({ media: "print" });
      check(`frames: paper shows the table, ${screen}`, await shown(page));
    }
    await context.close();

    const without = await browser.newContext({ viewport, javaScriptEnabled: false });
    const static_ = await open(without, "frames.html");
    check(`frames: the table without JavaScript, ${screen}`, await shown(static_.page));
    await without.close();
  }
}

// Moves the slider by keys, through all rows.
async function cuts(page) {
  const problems = [];
  const rows = await page.locator(".cuts tbody tr").all();
  if (rows.length !== 14) problems.push(`${rows.length} rows`);
  await page.locator(".cuts input").focus();
  await page.keyboard.press("Home");
  for (const [i, row] of rows.entries()) {
    if (i > 0) await page.keyboard.press("ArrowRight");
    const [first, found, kept, second, then] = await Promise.all(
      ["th", "td:nth-child(3)", "td:nth-child(4)", "td:nth-child(5)", "td:nth-child(6)"]
        .map((cell) => row.locator(cell).textContent()));
    const expected = sentence(first, found, kept) + rest(second, then);
    const words = await page.locator(".cuts [aria-live]").textContent();
    if (words !== expected) problems.push(`cut ${i + 1}: ${words} instead of ${expected}`);
    const bytes = await row.locator(".hex").innerHTML();
    const shown = await page.locator(".cuts .widget .hex").innerHTML();
    if (shown !== bytes) problems.push(`cut ${i + 1} shows ${shown}`);
    const marked = await row.getAttribute("aria-current");
    if (marked !== "true") problems.push(`row ${i + 1} is not marked`);
    problems.push(...(await page.evaluate(misplaced)));
  }
  return problems;
}

const bytes = (n) => (n === "1" ? "1 byte" : `${n} bytes`);
const names = (text) => (text === "–" ? "no frame" : `“${text.replace(" ", "” and “")}”`);
const sentence = (first, found, kept) =>
  `The first read gives ${bytes(first)}: decode finds ${names(found)} and keeps ${bytes(kept)}.`;
const rest = (second, then) => (second === "0"
  ? "There is nothing left for a second read."
  : `The second read brings ${bytes(second)}: decode finds ${names(then)}.`);

// In the page: the thumb stands over the mark, and all bytes can be seen.
function misplaced() {
  const input = document.querySelector(".cuts input");
  const box = input.getBoundingClientRect();
  const part = (input.value - input.min) / (input.max - input.min);
  const thumb = box.left + 8 + part * (box.width - 16);
  const hex = document.querySelector(".cuts .widget .hex");
  const mark = hex.querySelector("b").getBoundingClientRect();
  const away = Math.abs((mark.left + mark.right) / 2 - thumb);
  const problems = away > 3 ? [`the thumb is ${away} px from cut ${input.value}`] : [];
  if (hex.scrollWidth > hex.clientWidth + 1) problems.push(`bytes are cut off at ${input.value}`);
  return problems;
}

// "hi" in the table stands for itself, `5 times "x"` for five letters.
function textOf(name) {
  const [, times, text] = name.match(/^(?:(\d+) times )?(".*")$/);
  return JSON.parse(text).repeat(times ?? 1);
}

async function examples(page) {
  const problems = [];
  const rows = await page.locator(".examples tbody tr").all();
  if (rows.length < 8) problems.push(`only ${rows.length} examples`);
  for (const row of rows) {
    const name = await row.locator("th").textContent();
    const cells = await row.locator("td").all();
    await page.locator(".examples textarea").fill(textOf(name));
    const hex = await page.locator(".examples .widget .hex").innerHTML();
    const words = await page.locator(".examples [aria-live]").textContent();
    const [total, n] = await Promise.all(cells.slice(0, 2).map((cell) => cell.textContent()));
    if (cells.length === 1) { // the error
      if (hex !== "" || !words.endsWith(`: ${total}`)) problems.push(`${name}: ${hex} ${words}`);
      continue;
    }
    const expected = await cells[2].innerHTML();
    if (hex !== expected) problems.push(`${name}: ${hex} instead of ${expected}`);
    if (!words.includes(`N = ${n}.`) || !words.endsWith(`the frame has ${bytes(total)}.`)) {
      problems.push(`${name}: ${words}`);
    }
  }
  return problems;
}

// The table has short texts; Node's own Buffer goes up to the limit.
async function built(page) {
  const problems = [];
  const texts = [0, 1, 15, 16, 17, 50, 51, 255, 256, 1000, 59999, 65535, 65536].map((n) => "x".repeat(n));
  for (const text of [...texts, "é你好😀\n \t", "€".repeat(6)]) {
    const payload = Buffer.from(text);
    const frame = Buffer.alloc(5 + Math.min(payload.length, 16), 1);
    frame.writeUInt32BE(payload.length + 1);
    payload.copy(frame, 5);
    const more = payload.length > 16 ? " …" : "";
    const isRefused = payload.length + 1 > 65536;
    const expected = isRefused ? "" : frame.toString("hex").replace(/..(?=.)/g, "$& ") + more;
    await page.locator(".examples textarea").fill(text);
    const hex = await page.locator(".examples .widget .hex").textContent();
    const words = await page.locator(".examples [aria-live]").textContent();
    const says = isRefused ? `length ${payload.length + 1};` : `the frame has ${bytes(`${payload.length + 5}`)}.`;
    if (hex !== expected || !words.includes(says)) problems.push(`${payload.length} bytes: ${hex} ${words}`);
  }
  return problems;
}

// No key that is meant for a widget turns the page or opens the search: mdBook
// leaves keys to inputs, so the widgets need not stop them.
async function keys(page) {
  const problems = [];
  const start = page.url();
  await page.locator(".cuts input").focus();
  for (const key of ["Home", "ArrowRight", "ArrowLeft", "ArrowRight"]) await page.keyboard.press(key);
  await page.waitForTimeout(200); // a page that is turned needs a moment
  if (page.url() !== start) return [`the page is now ${page.url()}`];
  const cut = await page.locator(".cuts input").inputValue();
  if (cut !== "2") problems.push(`the keys led to cut ${cut}`);
  const input = page.locator(".examples textarea");
  await input.fill("");
  await input.focus();
  for (const key of ["s", "/", "?"]) await page.keyboard.press(key);
  if ((await input.inputValue()) !== "s/?") problems.push(`typed ${await input.inputValue()}`);
  for (const box of ["#mdbook-search-wrapper", "#mdbook-help-container"]) {
    if (await page.locator(box).isVisible()) problems.push(`${box} has opened`);
  }
  for (const key of ["ArrowLeft", "ArrowRight", "ArrowRight"]) await page.keyboard.press(key);
  await page.waitForTimeout(200);
  if (page.url() !== start) problems.push(`the page is now ${page.url()}`);
  return problems;
}

async function shown(page) {
  const rows = await page.locator(".cuts tbody tr").all();
  const visible = await Promise.all(rows.map((row) => row.isVisible()));
  const problems = visible.filter(Boolean).length === 14 ? [] : ["a cut is not shown"];
  if (await page.locator(".widget").first().isVisible()) problems.push("a widget is shown");
  return problems;
}
