// The model, run by ONNX Runtime's WebAssembly build on one thread.

import * as ort from "./ort/ort.wasm.bundle.min.mjs";

const SHARE = 32; // inputs run at once where the graph leaves the batch open
const ARRAYS = { float32: Float32Array, int32: Int32Array, int64: BigInt64Array };

ort.env.wasm.numThreads = 1;

/**
 * Load a model of one input.
 *
 * @param {string} url of the .onnx file
 */
export async function openModel(url) {
  const session = await ort.InferenceSession.create(url, { executionProviders: ["wasm"] });
  const [input] = session.inputMetadata;
  if (session.inputMetadata.length !== 1 || !(input.type in ARRAYS)) {
    throw new Error("this page runs models of one input, of float32, int32 or int64");
  }
  return { session, input };
}

/**
 * Run a model over inputs; a share too small for a fixed batch is filled up with its last input.
 *
 * @param {{data: Float32Array | BigInt64Array, shape: number[]}} inputs (batch, ...)
 * @returns {Promise<Map<string, {data: Float32Array, shape: number[]}>>} outputs (batch, ...) by name, in order
 */
export async function run({ session, input }, inputs) {
  const [count, ...shape] = inputs.shape;
  const each = inputs.data.length / count;
  const number = input.type === "int64" ? BigInt : Number;
  const fixed = typeof input.shape[0] === "number" ? input.shape[0] : null;
  const parts = new Map(session.outputNames.map((name) => [name, []]));
  for (let at = 0; at < count; at += fixed ?? SHARE) {
    const here = Math.min(fixed ?? SHARE, count - at);
    const share = ARRAYS[input.type].from({ length: (fixed ?? here) * each }, (_, i) => {
      const row = Math.min(Math.trunc(i / each), here - 1);
      return number(inputs.data[(at + row) * each + (i % each)]);
    });
    const outputs = await session.run({ [input.name]: new ort.Tensor(input.type, share, [fixed ?? here, ...shape]) });
    for (const [name, rows] of parts) rows.push(rowsOf(outputs[name], here));
  }
  return new Map([...parts].map(([name, rows]) => [name, joined(rows, count)]));
}

function rowsOf({ data, dims }, count) {
  const kept = data.subarray(0, (data.length / dims[0]) * count);
  return { data: Float32Array.from(kept, Number), shape: dims.slice(1) };
}

function joined(rows, count) {
  const data = new Float32Array(rows.reduce((total, row) => total + row.data.length, 0));
  let at = 0;
  for (const row of rows) {
    data.set(row.data, at);
    at += row.data.length;
  }
  return { data, shape: [count, ...rows[0].shape] };
}
