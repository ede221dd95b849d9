// What a program does with the AI SDK, against the server whose address is given; the outcome is
// printed as JSON. `provider` is xai, xai-chat, openai or openai-chat.
import { createOpenAI } from '@ai-sdk/openai';
import { createXai } from '@ai-sdk/xai';
import * as ai from 'ai';
import { z } from 'zod';

const [provider, task, baseURL] = process.argv.slice(2);
const made = provider.startsWith('xai')
  ? createXai({ baseURL, apiKey: 'k' })
  : createOpenAI({ baseURL, apiKey: 'k' });
const model = provider.endsWith('-chat')
  ? made.chat('gnomon')
  : made.responses('gnomon');
const searches = provider.startsWith('xai')
  ? { web_search: made.tools.webSearch(), x_search: made.tools.xSearch() }
  : { web_search: made.tools.webSearch() };
const chat = provider.endsWith('-chat');
const tide = ai.tool({
  description: 'The tide at a place.',
  inputSchema: z.object({ place: z.string() }),
  execute: async ({ place }) => `2.1 m at the ${place}`,
});
const prompt = 'Is the north bridge open?';
const urls = sources => sources.map(source => source.url);

const tasks = {
  async generate() {
    const r = await ai.generateText({ model, prompt, ...(chat ? {} : { tools: searches }) });
    return { text: r.text, sources: urls(r.sources), output: r.usage.outputTokens,
      finish: r.finishReason, warnings: r.warnings };
  },
  async stream() {
    const errors = [];
    const r = ai.streamText({ model, prompt, ...(chat ? {} : { tools: searches }),
      onError: ({ error }) => errors.push(String(error)) });
    const pieces = [];
    for await (const piece of r.textStream) pieces.push(piece);
    return { pieces, sources: urls(await r.sources), finish: await r.finishReason,
      output: (await r.usage).outputTokens, errors };
  },
  async tools() {
    const stopWhen = (ai.stepCountIs ?? ai.isStepCount)(3);
    const r = await ai.generateText({ model, prompt, tools: { tide }, stopWhen });
    return { text: r.text, steps: r.steps.length, calls: r.steps[0].toolCalls.map(c => c.input),
      results: r.steps[0].toolResults.map(t => t.output) };
  },
  async toolstream() {
    const errors = [];
    const stopWhen = (ai.stepCountIs ?? ai.isStepCount)(3);
    const r = ai.streamText({ model, prompt, tools: { tide }, stopWhen,
      onError: ({ error }) => errors.push(String(error)) });
    return { text: await r.text, steps: (await r.steps).length, errors };
  },
  async object() {
    const schema = z.object({ name: z.string(), closed: z.boolean() });
    const r = await ai.generateText({ model, prompt, output: ai.Output.object({ schema }) });
    return { object: r.output };
  },
  async failure() {
    try {
      await ai.generateText({ model, prompt, maxRetries: 0 });
    } catch (error) {
      return { status: error.statusCode, message: error.message };
    }
  },
};

console.log(JSON.stringify(await tasks[task]()));
