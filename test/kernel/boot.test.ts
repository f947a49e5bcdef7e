import { join } from 'node:path';
import Database from 'better-sqlite3';
import { describe, expect, it } from 'vitest';
import { startDaemon } from '../support/daemon.ts';
import { temporaryDirectory } from '../support/server.ts';
import { run } from '../support/shell.ts';

describe('after the machine was started again', () => {
  it('a namespace that happens to have the name and the inode of one of ours is somebody else’s', async () => {
    const stateDir = temporaryDirectory();
    const first = await startDaemon({ stateDir });
    expect((await first.request.post('/namespaces').send({ name: 'blue' })).status).toBe(201);
    await first.stop();
    // What the store then knows: an inode of another boot.
    const database = new Database(join(stateDir, 'netnsd.db'));
    database.exec(
      `UPDATE resource SET assigned = json_set(assigned, '$.bootId', 'another') WHERE name = 'blue'`,
    );
    database.close();
    const { request } = await startDaemon({ stateDir });
    expect((await request.get('/namespaces/blue')).body.status).toMatchObject({ state: 'drifted' });
    const link = { name: 'v0', type: 'veth', peer: { interface: 'eth0', namespace: 'blue' } };
    expect((await request.post('/links').send(link)).body.type).toBe('/problems/foreign-object');
    expect((await request.delete('/namespaces/blue')).status).toBe(204);
    expect(await run('ip', 'netns')).toContain('blue');
    await run('ip', 'netns', 'delete', 'blue');
  });
});
