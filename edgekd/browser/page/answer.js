// What a model's outputs say, as rows of text for a table.

const SHOWN = 5;

/**
 * The answer to one image.
 *
 * @param {Map<string, {data: Float32Array, shape: number[]}>} outputs (1, ...) by name
 * @param {string[]} labels in the order of the outputs; empty where there are none
 * @returns {{columns: string[], rows: {cells: string[], share: number}[]}} best first; `share` from 0 to 1 is drawn
 */
export function answer(outputs, labels) {
  const [[name, { data, shape }]] = outputs;
  if (labels.length === 0 || shape.length !== 2 || shape[1] !== labels.length) {
    const cells = Array.from(data.subarray(0, SHOWN), (value, at) => [`${name}[${at}]`, format(value)]);
    return { columns: ["Output", "Value"], rows: cells.map((pair) => ({ cells: pair, share: 0 })) };
  }
  const probabilities = softmax(data);
  const order = [...labels.keys()].sort((a, b) => probabilities[b] - probabilities[a]).slice(0, SHOWN);
  const rows = order.map((at) => {
    const share = probabilities[at];
    return { cells: [labels[at], `${format(100 * share)} %`], share };
  });
  return { columns: ["Class", "Probability"], rows };
}

function softmax(logits) {
  const largest = logits.reduce((found, logit) => Math.max(found, logit));
  const powers = Array.from(logits, (logit) => Math.exp(logit - largest));
  const sum = powers.reduce((total, power) => total + power, 0);
  return powers.map((power) => power / sum);
}

/** A number with two places, or two digits where it is small. */
export function format(value) {
  return value !== 0 && Math.abs(value) < 0.01 ? value.toExponential(1) : value.toFixed(2);
}
