import { describe, expect, test } from 'vitest';
import { sharedDaemon } from '../support/daemon.ts';

const daemon = sharedDaemon();

describe('the operation of a change', () => {
  test('tells what, when, by whom, how it ended, and what ran', async () => {
    const { headers } = await daemon().request.post('/namespaces').send({ name: 'blue' }).expect(201);
    const { body } = await daemon()
      .request.get(headers['operation'] ?? '')
      .expect(200);
    expect(body).toMatchObject({
      id: expect.stringMatching(/^\d+$/),
      action: 'create',
      kind: 'namespace',
      name: 'blue',
      actor: expect.stringMatching(/^127\.0\.0\.1 port \d+$/),
      state: 'succeeded',
      problem: null,
      processes: 2,
      commands: [
        { command: 'ip netns add blue', exitCode: 0, stderr: '' },
        { command: 'ip netns set blue auto', exitCode: 0, stderr: '' },
        { command: 'ip -n blue link set dev lo up', exitCode: 0, stderr: '' },
      ],
    });
    expect(body.durationMs).toBeGreaterThan(0);
    expect(Math.abs(Date.parse(body.startedAt) - Date.now())).toBeLessThan(10_000);
  });

  test('tells why one was refused', async () => {
    const { headers, body: problem } = await daemon().request.delete('/links/none').expect(404);
    const { body } = await daemon()
      .request.get(headers['operation'] ?? '')
      .expect(200);
    expect(body).toMatchObject({
      action: 'delete',
      state: 'refused',
      commands: [],
      requestId: problem.requestId,
      problem: { slug: 'not-found', detail: problem.detail },
    });
  });

  test('tells which command failed, with its exit code and what it said', async () => {
    const { headers, body: problem } = await daemon()
      .request.post('/bridges')
      .send({ name: 'uplink0' })
      .expect(409);
    const { body } = await daemon()
      .request.get(headers['operation'] ?? '')
      .expect(200);
    expect(body).toMatchObject({ state: 'failed', problem: { slug: 'foreign-object' } });
    const failed = body.commands.filter(({ exitCode }: { exitCode: number }) => exitCode !== 0);
    expect(failed).toEqual([
      { command: problem.command, exitCode: problem.exitCode, stderr: problem.stderr },
    ]);
  });

  test('tells which of several sysctls was refused, those before it as done, and none after it', async () => {
    const { headers, body: problem } = await daemon()
      .request.post('/namespaces')
      .send({
        name: 'blue',
        sysctls: {
          'net.ipv4.conf.all.rp_filter': '1',
          'net.ipv4.ip_local_port_range': '9 1',
          'net.ipv4.ip_unprivileged_port_start': '80',
        },
      })
      .expect(422);
    const { body } = await daemon()
      .request.get(headers['operation'] ?? '')
      .expect(200);
    const inBlue = 'ip netns exec blue sysctl -w';
    const refused = `${inBlue} net.ipv4.ip_local_port_range='9 1'`;
    expect(problem.command).toBe(refused);
    const ran = body.commands.filter(({ command }: { command: string }) => command.includes('sysctl -w'));
    expect(ran).toMatchObject([
      { command: `${inBlue} net.ipv4.conf.all.rp_filter=1`, exitCode: 0, stderr: '' },
      { command: refused, exitCode: 64, stderr: problem.stderr },
    ]);
  });

  test('there is none for a request that does not fit', async () => {
    const { body: before } = await daemon().request.get('/operations?limit=1').expect(200);
    const { headers } = await daemon().request.post('/bridges').send({}).expect(400);
    expect(headers).not.toHaveProperty('operation');
    const { body } = await daemon().request.get('/operations?limit=1').expect(200);
    expect(body).toEqual(before);
  });
});

describe('GET /operations', () => {
  test('answers in pages, the newest first', async () => {
    for (const name of ['a', 'b', 'c']) await daemon().request.delete(`/links/${name}`).expect(404);
    const { body: first } = await daemon().request.get('/operations?limit=2').expect(200);
    expect(first.items.map(({ name }: { name: string }) => name)).toEqual(['c', 'b']);
    const { body: second } = await daemon()
      .request.get(`/operations?limit=1&after=${first.next}`)
      .expect(200);
    expect(second.items.map(({ name }: { name: string }) => name)).toEqual(['a']);
  });

  test.each(['0', '-1', 'x', '1e3', '9999999999999999', ''])('answers 400 for ?after=%s', async (after) => {
    const { body } = await daemon().request.get(`/operations?after=${after}`).expect(400);
    expect(body.errors).toEqual([expect.objectContaining({ pointer: 'after' })]);
  });
});

describe('GET /operations/ID', () => {
  test('answers 404 for one that is not there', async () => {
    const { body } = await daemon().request.get('/operations/999999').expect(404);
    expect(body.type).toBe('/problems/not-found');
  });

  test.each(['0', '01', '1.0', 'x', '1%00', '-1', '%31%27--'])(
    'answers 400 for what is no number: %s',
    async (id) => {
      const { body } = await daemon().request.get(`/operations/${id}`).expect(400);
      expect(body.errors).toEqual([expect.objectContaining({ pointer: 'id' })]);
    },
  );
});
