// A producer and reader written from docs/reference/messages.md alone, with Node's own library.
// `submit JOB` submits two images and their ids, waits for the end, verifies all that is read, and prints
// it; `read JOB` does the latter; `predict` has two images predicted, and prints the answer.

import { createHash, createHmac, randomBytes, randomUUID, timingSafeEqual } from "node:crypto";
import * as http from "node:http";
import * as https from "node:https";
import { connect } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";

const { env } = process;
const sha256 = (data) => createHash("sha256").update(data).digest("hex");

// S3, addressed by path, signed by AWS's Signature Version 4.

async function s3(method, key, { body = "", headers = {} } = {}) {
  const path = `/${env.FORNADA_S3_BUCKET}/${key}`.split("/").map(encodeURIComponent).join("/");
  const url = new URL(env.FORNADA_S3_ENDPOINT_URL + path);
  const time = new Date().toISOString().replace(/[-:]|\.\d+/g, "");
  const region = env.FORNADA_S3_REGION ?? "us-east-1";
  const scope = `${time.slice(0, 8)}/${region}/s3/aws4_request`;
  const signed = { ...headers, host: url.host, "x-amz-content-sha256": sha256(body), "x-amz-date": time };
  const names = Object.keys(signed).sort();
  const request = [
    method, path, "", ...names.map((name) => `${name}:${signed[name]}`), "", names.join(";"), sha256(body),
  ].join("\n");
  const hmac = (signingKey, text) => createHmac("sha256", signingKey).update(text).digest();
  const signingKey = scope.split("/").reduce(hmac, `AWS4${env.FORNADA_S3_SECRET_ACCESS_KEY}`);
  const signature = hmac(signingKey, `AWS4-HMAC-SHA256\n${time}\n${scope}\n${sha256(request)}`).toString("hex");
  const authorization =
    `AWS4-HMAC-SHA256 Credential=${env.FORNADA_S3_ACCESS_KEY_ID}/${scope}, ` +
    `SignedHeaders=${names.join(";")}, Signature=${signature}`;
  return new Promise((resolve, reject) => {
    const { request: send } = url.protocol === "https:" ? https : http;
    const sending = send(url, { method, headers: { ...signed, authorization } }, async (answer) => {
      const chunks = [];
      for await (const chunk of answer) chunks.push(chunk);
      resolve({ status: answer.statusCode, body: Buffer.concat(chunks) });
    });
    sending.on("error", reject);
    sending.end(body);
  });
}

async function put(key, body, headers = {}) {
  const answer = await s3("PUT", key, { body, headers });
  if (answer.status !== 200) throw new Error(`PUT ${key}: ${answer.status} ${answer.body}`);
}

async function get(key) {
  const answer = await s3("GET", key);
  if (answer.status === 404) return null;
  if (answer.status !== 200) throw new Error(`GET ${key}: ${answer.status} ${answer.body}`);
  return answer.body;
}

const getJson = async (key) => JSON.parse((await get(key)) ?? "null");

async function putChecked(key, body) {
  await put(key, body);
  return { key, size_bytes: Buffer.byteLength(body), sha256: sha256(body) };
}

// Redis: each command as an array of strings, one after the other; its reply.

function reply(data, at) {
  const end = data.indexOf("\r\n", at);
  if (end < 0) return null;
  const [kind, text, start] = [String.fromCharCode(data[at]), data.toString("latin1", at + 1, end), end + 2];
  if (kind === "-") throw new Error(text);
  if (kind === "$") {
    const stop = start + Number(text);
    return data.length < stop + 2 ? null : { value: data.subarray(start, stop), next: stop + 2 };
  }
  if (kind !== "*") return { value: text, next: start };
  if (text === "-1") throw new Error("no answer in time");
  return replies(data, start, Number(text));
}

function replies(data, at, count) {
  const value = [];
  for (let next = at; value.length < count; ) {
    const found = reply(data, next);
    if (found === null) return null;
    value.push(found.value);
    ({ next } = found);
    at = next;
  }
  return { value, next: at };
}

