// Tools that the server runs, through the AI SDK; the outcome is printed as JSON.
// `provider` is xai or openai, `mcp` the address of a remote MCP server.
import { createOpenAI } from '@ai-sdk/openai';
import { createXai } from '@ai-sdk/xai';
import * as ai from 'ai';

const [provider, baseURL, mcp] = process.argv.slice(2);
const made = provider === 'xai'
  ? createXai({ baseURL, apiKey: 'k' })
  : createOpenAI({ baseURL, apiKey: 'k' });
const tools = provider === 'xai'
  ? { code_execution: made.tools.codeExecution(),
      port: made.tools.mcpServer({ serverUrl: mcp, serverLabel: 'port' }) }
  : { code_interpreter: made.tools.codeInterpreter(),
      port: made.tools.mcp({ serverUrl: mcp, serverLabel: 'port', requireApproval: 'never' }) };
const model = made.responses('gnomon');
const whole = await ai.generateText({ model, prompt: 'How high?', tools });
const errors = [];
const stream = ai.streamText({ model, prompt: 'How high?', tools,
  onError: ({ error }) => errors.push(String(error)) });
const parts = [];
for await (const part of stream.fullStream) parts.push(part.type);
const kinds = r => r.content.map(part => part.type);
console.log(JSON.stringify({ text: whole.text, kinds: kinds(whole), streamed: await stream.text,
  parts: [...new Set(parts)], errors }));
