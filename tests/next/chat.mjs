// The page of `steps/chat` in a real browser, with its real server.
//
//     node tests/next/chat.mjs PATH-TO-chat SCENE
//
// It prints what it saw, and fails with a reason. `tests/next/chat.rs` runs
// each scene. The pictures of the scene `looks` are in target/browser.

import { spawn } from "node:child_process";
import { existsSync, mkdirSync, readFileSync } from "node:fs";
import { createServer } from "node:http";
import { createRequire } from "node:module";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

const [program, scene] = process.argv.slice(2);
const require = createRequire(new URL("../browser/package.json", import.meta.url));
const { chromium } = require("playwright-core");
const shots = fileURLToPath(new URL("../../target/browser", import.meta.url));
const browsers = [process.env.CHROMIUM, "/usr/bin/chromium", "/usr/bin/google-chrome"];
const executablePath = browsers.find((path) => path && existsSync(path));
const DEADLINE = 60_000; // far more than it takes, also on a busy machine

function ensure(isTrue, what) {
  if (!isTrue) throw new Error(what);
}
function same(found, expected, what) {
  const [a, b] = [found, expected].map((value) => JSON.stringify(value));
  ensure(a === b, `${what}: ${a}, not ${b}`);
}

// ---- The server

const children = [];
let latest; // what it said is part of the report
async function serve(port = 0, more = []) {
  const args = ["server", "--addr", `127.0.0.1:${port}`, ...more];
  const child = spawn(program, args, { stdio: ["ignore", "pipe", "inherit"] });
  children.push(child);
  const server = latest = { said: "", child, ended: new Promise((done) => child.once("exit", done)) };
  child.stdout.on("data", (bytes) => (server.said += bytes));
  await until("the server", () => server.said.includes("open http"));
  server.port = Number(server.said.match(/listening on 127\.0\.0\.1:(\d+)/)[1]);
  server.url = `http://127.0.0.1:${server.port}/`;
  return server;
}

async function until(what, isSo) {
  const end = Date.now() + DEADLINE;
  while (!(await isSo())) {
    ensure(Date.now() < end, `waited in vain for ${what}`);
    await new Promise((done) => setTimeout(done, 20));
  }
}

// ---- A tab

let browser;
const problems = [];
async function tab(server, name, options = {}, room = "lobby") {
  const context = await browser.newContext({ viewport: { width: 1000, height: 800 }, ...options });
  const page = await context.newPage();
  page.on("dialog", (dialog) => {
    if (dialog.message() !== "lunch") problems.push(`${name}: a dialog`);
    page.openDialog = dialog;
  });
  page.on("pageerror", (error) => problems.push(`${name}: ${error.message}`));
  page.on("console", (message) => {
    // A server that is away is a part of the scene `restart`.
    const isAway = /ERR_CONNECTION_REFUSED|ERR_CONNECTION_RESET/.test(message.text());
    if (message.type() === "error" && !isAway) problems.push(`${name}: ${message.text()}`);
  });
  page.on("request", (request) => {
    if (!request.url().startsWith(server.url)) problems.push(`${name} asks for ${request.url()}`);
  });
  await page.goto(server.url);
  await page.getByLabel("Your name").fill(name);
  await page.locator("#room").fill(room);
  await page.getByRole("button", { name: "Enter" }).click();
  await page.getByText(`in ${room} as `).waitFor({ timeout: DEADLINE });
  return page;
}
const inside = (page) => page.getByText(/^in lobby as /).waitFor({ timeout: DEADLINE });
const write = async (page, text) => {
  await page.getByLabel("Text", { exact: true }).fill(text);
  await page.keyboard.press("Enter");
};
const texts = (page) =>
  page.$$eval("#messages li", (items) =>
    items.map((item) => [item.querySelector("b")?.textContent, item.querySelector("span").textContent].join(": ")));
const hears = (page, n) => until(`${n} messages`, async () => (await texts(page)).length >= n);
const dots = (page) =>
  page.$$eval(".other", (all) => all.map(({ dataset: { name, x, y } }) => `${name} ${x} ${y}`));

// ---- The scenes

