#!/usr/bin/node
// A handler that does what Node programs do: each event names a job, the answer is its result.
//
// What goes wrong is answered as "failed: …", so that a test sees what a policy refuses. The jobs
// from `read` on are those that no policy lets a handler do. Node's own modules only.
import { execFile, fork } from "node:child_process";
import { createHash, randomBytes, scrypt } from "node:crypto";
import * as fs from "node:fs";
import { connect as connectTo } from "node:net";
import { join } from "node:path";
import { setTimeout as after } from "node:timers/promises";
import { promisify } from "node:util";
import { getHeapStatistics } from "node:v8";
import { Worker, isMainThread, parentPort, workerData } from "node:worker_threads";
import { gunzipSync, gzipSync } from "node:zlib";

const MIB = 1 << 20;

// The same number in every language of this folder.
function work(seed) {
  let value = seed;
  for (let i = 0; i < 100_000; ++i) value = (Math.imul(value, 1103515245) + 12345) & 0x7fffffff;
  return value;
}

async function workers() {
  const results = Array.from({ length: 8 }, (_, place) => {
    const worker = new Worker(new URL(import.meta.url), { workerData: place + 1 });
    return new Promise((resolve, reject) => worker.once("message", resolve).once("error", reject));
  });
  return (await Promise.all(results)).reduce((sum, one) => sum + one, 0);
}

async function subprocess() {
  const { stdout } = await promisify(execFile)("sh", ["-c", "echo hello | tr a-z A-Z"]);
  return stdout.trim();
}

// Another Node, over a socket pair that speaks JSON.
async function forked() {
  const child = fork(new URL(import.meta.url), ["child"], { stdio: ["ignore", 2, 2, "ipc"] });
  const said = new Promise((resolve, reject) =>
    child.once("message", resolve).once("error", reject));
  child.send({ number: 7 });
  const answer = await said;
  await new Promise((resolve) => child.once("exit", resolve));
  return answer.square;
}

// Much garbage beside something that stays.
function collect() {
  const kept = Array.from({ length: 200_000 }, (_, i) => ({ i }));
  let last;
  for (let i = 0; i < 300; ++i) last = Array.from({ length: 20_000 }, (_, j) => ({ i, j }));
  return kept.length + last.length;
}

function heap() {
  return Math.floor(getHeapStatistics().heap_size_limit / MIB);
}

function inFolder(act) {
  const place = fs.mkdtempSync("/tmp/worker-");
  try {
    return act(place);
  } finally {
    fs.rmSync(place, { recursive: true });
  }
}

function files() {
  return inFolder((place) => {
    fs.writeFileSync(join(place, "a"), Buffer.alloc(MIB, "x"));
    fs.renameSync(join(place, "a"), join(place, "b"));
    fs.linkSync(join(place, "b"), join(place, "c"));
    fs.symlinkSync("b", join(place, "d"));
    return `${fs.statSync(join(place, "d")).size} ${fs.readdirSync(place).length}`;
  });
}

function copy() {
  return inFolder((place) => {
    fs.writeFileSync(join(place, "a"), "one", { mode: 0o640 });
    fs.copyFileSync(join(place, "a"), join(place, "b"));
    return (fs.statSync(join(place, "b")).mode & 0o7777).toString(8);
  });
}

function setUserId() {
  return inFolder((place) => {
    const file = fs.openSync(join(place, "a"), "w");
    fs.fchmodSync(file, 0o4755);
    return (fs.fstatSync(file).mode & 0o7777).toString(8);
  });
}

function memory() {
  const taken = Buffer.alloc(200 * MIB, 1);
  return taken.reduce((sum, byte) => sum + byte, 0) / MIB;
}

function recursion() {
  const deeper = (left) => (left === 0 ? 0 : 1 + deeper(left - 1));
  const depth = deeper(5_000);
  try {
    deeper(Infinity);
  } catch (error) {
    if (error instanceof RangeError) return depth;
  }
  return "no limit";
}

async function crypto() {
  await promisify(scrypt)(randomBytes(16), "salt", 32);
  gunzipSync(gzipSync(randomBytes(1000)));
  return createHash("sha256").update("").digest("hex").slice(0, 8);
}

// A loop with timers, promises, and the threads that read files.
async function loop() {
  await Promise.all(Array.from({ length: 50 }, () => after(10)));
  const texts = await Promise.all(
    Array.from({ length: 20 }, () => fs.promises.readFile("/proc/self/comm", "utf8")));
  return texts.length;
}

function zone() {
  return new Date(Date.UTC(2026, 6, 1, 10)).toLocaleString("de-DE", { timeZone: "Europe/Berlin" });
}

const read = (path) => fs.readFileSync(path, "utf8").split("\n")[0];

function write(path) {
  fs.writeFileSync(path, "written");
  return "written".length;
}

function connect(port) {
  return new Promise((resolve, reject) => {
    const socket = connectTo(Number(port), "127.0.0.1");
    socket.once("connect", () => socket.destroy(resolve("connected"))).once("error", reject);
  });
}

// No system call of its choice: a program makes it.
function unshare() {
  return new Promise((resolve) => {
    execFile("unshare", ["--user", "true"], (error) =>
      resolve(error ? `failed: ${error.signal ?? error.code}` : "0"));
  });
}

const jobs = {
  workers, subprocess, forked, gc: collect, heap, files, copy, memory, recursion, crypto, loop, zone,
  set_user_id: setUserId, read, write, connect, unshare,
};

async function answerTo(event) {
  const [job, ...args] = event.split(" ");
  try {
    return String(await jobs[job](...args));
  } catch (failure) {  // Whatever it is, the test is to read it.
    return `failed: ${failure}`;
  }
}

// ---- The protocol; greeter.mjs explains it. ----

function readExactly(size) {
  const data = Buffer.alloc(size);
  let filled = 0;
  while (filled < size) {
    const count = fs.readSync(0, data, filled, size - filled);
    if (count === 0) return null;
    filled += count;
  }
  return data;
}

function readFrame() {
  const header = readExactly(4);
  return header && readExactly(header.readInt32BE());
}

function dataOf(event) {
  let at = 1;
  while (event[at] >= 0x80) at += 1;
  return event.toString("utf8", at + 1);
}

function writeResult(text) {
  const data = Buffer.from(text);
  const varint = [];
  let size = data.length;
  for (; size >= 0x80; size >>>= 7) varint.push((size & 0x7f) | 0x80);
  const body = Buffer.concat([Buffer.from([0x12, ...varint, size]), data]);
  const header = Buffer.alloc(4);
  header.writeInt32BE(body.length);
  const frame = Buffer.concat([header, body]);
  for (let sent = 0; sent < frame.length; ) sent += fs.writeSync(1, frame, sent);
}

if (!isMainThread) {
  parentPort.postMessage(work(workerData));
} else if (process.argv[2] === "child") {
  process.once("message", ({ number }) =>
    process.send({ square: number * number }, () => process.disconnect()));
} else {
  for (let event = readFrame(); event !== null; event = readFrame()) {
    readFrame();  // The execution context.
    writeResult(await answerTo(dataOf(event)));
  }
}
