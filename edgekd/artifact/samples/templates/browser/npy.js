// Arrays as numpy's save writes them.

const TYPES = {
  "<f4": { type: "float32", bytes: 4, make: (buffer) => new Float32Array(buffer) },
  "<i8": { type: "int64", bytes: 8, make: (buffer) => new BigInt64Array(buffer) },
  "|u1": { type: "uint8", bytes: 1, make: (buffer) => new Uint8Array(buffer) },
};

/**
 * Read a .npy file.
 *
 * @param {ArrayBuffer} buffer
 * @returns {{type: string, data: Float32Array | BigInt64Array | Uint8Array, shape: number[]}} the last axis runs fastest
 */
export function readNpy(buffer) {
  const view = new DataView(buffer);
  const [at, length] = view.getUint8(6) === 1 ? [10, view.getUint16(8, true)] : [12, view.getUint32(8, true)];
  const header = new TextDecoder("latin1").decode(new Uint8Array(buffer, at, length));
  const kind = TYPES[/'descr': '([^']*)'/.exec(header)?.[1]];
  const shape = (/'shape': \(([^)]*)\)/.exec(header)?.[1].match(/\d+/g) ?? []).map(Number);
  const count = shape.reduce((product, size) => product * size, 1);
  if (!kind || !header.includes("'fortran_order': False") || buffer.byteLength - at - length !== count * kind.bytes) {
    throw new Error("an array is of a kind that is not read here");
  }
  return { type: kind.type, data: kind.make(buffer.slice(at + length)), shape };
}
