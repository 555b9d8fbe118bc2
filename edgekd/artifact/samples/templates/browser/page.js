// The page from top to bottom: read the artifact, check, then answer for every file that is chosen or dropped.

import { answerOf } from "./answer.js";
import { check } from "./check.js";
import { decodeImage, decodeSound, imageOf } from "./decode.js";
import { openModel } from "./model.js";

const ARTIFACT = "../../";
const SHOWN = 5;
const $ = (id) => document.getElementById(id);

async function main() {
  const files = new Set((await text("SHA256SUMS")).split("\n").map((line) => line.slice(66)));
  if (files.has("manifest.json")) about(JSON.parse(await text("manifest.json")));
  const how = JSON.parse(await text("preprocess.json"));
  const { kind, vectors } = JSON.parse(await text("parity/parity.json"));
  const labels = files.has("labels.txt") ? (await text("labels.txt")).split("\n").slice(0, -1) : [];
  const forApps = files.has("app.onnx");
  const run = await openModel(`${ARTIFACT}${forApps ? "app.onnx" : "model.onnx"}`, !forApps);
  const ask = async (raw) => answerOf(await run(raw), labels);
  const decode = decoder(kind, how);
  say("check", `Running ${vectors.length} parity vectors`);
  const asInAFile = async (raw) => (kind === "image" && decode ? (await decode(imageOf(raw))).raw : raw);
  const { failed } = await check(async (raw) => ask(await asInAFile(raw)), bytes);
  if (failed) return verdict(false, `Fail: ${failed}.`);
  verdict(true, `Pass: ${vectors.length} parity vectors are answered as in training.`);
  if (!decode) return say("limits", "This page makes no input of such a model from a file; it only runs the parity vectors.");
  $("file").accept = `${kind === "image" ? "image" : "audio"}/*`;
  $("what").textContent = kind;
  $("trial").hidden = false;
  let last = Promise.resolve(); // a model answers one input at a time
  takeFiles((file) => {
    last = last.then(() => show(file, { ask, decode }));
  });
}

function about({ candidate, target }) {
  say("about", `Stored as ${candidate.scheme}, made for ${target}. Times below are this browser's, not that device's.`);
}

/** What makes raw input of a file, or null where nothing here does. */
function decoder(kind, how) {
  if (kind === "image" && (how.channels === 1 || how.channels === 3)) return (source) => decodeImage(source, how.channels);
  return kind === "sound" ? (source) => decodeSound(source, how.sample_rate) : null;
}

async function show(file, { ask, decode }) {
  say("state", "Running");
  $("answer").hidden = true;
  try {
    const began = performance.now();
    const { raw, size, picture } = await decode(file);
    const ready = performance.now();
    const found = await ask(raw);
    const [decoded, ran] = [ready - began, performance.now() - ready].map((ms) => `${ms.toFixed(1)} ms`);
    $("seen").hidden = !picture;
    if (picture) draw(picture, Array.isArray(found) ? found : []);
    fill(found);
    $("answer").hidden = false;
    say("state", `${file.name}, ${size}: answered in ${ran} on one thread, decoded in ${decoded}.`);
  } catch (error) {
    say("state", `${file.name} cannot be tried: ${error.message}`);
  }
}

function takeFiles(take) {
  $("file").addEventListener("change", () => $("file").files.length && take($("file").files[0]));
  addEventListener("dragover", (event) => {
    event.preventDefault();
    document.body.classList.add("dragged");
  });
  addEventListener("dragleave", () => document.body.classList.remove("dragged"));
  addEventListener("drop", (event) => {
    event.preventDefault();
    document.body.classList.remove("dragged");
    if (!event.dataTransfer.files.length) return;
    $("file").value = ""; // no longer the file that is answered, and to be chosen again
    take(event.dataTransfer.files[0]);
  });
}

function draw(picture, found) {
  const context = Object.assign($("seen"), { height: picture.height, width: picture.width }).getContext("2d");
  context.putImageData(picture, 0, 0);
  context.strokeStyle = "#ff3df5"; // in few photographs
  context.lineWidth = Math.max(1, picture.width / 200);
  for (const { box } of found) if (box) context.strokeRect(box[0], box[1], box[2] - box[0], box[3] - box[1]);
}

/** Labels are a stranger's text: they are set as text, never as markup. */
function fill(found) {
  const { columns, rows } = table(found);
  $("columns").replaceChildren(row("th", columns));
  $("rows").replaceChildren(
    ...rows.map(({ cells, share }) => {
      const made = row("td", cells);
      made.style.setProperty("--share", `${100 * share}%`);
      return made;
    }),
  );
}

function table(found) {
  if (!Array.isArray(found)) {
    const cells = Array.from(found.subarray(0, SHOWN), (value, at) => [`${at}`, number(value)]);
    return { columns: ["Output", "Value"], rows: cells.map((pair) => ({ cells: pair, share: 0 })) };
  }
  const boxes = found.some(({ box }) => box);
  const rows = (boxes ? found : found.slice(0, SHOWN)).map(({ label, share, box }) => {
    const cells = [label, `${number(100 * share)} %`];
    return { cells: box ? [...cells, box.map((side) => side.toFixed(1)).join(", ")] : cells, share };
  });
  return { columns: boxes ? ["Class", "Score", "Left, top, right, bottom"] : ["Class", "Probability"], rows };
}

function row(kind, cells) {
  const made = document.createElement("tr");
  for (const cell of cells) made.append(Object.assign(document.createElement(kind), { textContent: cell }));
  return made;
}

/** Two places, or two digits where it is small. */
function number(value) {
  return value !== 0 && Math.abs(value) < 0.01 ? value.toExponential(1) : value.toFixed(2);
}

function verdict(good, sentence) {
  $("check").className = good ? "pass" : "fail";
  say("check", sentence);
}

function say(id, sentence) {
  $(id).textContent = sentence;
}

async function read(name) {
  const response = await fetch(ARTIFACT + name);
  if (!response.ok) throw new Error(`${name} cannot be read (${response.status})`);
  return response;
}

const text = async (name) => (await read(name)).text();
const bytes = async (name) => (await read(name)).arrayBuffer();

main().catch((error) => verdict(false, `Fail: ${error.message}`));
