// What Chromium makes of the server: node browser.mjs (reads|stays) URL
// Says "ready" when all is well; "stays" then waits for the end of its stdin.

import assert from "node:assert/strict";
import { once } from "node:events";
import { createRequire } from "node:module";

const require = createRequire(new URL("../../browser/package.json", import.meta.url));
const { chromium } = require("playwright-core");
const [scene, url] = process.argv.slice(2);
const browser = await chromium.launch({
  executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
  args: ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-sync", "--no-first-run"],
});
try {
  const page = await browser.newPage();
  const problems = [];
  page.on("pageerror", (error) => problems.push(`${error}`));
  await page.goto(url);
  assert.equal(await page.title(), "Home runs");
  const color = await page.$eval("#color", (p) => getComputedStyle(p).color);
  assert.equal(color, "rgb(1, 2, 3)");
  if (scene === "reads") {
    await page.click("text=docs"); // a folder without its slash
    await page.waitForURL(`${url}docs/`);
    await page.click("text=next"); // relative to the folder
    await page.waitForFunction(() => document.title === "Next");
    assert.equal((await page.goto(`${url}none`)).status(), 404);
    for (let n = 0; n < 20; n++) assert.equal((await page.goto(`${url}hello.txt?${n}`)).status(), 200);
  }
  assert.deepEqual(problems, []);
  console.log("ready");
  if (scene === "stays") {
    process.stdin.resume();
    await once(process.stdin, "end");
  }
} finally {
  await browser.close();
}
