// The page from top to bottom: read the artifact, check, then answer for every image that is chosen or dropped.

import { answer } from "./answer.js";
import { checkModel, checkPreprocessing } from "./check.js";
import { decode } from "./decode.js";
import { detections } from "./detections.js";
import { openModel, run } from "./model.js";
import { fit, normalise, takesImages } from "./preprocess.js";

const ARTIFACT = "artifact/";
const $ = (id) => document.getElementById(id);

async function main() {
  const files = new Set((await text("SHA256SUMS")).split("\n").map((line) => line.slice(66)));
  if (files.has("manifest.json")) about(JSON.parse(await text("manifest.json")));
  const how = JSON.parse(await text("preprocess.json"));
  const labels = files.has("labels.txt") ? (await text("labels.txt")).split("\n").slice(0, -1) : [];
  const rules = files.has("postprocess.json") ? JSON.parse(await text("postprocess.json")) : null;
  const model = await openModel(`${ARTIFACT}model.onnx`);
  if (!(await check(model, how, files))) return;
  if (!takesImages(how)) {
    const kind = how.identity ? `${how.dtype} (${how.input_shape})` : `${how.channels} channels`;
    return say("limits", `This page makes no input of ${kind} from a file yet; it only runs the parity vectors.`);
  }
  await run(model, blank(how)); // the first run is slower than all others
  $("trial").hidden = false;
  let last = Promise.resolve(); // a model answers one image at a time
  takeImages((file) => {
    last = last.then(() => show(file, { model, how, labels, rules }));
  });
}

function about({ candidate, target }) {
  say("about", `Stored as ${candidate.scheme}, made for ${target}. Times below are this browser's, not that device's.`);
}

/** Say whether this browser computes what was shipped. */
async function check(model, how, files) {
  const { relative_tolerance: tolerance } = JSON.parse(await text("parity/parity.json"));
  say("check", "Running the parity vectors");
  const { vectors, difference, failed } = await checkModel(model, await bytes("parity/vectors.npz"), tolerance);
  const found = `${percent(difference)} of the largest output`;
  if (failed.length) {
    const which = `of ${vectors} parity vectors ${failed.join(", ")} differ`;
    return verdict(false, `Fail: ${which}, by up to ${found}; ${percent(tolerance)} is allowed.`);
  }
  const good = `Pass: ${vectors} parity vectors within ${found}`;
  if (!takesImages(how)) return verdict(true, `${good}.`);
  if (!files.has("parity/image.npz")) {
    return verdict(true, `${good}; preprocessing is not checked, for this artifact holds no image to check it with.`);
  }
  if (await checkPreprocessing(await bytes("parity/image.npz"), how)) {
    return verdict(true, `${good}; preprocessing as in training.`);
  }
  return verdict(false, "Fail: this browser prepares an image in another way than training did.");
}

async function show(file, { model, how, labels, rules }) {
  say("state", "Running");
  $("answer").hidden = true;
  try {
    const began = performance.now();
    const image = await decode(file);
    const fitted = fit(image, how);
    const input = normalise(fitted, how);
    const ready = performance.now();
    const outputs = await run(model, { data: input, shape: [1, how.channels, how.height, how.width] });
    const [prepared, ran] = [ready - began, performance.now() - ready].map((ms) => `${ms.toFixed(1)} ms`);
    const size = `${image.width} x ${image.height}`;
    const { columns, rows } = rules ? detections(outputs, labels, rules) : answer(outputs, labels);
    draw(fitted, rows);
    fill(columns, rows);
    $("answer").hidden = false;
    say("state", `${file.name}, ${size}: model ${ran} on one thread, preparing the image ${prepared}.`);
  } catch (error) {
    say("state", `${file.name} cannot be tried: ${error.message}`);
  }
}

function takeImages(take) {
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
    $("file").value = ""; // no longer the image that is answered, and to be chosen again
    take(event.dataTransfer.files[0]);
  });
}

function draw({ pixels, height, width, channels }, rows) {
  const picture = new ImageData(width, height);
  for (let at = 0; at < height * width; at += 1) {
    const [red, green, blue] = [0, 1, 2].map((channel) => pixels[at * channels + (channels === 1 ? 0 : channel)]);
    picture.data.set([red, green, blue, 255], 4 * at);
  }
  const context = Object.assign($("seen"), { height, width }).getContext("2d");
  context.putImageData(picture, 0, 0);
  context.strokeStyle = "#ff3df5"; // in few photographs
  for (const { box } of rows) if (box) context.strokeRect(box[0], box[1], box[2] - box[0], box[3] - box[1]);
}

/** Labels are a stranger's text: they are set as text, never as markup. */
function fill(columns, rows) {
  $("columns").replaceChildren(row("th", columns));
  $("rows").replaceChildren(...rows.map(({ cells, share }) => {
    const made = row("td", cells);
    made.style.setProperty("--share", `${100 * share}%`);
    return made;
  }));
}

function row(kind, cells) {
  const made = document.createElement("tr");
  for (const cell of cells) made.append(Object.assign(document.createElement(kind), { textContent: cell }));
  return made;
}

function blank(how) {
  const shape = [1, how.channels, how.height, how.width];
  return { data: new Float32Array(how.channels * how.height * how.width), shape };
}

const percent = (share) => `${Number((100 * share).toPrecision(2))} %`;

function verdict(good, sentence) {
  $("check").className = good ? "pass" : "fail";
  say("check", sentence);
  return good;
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
