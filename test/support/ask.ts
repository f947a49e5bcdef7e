import { request } from 'node:http';

export interface Answer {
  status: number;
  body: Record<string, unknown>;
}

/** One request over a unix socket; null if the connection broke before all of the answer was there. */
export async function ask(
  socketPath: string,
  method: string,
  path: string,
  body?: object,
): Promise<Answer | null> {
  return new Promise((resolve) => {
    const headers = body === undefined ? {} : { 'content-type': 'application/json' };
    const sent = request({ socketPath, method, path, headers, agent: false }, (response) => {
      let text = '';
      response.setEncoding('utf8');
      response.on('data', (part: string) => (text += part));
      response.on('end', () => {
        if (!response.complete) resolve(null);
        else resolve({ status: response.statusCode ?? 0, body: parse(text) });
      });
      response.on('error', () => resolve(null));
      response.on('close', () => resolve(null));
    });
    sent.on('error', () => resolve(null));
    sent.end(body === undefined ? undefined : JSON.stringify(body));
  });
}

function parse(text: string): Record<string, unknown> {
  return text.startsWith('{') ? (JSON.parse(text) as Record<string, unknown>) : {};
}
