// Runs a list of calls in WebAssembly, as a browser would: what does LiteRT.js compute?
//
//   node replay.mjs MODEL < calls.json > answers.json
//
// Calls and answers are `dccl.Goldens` in protobuf's JSON form, as those of `python -m device_runtime.bundle.replay` are
// in its binary form.

import {createRequire} from 'node:module';
import {readFile} from 'node:fs/promises';
import {readFileSync} from 'node:fs';
import {dirname} from 'node:path';
import {text} from 'node:stream/consumers';
import {runInThisContext} from 'node:vm';
import {loadAndCompile, loadLiteRt, Tensor} from '@litertjs/core';

const require = createRequire(import.meta.url);
// The build for engines without relaxed SIMD, as Node 20 is; a directory would make it look for a browser's features.
const wasm = require.resolve('@litertjs/core/wasm/litert_wasm_compat_internal.js');

// The package was made for browsers and asks for a worker's globals.
globalThis.self = globalThis;
globalThis.require = require;
globalThis.__dirname = dirname(wasm);
globalThis.__filename = wasm;
globalThis.importScripts = (path) => runInThisContext(readFileSync(path, 'utf8'), {filename: path});

const ARRAYS = {float32: Float32Array, int32: Int32Array};

/** A golden tensor as one of LiteRT's, which the caller deletes. */
function toTensor({dtype, shape, data}) {
  const bytes = Uint8Array.from(Buffer.from(data, 'base64'));
  return new Tensor(new ARRAYS[dtype](bytes.buffer), shape);
}

/** One of LiteRT's tensors as a golden one. */
function toGolden(name, tensor) {
  const values = tensor.toTypedArray();
  const dtype = values instanceof Float32Array ? 'float32' : 'int32';
  const data = Buffer.from(values.buffer, values.byteOffset, values.byteLength).toString('base64');
  return {name, dtype, shape: [...tensor.type.layout.dimensions], data};
}

await loadLiteRt(wasm);
const model = await loadAndCompile(new Uint8Array(await readFile(process.argv[2])), {accelerator: 'wasm'});
const answers = [];
for (const {signature, inputs} of JSON.parse(await text(process.stdin)).calls) {
  const given = Object.fromEntries(inputs.map((tensor) => [tensor.name, toTensor(tensor)]));
  const outputs = await model.run(signature, given);
  answers.push({signature, outputs: Object.entries(outputs).map(([name, tensor]) => toGolden(name, tensor))});
  [...Object.values(given), ...Object.values(outputs)].forEach((tensor) => tensor.delete());
}
process.stdout.write(JSON.stringify({calls: answers}));
