// Look at a page of ours as people do, and print as JSON what was seen.
//
// node look.cjs '{"browser": path, "profile": folder, "page": url, "views": [{"width": n, "dark": b, "scripts": b}],
//                 "axe": path or null, "shots": folder or null, "pdf": path or null}'

const fs = require("fs");
const path = require("path");
const puppeteer = require("puppeteer-core");

const job = JSON.parse(process.argv[2]);

// An element may stick out of its card without widening the page, and text of a plot is cut at the plot's edge.
const LAYOUT = () => {
  const root = document.documentElement;
  const box = element => element.getBoundingClientRect();
  const cut = [...document.querySelectorAll("svg text")].filter(text => {
    const plot = box(text.ownerSVGElement);
    return box(text).right > plot.right + 0.5 || box(text).left < plot.left - 0.5 || box(text).bottom > plot.bottom + 0.5;
  });
  const wide = [...document.body.querySelectorAll("*")].filter(element => !element.closest("thead, caption, svg")
    && (box(element).right > root.clientWidth + 0.5
        || getComputedStyle(element).display !== "inline" && element.scrollWidth > element.clientWidth + 1));
  const named = element => `${element.tagName} ${element.textContent.slice(0, 30).trim()}`;
  return {width: root.clientWidth, scroll: root.scrollWidth, height: root.scrollHeight, out: [...cut, ...wide].map(named)};
};

// What a person does with a table: click the header of a column, then again by the keyboard.
async function sorted(page) {
  const button = await page.$("#tried > table th:nth-child(2) button");
  if (!button || !(await button.isVisible())) return null;
  const read = () => page.$$eval("#tried > table:first-of-type tbody td:nth-child(2)", cells => cells.map(c => c.textContent.trim()));
  const before = await read();
  const head = await page.$("#tried > table th:nth-child(2)");
  await head.click();
  const rising = await read();
  await button.focus();
  await page.keyboard.press("Enter");
  const falling = await read();
  const said = await head.evaluate(element => element.getAttribute("aria-sort"));
  return {before, rising, falling, said};
}

async function see(browser, view) {
  const page = await browser.newPage();
  const faults = [];
  page.on("pageerror", error => faults.push(String(error)));
  page.on("console", message => message.type() === "error" && faults.push(message.text()));
  page.on("request", request => request.url() === job.page || faults.push(`asks for ${request.url().slice(0, 80)}`));
  await page.setJavaScriptEnabled(view.scripts !== false);
  await page.setViewport({width: view.width, height: 900});
  await page.emulateMediaFeatures([{name: "prefers-color-scheme", value: view.dark ? "dark" : "light"}]);
  await page.goto(job.page);
  await page.$$eval("details", folded => folded.forEach(one => (one.open = true)));
  const seen = {...view, faults, ...(await page.evaluate(LAYOUT))};
  seen.paper = await page.evaluate(() => getComputedStyle(document.body).backgroundColor);
  seen.buttons = (await page.$$("thead button")).length;
  if (job.axe) {
    await page.evaluate(fs.readFileSync(job.axe, "utf8"));
    const found = await page.evaluate(() => globalThis.axe.run(document, {resultTypes: ["violations"]}));
    seen.violations = found.violations.map(v => ({id: v.id, impact: v.impact, nodes: v.nodes.slice(0, 5).map(n => n.html.slice(0, 120))}));
  }
  const name = `${view.width}-${view.dark ? "dark" : "light"}.png`;
  if (job.shots) await page.screenshot({path: path.join(job.shots, name), fullPage: true});
  seen.sorted = await sorted(page);
  if (job.pdf) {
    await page.emulateMediaType("print");
    seen.printed = await page.evaluate(() => getComputedStyle(document.body).color);
    await page.emulateMediaType(null);
    await page.pdf({path: job.pdf, format: "A4", margin: {top: "15mm", bottom: "15mm", left: "15mm", right: "15mm"}});
  }
  await page.close();
  return seen;
}

async function main() {
  const args = ["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--disable-background-networking"];
  const browser = await puppeteer.launch({executablePath: job.browser, userDataDir: job.profile, args});
  try {
    const seen = [];
    for (const view of job.views) seen.push(await see(browser, view));
    process.stdout.write(JSON.stringify(seen));
  } finally {
    await browser.close();
  }
}

main().catch(error => {
  process.stderr.write(`${error.stack}\n`);
  process.exit(1);
});