async function redis(...commands) {
  const url = new URL(env.FORNADA_REDIS_URL);
  const database = url.pathname.slice(1) || "0";
  const before = [["SELECT", database]];
  if (url.password) {
    before.unshift(["AUTH", ...[url.username, url.password].map(decodeURIComponent).filter(Boolean)]);
  }
  const socket = connect(Number(url.port || 6379), url.hostname);
  for (const words of [...before, ...commands]) {
    socket.write(`*${words.length}\r\n`);
    for (const word of words) {
      socket.write(`$${Buffer.byteLength(word)}\r\n`);
      socket.write(word);
      socket.write("\r\n");
    }
  }
  let data = Buffer.alloc(0);
  for await (const chunk of socket) {
    data = Buffer.concat([data, chunk]);
    const found = replies(data, 0, before.length + commands.length);
    if (found !== null) return found.value.slice(before.length);
  }
  throw new Error("Redis closed the connection");
}

function npy(pixels, shape) {
  const header = `{'descr': '|u1', 'fortran_order': False, 'shape': (${shape.join(", ")}), }`;
  return Buffer.concat([Buffer.from("\x93NUMPY\x01\x00\x76\x00", "latin1"), Buffer.from(`${header.padEnd(117)}\n`), pixels]);
}

function envelope(messages) {
  const id = randomUUID();
  return JSON.stringify({
    body: Buffer.from(JSON.stringify([messages, {}, {}])).toString("base64"),
    "content-encoding": "utf-8",
    "content-type": "application/json",
    headers: { lang: "js", task: "fornada.run_shard", id, root_id: id },
    properties: {
      correlation_id: id,
      delivery_mode: 2,
      priority: 0,
      delivery_info: { exchange: "", routing_key: "fornada" },
      body_encoding: "base64",
      delivery_tag: randomUUID(),
    },
  });
}

async function submit(job) {
  const model = await getJson("models/fashion-mnist/1/manifest.json");
  const shape = model.inputs[0].shape;
  const input = npy(Buffer.alloc(2 * shape.reduce((a, b) => a * b, 1)), [2, ...shape]);
  const ids = JSON.stringify(["left", "right"]);
  const manifest = {
    schema_version: 3,
    job_id: job,
    model: { name: model.name, version: model.version, sha256: model.artifact.sha256 },
    inputs: model.inputs,
    outputs: model.outputs,
    shards: [{
      format: "npy",
      item_count: 2,
      objects: [await putChecked(`jobs/${job}/input/00000000-${sha256(input).slice(0, 16)}.npy`, input)],
      item_ids: await putChecked(`jobs/${job}/ids/00000000-${sha256(ids).slice(0, 16)}.json`, ids),
    }],
    max_attempts: 5,
    created_at: new Date(await redisMs()).toISOString(),
  };
  await redis(["SADD", "fornada:open-jobs", job]);
  await put(`jobs/${job}/manifest.json`, JSON.stringify(manifest), { "if-none-match": "*" });
  await redis(
    ["ZADD", `fornada:enqueued:${job}`, String(Date.now()), "0"],
    ["LPUSH", "fornada", envelope([{ schema_version: 1, job_id: job, shard: 0 }])],
  );
}

async function redisMs() {
  const [[seconds, microseconds]] = await redis(["TIME"]);
  return Number(seconds) * 1000 + Math.floor(Number(microseconds) / 1000);
}

// Calls without a job, signed where the deployment has keys.

const deploymentKeys = (env.FORNADA_DEPLOYMENT_KEYS ?? "").split(",").filter(Boolean);

function signature(key, kind, id, data) {
  const text = `fornada:${kind}:v1\n${id}\n${sha256(data)}`;
  return createHmac("sha256", Buffer.from(key, "hex")).update(text).digest("hex");
}

