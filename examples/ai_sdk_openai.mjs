// Ask Gnomon with Vercel's AI SDK and its OpenAI provider (`npm install ai @ai-sdk/openai`).
//
// Start `gnomon up`, then: node examples/ai_sdk_openai.mjs "What happened today?"
import { createOpenAI } from '@ai-sdk/openai';
import { generateText } from 'ai';

const [question, baseURL = 'http://127.0.0.1:8420/v1', apiKey = 'any'] = process.argv.slice(2);
const openai = createOpenAI({ baseURL, apiKey });

const answer = await generateText({
  model: openai('gnomon'),
  prompt: question,
  tools: { web_search: openai.tools.webSearch() },
});
console.log(answer.text);
for (const source of answer.sources) console.log('source:', source.url);
