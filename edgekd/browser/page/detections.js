// What a detector's outputs say: the boxes that it is sure enough of, one for each object.

import { format } from "./answer.js";

/**
 * The objects in one image.
 *
 * @param {Map<string, {data: Float32Array, shape: number[]}>} outputs logits (1, positions, classes) and boxes
 *   (1, positions, 4)
 * @param {string[]} labels (classes)
 * @param {{confidence: number, nms_iou: number}} rules of postprocess.json
 * @returns {{columns: string[], rows: {cells: string[], share: number, box: number[]}[]}} surest first; boxes are left,
 *   top, right, bottom in pixels of the model's input
 */
export function detections(outputs, labels, rules) {
  const [logits, boxes] = outputs.values();
  const [, positions, classes] = logits.shape;
  const found = [];
  for (let kind = 0; kind < classes; kind += 1) {
    const sure = [];
    for (let at = 0; at < positions; at += 1) {
      const confidence = 1 / (1 + Math.exp(-logits.data[at * classes + kind]));
      const box = [...boxes.data.subarray(4 * at, 4 * at + 4)];
      if (confidence >= rules.confidence) sure.push({ kind, confidence, box });
    }
    found.push(...surestOfEach(sure, rules.nms_iou));
  }
  found.sort((a, b) => b.confidence - a.confidence);
  const rows = found.map(({ kind, confidence, box }) => {
    const edges = box.map((edge) => edge.toFixed(1)).join(", ");
    return { cells: [labels[kind] ?? `class ${kind}`, `${format(100 * confidence)} %`, edges], share: confidence, box };
  });
  return { columns: ["Class", "Confidence", "Left, top, right, bottom"], rows };
}

/** Of boxes that overlap by more than `most`, only the surest. */
function surestOfEach(boxes, most) {
  const kept = [];
  for (const one of boxes.sort((a, b) => b.confidence - a.confidence)) {
    if (kept.every(({ box }) => overlap(box, one.box) <= most)) kept.push(one);
  }
  return kept;
}

/** Intersection over union. */
function overlap(one, other) {
  const area = ([left, top, right, bottom]) => Math.max(0, right - left) * Math.max(0, bottom - top);
  const shared = area([0, 1, 2, 3].map((edge) => (edge < 2 ? Math.max : Math.min)(one[edge], other[edge])));
  return shared / (area(one) + area(other) - shared);
}
