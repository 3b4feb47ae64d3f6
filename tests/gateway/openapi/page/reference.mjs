// Opens the reference page, makes a call there, and prints the outcome as JSON. Arguments: the page, a key.

import { launch } from "./launch.mjs";

const [page_url, key] = process.argv.slice(2);
const complaints = [];
const origins = new Set();
const browser = await launch();
try {
  const page = await browser.newPage();
  page.on("console", (message) => {
    if (["error", "warning"].includes(message.type())) complaints.push(message.text());
  });
  page.on("pageerror", (error) => complaints.push(String(error)));
  page.on("request", (request) => origins.add(new URL(request.url()).origin));
  await page.goto(page_url);
  const operation = page.locator("#operations-QueryService-query");
  await operation.waitFor();
  const operations = await page.locator(".opblock").count();
  await page.locator(".btn.authorize").click();
  await page.locator(".auth-container input").first().fill(key);
  await page.locator(".auth-btn-wrapper .authorize").first().click();
  await page.locator(".btn-done").first().click();
  await operation.locator(".opblock-summary-control").click();
  await operation.locator(".try-out__btn").click();
  await operation.locator("input[placeholder=table]").fill("flights");
  await operation.locator(".execute").click();
  const response = operation.locator(".live-responses-table");
  await response.waitFor();
  const status = await response.locator(".response-col_status").nth(1).innerText();
  console.log(JSON.stringify({ operations, status, complaints, origins: [...origins] }));
} finally {
  await browser.close();
}
