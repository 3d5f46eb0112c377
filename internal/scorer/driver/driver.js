// The program that runs a suite's JavaScript for telltale. It reads one request a line from standard
// input and answers each with one line; what the suite's code prints goes to standard error.
'use strict';

const { createRequire } = require('module');
const path = require('path');
const readline = require('readline');
const { pathToFileURL } = require('url');

const answer = process.stdout.write.bind(process.stdout);
process.stdout.write = process.stderr.write.bind(process.stderr);
for (const name of ['log', 'info', 'debug']) {
  console[name] = console.error;
}

// Inline code finds modules from the suite's folder, which is the working directory.
const shim = Object.create(process, {
  mainModule: { value: { require: createRequire(path.join(process.cwd(), 'suite.js')) } },
});

// splitStatements cuts a line at the last semicolon that is not inside a text.
function splitStatements(code) {
  let quote = '';
  let cut = -1;
  for (let i = 0; i < code.length; i++) {
    const c = code[i];
    if (c === '\\') {
      i++;
    } else if (quote) {
      if (c === quote) quote = '';
    } else if (c === '"' || c === "'" || c === '`') {
      quote = c;
    } else if (c === ';') {
      cut = i;
    }
  }
  return cut;
}

// body turns an expression into the body of a function. Code of more than one line is a body already.
function body(op, source) {
  if (op === 'transform' || op === 'transformVars') {
    return source.includes('\n') ? source : 'return ' + source;
  }
  source = source.trimEnd();
  if (source.includes('\n')) {
    return source;
  }
  const line = source.trim().replace(/;+\s*$/, '');
  if (!/^(?:const|let|var)\s/.test(line)) {
    return 'return ' + line;
  }
  const cut = splitStatements(line);
  if (cut < 0) {
    return line;
  }
  return line.slice(0, cut + 1) + ' return ' + line.slice(cut + 1);
}

const inline = new Map();

function inlineFunction(op, source) {
  const key = op + '\n' + source;
  let f = inline.get(key);
  if (!f) {
    f = new Function(op === 'transformVars' ? 'vars' : 'output', 'context', 'process', body(op, source));
    if (inline.size >= 1000) inline.clear();
    inline.set(key, f);
  }
  return f;
}

const files = new Map();

async function load(file) {
  let module = files.get(file);
  if (module) {
    return module;
  }
  try {
    module = createRequire(file)(file);
  } catch (err) {
    if (err.code !== 'ERR_REQUIRE_ESM' && !(err instanceof SyntaxError)) throw err;
    module = await import(pathToFileURL(file).href);
  }
  files.set(file, module);
  return module;
}

async function fileFunction(file, name) {
  const module = await load(file);
  if (name) {
    const f = module[name] ?? module.default?.[name];
    if (typeof f !== 'function') throw new Error(`${file} exports no function ${name}`);
    return f;
  }
  for (const f of [module, module.default, module.default?.default]) {
    if (typeof f === 'function') return f;
  }
  throw new Error(`${file} exports no function`);
}

// sound refuses what JSON would turn into something else without a word.
function sound(value) {
  if (value === undefined || value === null) throw new Error('it gives no value');
  if (typeof value === 'number' && !Number.isFinite(value)) throw new Error(`it gives ${value}`);
  if (typeof value === 'function' || typeof value === 'symbol' || typeof value === 'bigint') {
    throw new Error(`it gives a ${typeof value}`);
  }
  if (typeof value === 'object' && typeof value.score === 'number' && !Number.isFinite(value.score)) {
    throw new Error(`its score is ${value.score}`);
  }
  return value;
}

async function handle(request) {
  const f = request.file ? await fileFunction(request.file, request.function) : inlineFunction(request.op, request.source);
  return sound(await f(request.output, request.context, shim));
}

async function main() {
  for await (const line of readline.createInterface({ input: process.stdin, crlfDelay: Infinity })) {
    if (!line) continue;
    const request = JSON.parse(line);
    let reply;
    try {
      reply = JSON.stringify({ id: request.id, value: await handle(request) });
    } catch (err) {
      reply = JSON.stringify({ id: request.id, error: String((err && err.message) || err) });
    }
    answer(reply + '\n');
  }
}

main();
