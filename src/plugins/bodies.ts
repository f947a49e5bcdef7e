import type { FastifyInstance } from 'fastify';
import { Problem } from '../services/problem.ts';

/** No schema is as deep; what compares or prints values would run out of stack at some thousands. */
const DEEPEST_BODY = 32;

/** Takes bodies as JSON only. */
export function jsonBodies(app: FastifyInstance): void {
  const parse = app.getDefaultJsonParser('error', 'error');
  app.removeAllContentTypeParsers();
  app.addContentTypeParser<string>(
    ['application/json', 'application/merge-patch+json'],
    { parseAs: 'string' },
    (request, text, done) => {
      // Clients that always say what their bodies are say it of a DELETE without one, too.
      if (text === '') done(null, undefined);
      else if (isTooDeep(text))
        done(new Problem('invalid-request', `the body is nested deeper than ${DEEPEST_BODY} levels`));
      // oxlint-disable-next-line typescript/no-floating-promises -- it answers by `done` alone
      else parse(request, text, done);
    },
  );
}

/** Looks at the text before it is parsed. Brackets within strings are text. */
function isTooDeep(text: string): boolean {
  let depth = 0;
  let isInString = false;
  for (let at = 0; at < text.length; at++) {
    const character = text[at];
    if (character === '"') isInString = !isInString;
    else if (isInString) at += character === '\\' ? 1 : 0;
    else if (character === '[' || character === '{') depth += 1;
    else if (character === ']' || character === '}') depth -= 1;
    if (depth > DEEPEST_BODY) return true;
  }
  return false;
}
