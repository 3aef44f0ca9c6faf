// The button below the eight clients of "When to try again": it shows one of
// the measured draws after another, by keyboard, too, and tells about it.

const state = (page) => page.evaluate(() => {
  const draws = [...document.querySelectorAll(".herd .draw")];
  const seen = draws.filter((draw) => draw.getClientRects().length > 0);
  return {
    count: draws.length,
    seen: seen.map((draw) => draws.indexOf(draw)),
    times: seen[0]?.querySelector("desc").textContent,
    status: document.querySelector(".herd [aria-live=polite]")?.textContent ?? "",
    buttons: document.querySelectorAll(".herd button").length,
  };
});

// What is wrong if the draw with this index should be the only one to be seen.
function wrong(now, index) {
  const problems = [];
  if (now.seen.join() !== `${index}`) problems.push(`draws ${now.seen} are shown instead of ${index}`);
  if (!now.status.includes(`${index + 1} of ${now.count}: ${now.times}`)) {
    problems.push(`it says "${now.status}" of the times ${now.times}`);
  }
  return problems;
}

export async function run({ browser, open, check }) {
  const context = await browser.newContext();
  const { page, problems } = await open(context, "retry.html");
  const first = await state(page);
  if (first.count < 2) problems.push(`only ${first.count} draws`);
  problems.push(...wrong(first, 0));
  const address = page.url();
  await page.locator(".herd button").focus();
  const times = new Set([first.times]);
  for (let n = 1; n <= first.count; n += 1) {
    await page.keyboard.press(n % 2 ? "Enter" : "Space");
    const now = await state(page);
    problems.push(...wrong(now, n % first.count));
    times.add(now.times);
  }
  if (times.size !== first.count) problems.push("two draws are the same");
  if (page.url() !== address) problems.push("a key left the page");
  check("the herd's button shows each draw", problems);

  await page.keyboard.press("Enter"); // paper shows what was chosen
  await page.emulateMedia({ media: "print" });
  const paper = await state(page);
  const button = await page.locator(".herd button").isVisible();
  check("the herd on paper", [...wrong(paper, 1), ...(button ? ["a button is printed"] : [])]);
  await context.close();

  const plain = await browser.newContext({ javaScriptEnabled: false });
  const still = await open(plain, "retry.html");
  const count = await still.page.locator(".herd .draw:visible").count();
  const buttons = await still.page.locator(".herd button").count();
  check("the herd without JavaScript", count === 1 && buttons === 0 ? [] : [`${count} draws, ${buttons} buttons`]);
  await plain.close();
}