async function predict() {
  const model = await getJson("models/fashion-mnist/1/manifest.json");
  const { dtype, shape } = model.inputs[0];
  const [id, client] = [randomBytes(16).toString("hex"), randomBytes(16).toString("hex")];
  const header = {
    schema_version: 3,
    id,
    client,
    model: { name: model.name, version: model.version, sha256: model.artifact.sha256 },
    item_count: 2,
    item_dtype: dtype,
    item_shape: shape,
    deadline_ms: (await redisMs()) + 30000,
  };
  const call = Buffer.concat([Buffer.from(`${JSON.stringify(header)}\n`), Buffer.alloc(2 * shape.reduce((a, b) => a * b, 1))]);
  const line = deploymentKeys.length ? `${signature(deploymentKeys[0], "call", id, call)}\n` : "";
  const [, [, frame]] = await redis(
    ["RPUSH", `fornada:predict:${env.FORNADA_QUEUE ?? "fornada"}`, Buffer.concat([Buffer.from(line), call])],
    ["BLPOP", `fornada:predicted:${client}`, "30"],
  );
  const answer = deploymentKeys.length ? frame.subarray(65) : frame;
  const isTrusted = (key) => timingSafeEqual(frame.subarray(0, 64), Buffer.from(signature(key, "answer", id, answer)));
  if (deploymentKeys.length && !deploymentKeys.some(isTrusted)) throw new Error("no key signed the answer");
  const end = answer.indexOf("\n");
  const { error, detail, item_count: items, output_count: width } = JSON.parse(answer.subarray(0, end));
  if (error) throw new Error(`${error}: ${detail}`);
  const number = (n) => answer.readFloatLE(end + 1 + 4 * n);
  return Array.from({ length: items }, (_, row) => Array.from({ length: width }, (_, n) => number(row * width + n)));
}

const numbered = (shard) => String(shard).padStart(8, "0");

async function outcomeOf(job, final, shard) {
  if (final.outcome) return final.outcome;
  const block = String(Math.floor(shard / 1000)).padStart(5, "0");
  const isDead = final.dead_ranges?.some(([first, last]) => first <= shard && shard <= last);
  const dead = isDead ? await getJson(`jobs/${job}/dead/${numbered(shard)}.json`) : null;
  return dead ?? getJson(`jobs/${job}/outcome/${block}/${numbered(shard)}.json`);
}

function rangesOf(numbers) {
  const ranges = [];
  for (const number of numbers.sort((a, b) => a - b)) {
    const last = ranges.at(-1);
    if (last?.[1] === number - 1) last[1] = number;
    else ranges.push([number, number]);
  }
  return ranges;
}

function lineOf(outcome) {
  const line = `${outcome.shard} ${outcome.status} ${outcome.data?.sha256 ?? "-"}`;
  if (outcome.schema_version < 3) return `${line}\n`;
  const failed = rangesOf((outcome.item_errors ?? []).map((error) => error.index));
  return `${line} ${outcome.item_ids_sha256 ?? "-"} ${JSON.stringify(failed)}\n`;
}

async function rowsOf(outcome) {
  const { key, inline, sha256: digest } = outcome.data;
  const data = inline === undefined ? await get(key) : Buffer.from(inline, "base64");
  if (sha256(data) !== digest) throw new Error(`${key} does not match its sha256`);
  const start = 10 + data.readUInt16LE(8);
  const numbers = Array.from({ length: (data.length - start) / 4 }, (_, n) => data.readFloatLE(start + 4 * n));
  const width = numbers.length / outcome.item_count;
  return Array.from({ length: outcome.item_count }, (_, n) => numbers.slice(n * width, (n + 1) * width));
}

async function results(job) {
  let final = null;
  while ((final = await getJson(`jobs/${job}/final.json`)) === null) await sleep(50);
  const outcomes = [];
  for (const [first, last] of final.outcome_ranges) {
    for (let shard = first; shard <= last; shard += 1) outcomes.push(await outcomeOf(job, final, shard));
  }
  const digest = sha256(outcomes.map(lineOf).join(""));
  if (digest !== final.outcomes_sha256) throw new Error(`the outcomes of ${job} are not those that it ended with`);
  const rows = await Promise.all(outcomes.filter((outcome) => outcome.status === "ok").map(rowsOf));
  return { state: final.state, digest, rows: rows.flat() };
}

const [, , command, job] = process.argv;
if (command === "submit") await submit(job);
console.log(JSON.stringify(command === "predict" ? await predict() : await results(job)));
