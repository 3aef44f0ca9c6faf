// A link to a case shows the case, and a link to a mistake shows its row.

const screens = { desk: { width: 1280, height: 900 }, phone: { width: 375, height: 800 } };

export async function run({ browser, open, check }) {
  for (const [screen, viewport] of Object.entries(screens)) {
    const context = await browser.newContext({ viewport });
    context.setDefaultTimeout(10000);
    const { page, problems } = await open(context, "cases.html");
    try {
      problems.push(...(await thereAndBack(page)));
    } catch (error) {
      problems.push(error.message.split("\n")[0]);
    }
    check(`cases and gallery lead to each other, ${screen}`, problems);
    await context.close();
  }
}

// From the index to a case, to a mistake that it catches, and back.
async function thereAndBack(page) {
  const problems = [];
  const open = () => page.locator("details.case[open]").count();
  const why = page.locator("#s3-06 + details.case > p").first();
  if (await open()) problems.push("an explanation is open before anybody asks");
  await page.locator('.index a[href="#s3-06"]').press("Enter");
  await page.waitForURL(/cases\.html#s3-06$/);
  await page.locator("#s3-06 + details.case[open]").waitFor();
  if ((await open()) !== 1) problems.push("the index opens several explanations");
  if (!(await why.isVisible())) return [...problems, "S3-06 is hidden"];
  await page.locator('#s3-06 + details a[href="gallery.html#s3-06-dies-at-limit"]').click();
  await page.waitForURL(/gallery\.html#/);
  const row = page.locator("tr:has(:target)");
  const { y } = await row.boundingBox();
  const bar = await page.locator("#mdbook-menu-bar").boundingBox();
  const { height } = page.viewportSize();
  if (y < bar.y + bar.height || y > height) problems.push(`the row of the mistake is at ${y} px`);
  await row.locator('a[href="cases.html#s3-06"]').click();
  await page.waitForURL(/cases\.html#/);
  if (!(await why.isVisible())) problems.push("the row does not lead to S3-06");
  return problems;
}
