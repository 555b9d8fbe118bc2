// Use the page as a person does, and print as JSON what it then says.
//
// node drive.cjs '{"browser": path, "profile": folder, "address": url, "tries": [[how, file], ...],
//   "size": [width, height], "scheme": "light" or "dark", "picture": file}'
// where how is "choose", "drop" or "keyboard"; "keyboard" at most once, for it starts at the top of the page.

const { readFileSync } = require("node:fs");
const puppeteer = require("puppeteer-core");

const job = JSON.parse(process.argv[2]);
const LIMIT = { timeout: 60000 };
const text = (page, id) => page.$eval(`#${id}`, (element) => element.textContent);

async function give(page, how, file) {
  if (how === "choose") return (await page.$("#file")).uploadFile(file);
  if (how === "drop") {
    const session = await page.createCDPSession();
    const data = { items: [], files: [file], dragOperationsMask: 1 };
    for (const type of ["dragEnter", "dragOver", "drop"]) {
      await session.send("Input.dispatchDragEvent", { type, x: 200, y: 20, data });
    }
    return session.detach();
  }
  await page.keyboard.press("Tab");
  await page.waitForFunction(() => document.activeElement.id === "file", LIMIT);
  const waiting = page.waitForFileChooser(LIMIT);
  await page.evaluate(() => 0); // behind the command that has the browser hand the chooser over
  await page.keyboard.press("Enter");
  const chooser = await waiting;
  return chooser.accept([file]);
}

async function answerOf(page) {
  await page.waitForFunction(() => !["", "Running"].includes(document.querySelector("#state").textContent), LIMIT);
  return {
    state: await text(page, "state"),
    answered: await page.$eval("#answer", (element) => !element.hidden),
    rows: await page.$$eval("#rows tr", (rows) => rows.map((row) => [...row.cells].map((cell) => cell.textContent))),
  };
}

async function main() {
  const options = ["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--disable-background-networking"];
  const browser = await puppeteer.launch({ executablePath: job.browser, userDataDir: job.profile, args: options });
  try {
    const page = await browser.newPage();
    const [width, height] = job.size ?? [800, 900];
    await page.setViewport({ width, height });
    await page.emulateMediaFeatures([{ name: "prefers-color-scheme", value: job.scheme ?? "light" }]);
    const said = { faults: [], asked: [] };
    page.on("pageerror", (error) => said.faults.push(error.message));
    page.on("console", (message) => message.type() === "error" && said.faults.push(message.text()));
    page.on("request", (request) => said.asked.push(request.url()));
    await page.goto(job.address);
    await page.waitForFunction(() => document.querySelector("#check").className, LIMIT);
    await page.waitForNetworkIdle({ idleTime: 200, ...LIMIT });
    said.check = await text(page, "check");
    said.about = await text(page, "about");
    said.limits = await text(page, "limits");
    said.trial = await page.$eval("#trial", (element) => !element.hidden);
    said.overflow = await page.$eval("html", (root) => root.scrollWidth > root.clientWidth);
    said.answers = [];
    for (const [how, file] of job.tries ?? []) {
      await page.$eval("#state", (element) => element.replaceChildren());
      await give(page, how, file);
      said.answers.push(await answerOf(page));
    }
    await page.evaluate(readFileSync(require.resolve("axe-core/axe.min.js"), "utf8"));
    said.violations = await page.evaluate(async () => (await axe.run()).violations.map(({ id, impact }) => `${impact}: ${id}`));
    if (job.picture) await page.screenshot({ path: job.picture, fullPage: true });
    process.stdout.write(JSON.stringify(said));
  } finally {
    await browser.close();
  }
}

main().catch((error) => {
  process.stderr.write(`${error.stack}\n`);
  process.exit(1);
});
