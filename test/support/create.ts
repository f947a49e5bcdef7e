import { expect } from 'vitest';
import type { Daemon } from './daemon.ts';

/** Creates one after another, each of which must be ready at once; if one isn't, what was answered is shown. */
export async function create(request: Daemon['request'], path: string, ...bodies: object[]): Promise<void> {
  for (const body of bodies) {
    const answer = await request.post(path).send(body);
    expect([answer.status, answer.body]).toMatchObject([201, { status: { state: 'ready' } }]);
  }
}
