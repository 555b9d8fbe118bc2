// What the graph for apps says, in an app's words.

/**
 * The answer to one input.
 *
 * @param {Record<string, {data: Float32Array | BigInt64Array, dims: readonly number[]}>} outputs by name
 * @param {string[]} labels in the order of the classes
 * @returns {{index: number, label: string, share: number, box: number[] | null}[] | Float32Array} best first; `share` is
 *   a probability or a score, `box` is x1, y1, x2, y2 in pixels of the image; the plain output of a model without classes
 */
export function answerOf(outputs, labels) {
  const { indices, probabilities, scores, boxes } = outputs;
  if (!indices) return Object.values(outputs)[0].data;
  return Array.from(indices.data, (exact, at) => {
    const index = Number(exact);
    const box = boxes ? [...boxes.data.subarray(4 * at, 4 * at + 4)] : null;
    return { index, label: labels[index], share: (probabilities ?? scores).data[at], box };
  });
}
