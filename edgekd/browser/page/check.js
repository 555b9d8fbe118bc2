// The self-check: this browser computes what the artifact was shipped with, or says what it computes differently.

import { readArrays } from "./arrays.js";
import { decode } from "./decode.js";
import { run } from "./model.js";
import { fit, normalise } from "./preprocess.js";

const ROUNDING = 1e-5; // of the largest value; one level of 255 is a hundred times as much

/**
 * Replay the parity vectors.
 *
 * @param {ArrayBuffer} file parity/vectors.npz: "input" and every output, (vectors, ...)
 * @param {number} tolerance of an output, relative to the largest that is expected
 * @returns {Promise<{vectors: number, difference: number, failed: number[]}>} failed vectors, the first being 1
 */
export async function checkModel(model, file, tolerance) {
  const arrays = await readArrays(file);
  const input = arrays.get("input");
  arrays.delete("input");
  const vectors = input.shape[0];
  const found = [...(await run(model, input)).values()];
  const worst = new Array(vectors).fill(0);
  [...arrays.values()].forEach((expected, output) => {
    const said = found[output];
    if (`${said?.shape}` !== `${expected.shape}`) throw new Error("the parity vectors' outputs have another shape");
    const each = expected.data.length / vectors;
    const largest = Math.max(1e-12, greatest(expected.data));
    for (let vector = 0; vector < vectors; vector += 1) {
      const [one, other] = [said, expected].map(({ data }) => data.subarray(vector * each, (vector + 1) * each));
      worst[vector] = Math.max(worst[vector], greatestDifference(one, other) / largest);
    }
  });
  const failed = worst.flatMap((difference, vector) => (difference <= tolerance ? [] : [vector + 1]));
  return { vectors, difference: Math.max(...worst), failed };
}

/**
 * Take an image through everything that a dropped one goes through, and compare with what training made of it.
 *
 * @param {ArrayBuffer} file parity/image.npz: "image" (height, width, 3) and "input" (channels, height, width)
 * @returns {Promise<boolean>}
 */
export async function checkPreprocessing(file, how) {
  const { image, input } = Object.fromEntries(await readArrays(file));
  const [height, width] = image.shape;
  const picture = new ImageData(width, height);
  for (let at = 0; at < height * width; at += 1) {
    picture.data.set(image.data.subarray(3 * at, 3 * at + 3), 4 * at);
    picture.data[4 * at + 3] = 255;
  }
  const made = normalise(fit(await decode(picture), how), how);
  return made.length === input.data.length && greatestDifference(made, input.data) <= ROUNDING * greatest(input.data);
}

function greatest(values) {
  return values.reduce((found, value) => Math.max(found, Math.abs(value)), 0);
}

/** NaN where one of the values is not a number, so that it is within no tolerance. */
function greatestDifference(one, other) {
  return one.reduce((found, value, at) => Math.max(found, Math.abs(value - other[at])), 0);
}
