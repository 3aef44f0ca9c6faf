// A link to a case shows the case, and a link to a mistake shows its row.

export async function run({ browser, open, check }) {
  for (const [what, viewport] of [["desk", { width: 1280, height: 900 }], ["phone", { width: 375, height: 800 }]]) {
    const context = await browser.newContext({ viewport });
    const { page, problems } = await open(context, "cases.html");
    const folded = () => page.locator("details.case[open]").count();
    if (await folded()) problems.push("an explanation is open before anybody asks");
    await page.locator('.index a[href="#s3-06"]').press("Enter");
    if ((await folded()) !== 1) problems.push("the index opens no explanation, or several");
    if (!(await page.locator("#s3-06 + details.case > p").first().isVisible())) problems.push("S3-06 is hidden");
    await page.locator('#s3-06 + details a[href="gallery.html#s3-06-dies-at-limit"]').click();
    const row = page.locator("tr:has(:target)");
    const { y } = await row.boundingBox();
    const bar = await page.locator("#mdbook-menu-bar").boundingBox();
    if (y < bar.y + bar.height || y > viewport.height) problems.push(`the row of the mistake is at ${y} px`);
    await row.locator('a[href="cases.html#s3-06"]').click();
    if (!(await page.locator("#s3-06 + details.case > p").first().isVisible())) problems.push("the row does not lead to S3-06");
    check(`cases and gallery lead to each other, ${what}`, problems);
    await context.close();
  }
}
