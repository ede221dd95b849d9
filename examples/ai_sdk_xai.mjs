// Ask Gnomon with Vercel's AI SDK and its xAI provider (`npm install ai @ai-sdk/xai`).
//
// Start `gnomon up`, then: node examples/ai_sdk_xai.mjs "What happened today?"
import { createXai } from '@ai-sdk/xai';
import { streamText } from 'ai';

const [question, baseURL = 'http://127.0.0.1:8420/v1', apiKey = 'any'] = process.argv.slice(2);
const xai = createXai({ baseURL, apiKey });

const answer = streamText({
  model: xai.responses('gnomon'),
  prompt: question,
  tools: { web_search: xai.tools.webSearch(), x_search: xai.tools.xSearch() },
});
for await (const piece of answer.textStream) process.stdout.write(piece);
console.log();
for (const source of await answer.sources) console.log('source:', source.url);
