// Asks telltale's gateway with the vendors' own clients and prints one JSON line for each call: its name, and what the
// client made of the answer, or the error's class. GATEWAY is the gateway's base URL without /v1.
import OpenAI from "openai";
import Anthropic from "@anthropic-ai/sdk";

const base = process.env.GATEWAY;
const say = (name, got) => console.log(JSON.stringify({ name, ...got }));

const openai = (session) =>
  new OpenAI({ baseURL: base + "/v1", apiKey: "sk-conformance-000000000000", maxRetries: 0,
    defaultHeaders: { "telltale-session": session, "telltale-user": "user-7", "telltale-tag-team": "support" } });
const anthropic = (session) =>
  new Anthropic({ baseURL: base, apiKey: "sk-ant-conformance-0000000000", maxRetries: 0,
    defaultHeaders: { "telltale-session": session, "telltale-user": "user-7" } });

const messages = [{ role: "system", content: "You are a support assistant." }, { role: "user", content: "How do I get a refund?" }];

async function attempt(name, f) {
  try {
    say(name, await f());
  } catch (err) {
    say(name, { error: err.constructor.name, status: err.status, code: err.code, message: String(err.message).slice(0, 200) });
  }
}

await attempt("openai-chat", async () => {
  const r = await openai("openai-chat").chat.completions.create({ model: "sim", messages, temperature: 0.2, seed: 11, max_tokens: 100, logprobs: true, top_logprobs: 3 });
  return { text: r.choices[0].message.content, usage: r.usage.total_tokens, finish: r.choices[0].finish_reason, logprobs: r.choices[0].logprobs.content.length };
});
await attempt("openai-chat-stream", async () => {
  const s = await openai("openai-chat-stream").chat.completions.create({ model: "sim", messages, seed: 11, stream: true, stream_options: { include_usage: true } });
  let text = "", usage = 0, chunks = 0;
  for await (const c of s) { text += c.choices[0]?.delta?.content ?? ""; usage = c.usage?.total_tokens ?? usage; chunks++; }
  return { text, usage, chunks };
});
await attempt("openai-chat-stream-no-usage", async () => {
  const s = await openai("openai-chat-stream-no-usage").chat.completions.create({ model: "sim", messages, seed: 11, stream: true });
  let text = "", usage = false;
  for await (const c of s) { text += c.choices[0]?.delta?.content ?? ""; usage ||= c.usage != null; }
  return { text, sawUsage: usage };
});
await attempt("openai-responses", async () => {
  const r = await openai("openai-responses").responses.create({ model: "sim", input: "How do I get a refund?" });
  return { text: r.output_text, usage: r.usage.total_tokens };
});
await attempt("openai-responses-stream", async () => {
  const s = await openai("openai-responses-stream").responses.create({ model: "sim", input: "How do I get a refund?", stream: true });
  let text = "", last = "", numbers = [];
  for await (const e of s) { if (e.type === "response.output_text.delta") text += e.delta; last = e.type; numbers.push(e.sequence_number); }
  return { text, last, ordered: numbers.every((n, i) => i === 0 || n > numbers[i - 1]) };
});
await attempt("openai-completions", async () => {
  const r = await openai("openai-completions").completions.create({ model: "sim", prompt: "How do I get a refund?", max_tokens: 50 });
  return { text: r.choices[0].text };
});
await attempt("openai-embeddings", async () => {
  const r = await openai("openai-embeddings").embeddings.create({ model: "sim", input: ["one", "two"] });
  return { vectors: r.data.length, usage: r.usage.total_tokens };
});
await attempt("openai-models", async () => {
  const r = await openai("openai-models").models.list();
  return { models: r.data.length };
});
await attempt("openai-moderations", async () => {
  const r = await openai("openai-moderations").moderations.create({ input: "hello" });
  return { results: r.results.length };
});
await attempt("openai-bad-request", async () => {
  await openai("openai-bad-request").chat.completions.create({ model: "sim", messages: [] });
  return { text: "answered" };
});
await attempt("openai-abort", async () => {
  const signal = AbortSignal.timeout(30);
  await openai("openai-abort").chat.completions.create({ model: "sim", messages, stream: true }, { signal }).catch((err) => {
    if (err.constructor.name !== "APIUserAbortError") throw err;
  });
  return { aborted: signal.aborted };
});
await attempt("anthropic-messages", async () => {
  const r = await anthropic("anthropic-messages").messages.create({ model: "sim", max_tokens: 100, system: "You are a support assistant.", messages: messages.slice(1) });
  return { text: r.content[0].text, stop: r.stop_reason, usage: r.usage.output_tokens };
});
await attempt("anthropic-stream", async () => {
  const events = [];
  const s = anthropic("anthropic-stream").messages.stream({ model: "sim", max_tokens: 100, messages: messages.slice(1) });
  s.on("streamEvent", (e) => { if (events.at(-1) !== e.type) events.push(e.type); });
  const r = await s.finalMessage();
  return { text: r.content[0].text, stop: r.stop_reason, usage: r.usage.output_tokens, events };
});
await attempt("anthropic-count-tokens", async () => {
  const r = await anthropic("anthropic-count-tokens").messages.countTokens({ model: "sim", messages: messages.slice(1) });
  return { tokens: r.input_tokens };
});
await attempt("anthropic-bad-request", async () => {
  await anthropic("anthropic-bad-request").messages.create({ model: "sim", max_tokens: 0, messages: [] });
  return { text: "answered" };
});