const scenes = {
  async together() {
    const server = await serve();
    const names = ["ann", "<b>bob", "<img/src=x/onerror=alert(1)>".slice(0, 24)];
    const tabs = [];
    for (const name of names) tabs.push(await tab(server, name));
    const evil = "<img src=x onerror=alert(1)><script>alert(2)</script>&amp; \u202egnp.exe";
    for (let n = 0; n < 10; n++) {
      await Promise.all(tabs.map((page, i) => write(page, `${names[i][1]} ${n} ${evil}`)));
      for (const page of tabs) await hears(page, 3 * (n + 1));
    }
    const all = await Promise.all(tabs.map(texts));
    same(all[1], all[0], "the second tab shows");
    same(all[2], all[0], "the third tab shows");
    const expected = names.flatMap((name) =>
      Array.from({ length: 10 }, (_, n) => `${name}: ${name[1]} ${n} ${evil}`));
    same([...all[0]].sort(), [...expected].sort(), "all texts");
    same(await tabs[0].locator("#messages img, #messages script").count(), 0, "elements");
    await until("no text that waits", async () => (await tabs[0].locator("#pending li").count()) === 0);

    const stage = tabs[0].locator("#stage");
    await stage.hover({ position: { x: 100, y: 80 } });
    for (const page of tabs.slice(1)) await until("the dot", async () => (await dots(page)).length === 1);
    await stage.focus();
    const [[before], [, x]] = [await dots(tabs[1]), (await dots(tabs[1]))[0].split(" ")];
    for (let n = 0; n < 3; n++) await tabs[0].keyboard.press("ArrowRight");
    const moved = before.replace(` ${x} `, ` ${Number(x) + 60} `);
    await until("the dot by keyboard", async () => (await dots(tabs[1]))[0] === moved);
    await tabs[0].close();
    await until("the dot goes", async () => (await dots(tabs[1])).length === 0);
  },

  async reload() {
    const server = await serve();
    const [ann, bob] = [await tab(server, "ann"), await tab(server, "bob")];
    await write(ann, "one");
    await hears(bob, 1);
    const before = await ann.evaluate("me.client");
    await ann.locator("#stage").hover({ position: { x: 100, y: 80 } });
    await until("the dot", async () => (await dots(bob)).length === 1);
    // A text that is written while the connection comes back must not overtake
    // those that wait: the server would take them for copies.
    await ann.evaluate(() => {
      socket.send = () => {};
      say("waits");
      const take0 = take;
      take = (line) => {
        if (line.startsWith("welcome")) say("behind it");
        take0(line);
      };
      const old = socket;
      lost(old, 0, "for a test");
      old.close();
    });
    await hears(bob, 3);
    await until("the dot again", async () => (await dots(bob)).length === 1);
    // A text that has not left when the page goes: it is not lost.
    await ann.evaluate(() => {
      socket.send = () => {}; // as if the road ate it
      say("two");
    });
    await ann.reload();
    await inside(ann);
    await write(ann, "three");
    const expected = ["one", "waits", "behind it", "two", "three"].map((text) => `ann: ${text}`);
    for (const page of [ann, bob]) {
      await hears(page, 5);
      same(await texts(page), expected, "after the reload");
    }
    same(await ann.evaluate("me.client"), before, "who we are");
    same(await ann.evaluate("sessionStorage.length"), 0, "notes for a copy of the tab");
  },

  // A page that was stopped, and enters again.
  async stopped() {
    const server = await serve();
    const [ann, bob] = [await tab(server, "ann"), await tab(server, "bob")];
    const eve = await tab(server, "eve", {}, "public");
    // On a busy machine the CLOSE may come too late; then ann is back at once.
    const isStopped = () => ann.getByText(/^stopped: /).waitFor({ timeout: 10_000 });
    const steal = async () => {
      await inside(ann);
      await eve.evaluate((id) => {
        const thief = new WebSocket(location.origin.replace("http", "ws") + "/room");
        thief.onopen = () => thief.send(`join lobby ann 0-0 ${id}`);
      }, await ann.evaluate("me.client"));
      return isStopped().then(() => true, () => false);
    };
    const stop = async () => {
      await until("the stop", steal);
      ensure(!(await ann.locator("#say").isVisible()), "one can write to no room");
    };
    const enter = () => ann.getByRole("button", { name: "Enter" }).click();
    // The server has it, and the page does not know: it must not come twice.
    await ann.evaluate(() => {
      const take0 = take;
      take = (line) => {
        if (!line.startsWith("ack")) take0(line);
      };
      say("once");
      window.restore = () => (take = take0);
    });
    await hears(bob, 1);
    // And one that the server does not have: it must not get lost.
    await ann.evaluate("socket.send = () => {}; say('kept')");
    await stop();
    await ann.evaluate("restore()");
    await enter();
    await inside(ann);
    await write(ann, "two");
    await hears(bob, 3);
    const all = ["once", "kept", "two"].map((text) => `ann: ${text}`);
    same(await texts(bob), all, "in the same room");
    // For the lobby, and not for those in the other room.
    await stop();
    await ann.evaluate("say('a secret of the lobby')");
    await ann.locator("#room").fill("public");
    await enter();
    await ann.getByText("in public as ann").waitFor({ timeout: DEADLINE });
    await write(ann, "hello");
    await Promise.all([hears(eve, 1), hears(ann, 1)]);
    same(await texts(eve), ["ann: hello"], "in the other room");
    same(await texts(ann), ["ann: hello"], "what ann sees there");
    // What waits is bounded, and so is the wait, which is random.
    const [waits, problem] = await bob.evaluate(() => {
      const waits = [];
      window.setTimeout = (_, ms) => waits.push(ms);
      Math.random = () => 0.25;
      const old = socket;
      lost(old, 0, "for a test");
      old.close();
      for (let n = 0; n < MAX_PENDING; n++) say("x");
      return [waits, say("x")];
    });
    same([waits, problem], [[50], "too many wait already"], "while bob is away");
  },

  async restart() {
    let server = await serve();
    const { port } = server;
    const tabs = [await tab(server, "ann"), await tab(server, "bob")];
    const writes = tabs.map((page, i) =>
      page.evaluate(async (i) => {
        for (let n = 0; n < 60; n++) {
          say(`${i}-${n}`);
          await new Promise((done) => setTimeout(done, 20));
        }
      }, i));
    for (const n of [10, 40]) {
      // Both are in: what a page that is away has not heard goes with the
      // memory of the server.
      await until("both", () => server.said.split("opens a WebSocket").length === 3);
      for (const page of tabs) await Promise.all([inside(page), hears(page, n)]);
      server.child.kill("SIGTERM");
      same(await server.ended, 0, "the server's exit code");
      server = await serve(port);
    }
    await Promise.all(writes);
    const rows = async (page) => (await texts(page)).filter((row) => !row.includes("missing"));
    for (const page of tabs) {
      await until("all texts", async () => (await rows(page)).length >= 120);
    }
    for (const page of tabs) {
      const found = await rows(page);
      for (const [i, name] of ["ann", "bob"].entries()) {
        const mine = found.filter((row) => row.startsWith(name));
        const expected = Array.from({ length: 60 }, (_, n) => `${name}: ${i}-${n}`);
        same(mine, expected, `the texts of ${name}`);
      }
    }
  },

  // A tab whose script stands still until somebody closes a dialog.
  async frozen() {
    const hang = async (page) => {
      await page.evaluate("void setTimeout(() => alert('lunch'))");
      await until("the dialog", () => page.openDialog);
    };
    // ANCHOR: frozen
    // The browser answers the server's pings for a page that does nothing.
    const other = await serve(0, ["--heartbeat-ms", "1000"]);
    await hang(await tab(other, "dan"));
    await new Promise((done) => setTimeout(done, 6000)); // 6 intervals
    ensure(!other.said.includes("no sign of life"), "a frozen tab is taken for dead");
    console.log("frozen for 6 intervals: still connected");
    // ANCHOR_END: frozen

    // On a slow machine, another limit might end it first.
    const server = await serve(0, ["--heartbeat-ms", "300000", "--write-ms", "300000"]);
    const [ann, bob, cid] = [await tab(server, "ann"), await tab(server, "bob"), await tab(server, "cid")];
    await hang(cid);
    const flood = (page) =>
      page.evaluate(async () => {
        let worst = 0;
        for (let i = 0; i < 50; i++) {
          const start = performance.now();
          say(`${i} ${"x".repeat(900)}`);
          while (me.pending.length) await new Promise((done) => setTimeout(done, 0));
          worst = Math.max(worst, performance.now() - start);
        }
        return worst;
      });
    let worst = 0;
    for (let n = 0; n < 40 && !server.said.includes("too slowly"); n++) {
      worst = Math.max(worst, ...(await Promise.all([flood(ann), flood(bob)])));
    }
    ensure(server.said.includes("you read too slowly (1013)"), `not dropped: ${server.said}`);
    console.log(`dropped; the worst acknowledgement of the others took ${Math.round(worst)} ms`);
    await write(ann, "the last");
    await cid.openDialog.accept();
    await until("the last text", async () => (await texts(cid)).at(-1) === "ann: the last");
    const rows = await texts(cid);
    ensure(rows.some((row) => row.includes("missing")), "nothing says that texts are missing");
    same(rows.slice(-100), (await texts(bob)).slice(-100), "what the tab shows that was frozen");
  },

  async origin() {
    const server = await serve();
    const page = "<!doctype html><title>evil</title>";
    const evil = createServer((_, response) => response.end(page));
    await new Promise((done) => evil.listen(0, "127.0.0.1", done));
    const opens = async (url) => {
      const at = await (await browser.newContext()).newPage();
      await at.goto(url);
      return at.evaluate((port) => new Promise((done) => {
        const socket = new WebSocket(`ws://127.0.0.1:${port}/room`);
        socket.onopen = () => done(true);
        socket.onclose = () => done(false);
      }), server.port);
    };
    same(await opens(server.url), true, "our own page");
    same(await opens(`http://127.0.0.1:${evil.address().port}/`), false, "another page");
    same(await opens("data:text/html,none"), false, "a page without an origin");
    evil.close();
    evil.closeAllConnections();
  },

  // A server that falls silent: the page asks, gives up, and comes back.
  async silence() {
    const server = await serve(0, ["--heartbeat-ms", "60000"]);
    const ann = await tab(server, "ann");
    await ann.clock.install();
    await ann.reload(); // so that its timers are those of the clock
    await inside(ann);
    server.child.kill("SIGSTOP");
    await write(ann, "into the void");
    await until("the end of patience", async () => {
      await ann.clock.runFor(1000);
      return (await ann.locator("#status").textContent()).includes("no sign of life");
    });
    server.child.kill("SIGCONT");
    await until("the text", async () => {
      await ann.clock.runFor(1000);
      return (await texts(ann)).length > 0;
    });
    same(await texts(ann), ["ann: into the void"], "after the silence");
  },

  async looks() {
    const axe = readFileSync(require.resolve("axe-core"), "utf8");
    const server = await serve();
    mkdirSync(shots, { recursive: true });
    for (const [colorScheme, width] of [["light", 1000], ["dark", 375]]) {
      const page = await tab(server, `z-${colorScheme}-${width}`, { colorScheme, viewport: { width, height: 800 } });
      await page.locator("#stage").hover({ position: { x: 100, y: 60 } });
      await write(page, "A text with averylongwordthatdoesnotfitintoanylineatall".repeat(3));
      await until("the text", async () => (await page.locator("#pending li").count()) === 0);
      await page.evaluate("socket.send = () => {}; say('this one waits')");
      await page.evaluate(axe);
      const found = (await page.evaluate("axe.run()")).violations.map(({ id, nodes }) => `${id}: ${nodes[0].html}`);
      same(found, [], `axe, ${colorScheme}, ${width} px`);
      const wide = await page.evaluate("document.documentElement.scrollWidth > innerWidth");
      ensure(!wide, `scrolls sideways at ${width} px`);
      await page.screenshot({ path: join(shots, `chat-${colorScheme}-${width}.png`), fullPage: true });
      await page.context().close();
    }
    // By keyboard alone.
    const page = await (await browser.newContext()).newPage();
    await page.goto(server.url);
    for (const key of ["Tab", ..."kay", "Tab", "Tab", "Enter"]) await page.keyboard.press(key);
    await inside(page);
    for (const key of [..."hello", "Enter"]) await page.keyboard.press(key);
    await until("the text", async () => (await texts(page)).at(-1) === "kay: hello");
    await page.keyboard.press("Shift+Tab");
    await page.keyboard.press("Shift+Tab");
    await page.keyboard.press("ArrowUp");
    same(await page.locator("#me").getAttribute("data-y"), "480", "the dot");
    await page.evaluate(axe);
  },
};

let code = 0;
try {
  const offline = "--no-sandbox --disable-gpu --disable-background-networking " +
    "--disable-component-update --disable-sync --no-first-run --disable-quic";
  browser = await chromium.launch({ executablePath, args: offline.split(" ") });
  await scenes[scene]();
  same(problems, [], "problems");
  console.log(`${scene}: fine`);
} catch (error) {
  console.error(`${scene}: ${error.stack}\n${problems.join("\n")}\n${latest?.said}`);
  code = 1;
} finally {
  await browser?.close();
  for (const child of children) {
    child.kill("SIGKILL");
  }
}
process.exit(code);
