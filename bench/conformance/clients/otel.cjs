// Asks a model with one of the instrumented clients, which send what they saw to an OTLP endpoint.
// usage: node otel.cjs CLIENT, where CLIENT is otel, traceloop, openinference, langfuse or vercel.
// MODEL is the model's base URL with /v1, OTLP the endpoint's base URL without a path.
const client = process.argv[2];
process.env.OTEL_NODE_RESOURCE_DETECTORS ??= "none"; // nothing about this machine is sent
const { MODEL, OTLP } = process.env;
const messages = [{ role: "system", content: "You are a support assistant." }, { role: "user", content: "How do I get a refund?" }];

async function ask(OpenAI, wrap = (x) => x) {
  const openai = wrap(new OpenAI({ baseURL: MODEL, apiKey: "sk-conformance-000000000000", maxRetries: 0 }));
  await openai.chat.completions.create({ model: "sim", messages, temperature: 0.2, max_tokens: 100, seed: 11 });
  const s = await openai.chat.completions.create({ model: "sim", messages, seed: 12, stream: true, stream_options: { include_usage: true } });
  for await (const _ of s);
  await openai.chat.completions.create({ model: "sim", messages: [] }).catch(() => {});
}

function sdk(extra) {
  const { NodeSDK } = require("@opentelemetry/sdk-node");
  const { OTLPTraceExporter } = require("@opentelemetry/exporter-trace-otlp-proto");
  const { OTLPLogExporter } = require("@opentelemetry/exporter-logs-otlp-proto");
  const { BatchLogRecordProcessor } = require("@opentelemetry/sdk-logs");
  return new NodeSDK({
    serviceName: "conformance-" + client,
    traceExporter: new OTLPTraceExporter({ url: OTLP + "/v1/traces" }),
    logRecordProcessors: [new BatchLogRecordProcessor({ exporter: new OTLPLogExporter({ url: OTLP + "/v1/logs" }) })],
    ...extra,
  });
}

const clients = {
  async otel() {
    process.env.OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT = "true";
    const { OpenAIInstrumentation } = require("@opentelemetry/instrumentation-openai");
    const s = sdk({ instrumentations: [new OpenAIInstrumentation({ captureMessageContent: true })] });
    s.start();
    await ask(require("openai").OpenAI);
    await s.shutdown();
  },
  async traceloop() {
    const traceloop = require("@traceloop/node-server-sdk");
    const OpenAI = require("openai").OpenAI;
    traceloop.initialize({ appName: "conformance-traceloop", baseUrl: OTLP, apiKey: "none", disableBatch: true, silenceInitializationMessage: true, instrumentModules: { openAI: OpenAI } });
    await ask(OpenAI);
    await traceloop.forceFlush();
  },
  async openinference() {
    const { OpenAIInstrumentation } = require("@arizeai/openinference-instrumentation-openai");
    const instrumentation = new OpenAIInstrumentation();
    const s = sdk({ instrumentations: [instrumentation] });
    s.start();
    const openai = require("openai");
    instrumentation.manuallyInstrument(openai.OpenAI ?? openai);
    await ask(openai.OpenAI);
    await s.shutdown();
  },
  async langfuse() {
    const { LangfuseSpanProcessor } = require("@langfuse/otel");
    const { observeOpenAI } = require("@langfuse/openai");
    const processor = new LangfuseSpanProcessor({ publicKey: "pk-lf-conformance", secretKey: "sk-lf-conformance", baseUrl: OTLP });
    const { NodeSDK } = require("@opentelemetry/sdk-node");
    const s = new NodeSDK({ serviceName: "conformance-langfuse", spanProcessors: [processor] });
    s.start();
    await ask(require("openai").OpenAI, (o) => observeOpenAI(o, { sessionId: "session-9", userId: "user-7", tags: ["support"] }));
    await processor.forceFlush();
    await s.shutdown();
  },
  async vercel() {
    const s = sdk({});
    s.start();
    const { generateText, streamText } = require("ai");
    const { createOpenAI } = require("@ai-sdk/openai");
    const provider = createOpenAI({ baseURL: MODEL, apiKey: "sk-conformance-000000000000" });
    const options = { model: provider.chat("sim"), system: messages[0].content, prompt: messages[1].content, temperature: 0.2, seed: 11, maxOutputTokens: 100, maxRetries: 0,
      experimental_telemetry: { isEnabled: true, functionId: "support", metadata: { team: "support" } } };
    await generateText(options);
    const stream = streamText({ ...options, seed: 12 });
    for await (const _ of stream.textStream);
    await s.shutdown();
  },
};

if (!clients[client]) {
  console.error(`unknown client ${client}: want ${Object.keys(clients).join(", ")}`);
  process.exit(2);
}
clients[client]().then(() => process.exit(0), (err) => { console.error(err); process.exit(1); });
