// The graph for apps, run by ONNX Runtime's WebAssembly build on one thread.

import * as ort from "./ort/ort.wasm.bundle.min.mjs";

ort.env.wasm.numThreads = 1;

/**
 * Load a graph of one input.
 *
 * @param {string} url of the .onnx file
 * @param {boolean} batched whether it takes a batch, which is then of one
 * @returns {Promise<(raw: {type: string, data: any, shape: number[]}) => Promise<Record<string, any>>>} outputs by name
 */
export async function openModel(url, batched) {
  const session = await ort.InferenceSession.create(url, { executionProviders: ["wasm"] });
  const [name] = session.inputNames;
  return ({ type, data, shape }) => session.run({ [name]: new ort.Tensor(type, data, batched ? [1, ...shape] : shape) });
}
