// The self-check: this app answers the artifact's parity vectors as training did, or is not to be used.

import { readNpy } from "./npy.js";

const AGREES = { classes: sameClass, boxes: sameBoxes, outputs: sameValues };

/**
 * Put every parity vector to the app.
 *
 * @param {(raw: {type: string, data: ArrayLike<number | bigint>, shape: number[]}) => Promise<any>} ask what the app has
 *   to its answer, as `answerOf` gives it
 * @param {(name: string) => Promise<ArrayBuffer>} read a file of the artifact
 * @returns {Promise<{vectors: number, failed: string | null}>} `failed` tells of the first that is answered otherwise
 */
export async function check(ask, read) {
  const parity = JSON.parse(new TextDecoder().decode(await read("parity/parity.json")));
  const outputs = parity.answer === "outputs" ? readNpy(await read("parity/output0.npy")) : null;
  const vectors = parity.vectors.length;
  for (const [at, vector] of parity.vectors.entries()) {
    const raw = readNpy(await read(`parity/raw${at}.npy`));
    const expected = outputs ? { outputs, at } : vector;
    const found = await ask(raw);
    if (!AGREES[parity.answer](found, expected, parity.tolerance, raw)) {
      return { vectors, failed: `parity vector ${at}: this computes something else than was tested` };
    }
  }
  return { vectors, failed: null };
}

function sameClass([first], { indices, labels, probabilities }, { probability }) {
  const same = first?.index === indices[0] && first.label === labels[0];
  return same && Math.abs(first.share - probabilities[0]) <= probability;
}

/** Whether each expected box has a partner of its own, and none is left. */
function sameBoxes(found, { indices, labels, scores, boxes }, tolerance, raw) {
  const far = tolerance.box * Math.max(raw.shape[0], raw.shape[1]);
  const left = [...found];
  for (const [at, box] of boxes.entries()) {
    const partner = left.findIndex((one) => {
      const same = one.index === indices[at] && one.label === labels[at];
      const near = one.box.every((side, i) => Math.abs(side - box[i]) <= far);
      return same && near && Math.abs(one.share - scores[at]) <= tolerance.probability;
    });
    if (partner < 0) return false;
    left.splice(partner, 1);
  }
  return left.length === 0;
}

function sameValues(found, { outputs: { data, shape }, at }, { output }) {
  const each = data.length / shape[0];
  const allowed = output * data.reduce((largest, value) => Math.max(largest, Math.abs(value)), 0);
  const expected = data.subarray(at * each, (at + 1) * each);
  return found.length === each && found.every((value, i) => Math.abs(value - expected[i]) <= allowed);
}
