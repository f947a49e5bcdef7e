import { setTimeout as sleep } from 'node:timers/promises';
import { describe, expect, it } from 'vitest';
import { ask } from '../support/ask.ts';
import { changes, ruleChanges, type Request } from '../support/changes.ts';
import { kernelState, leftBehind } from '../support/kernel-state.ts';
import { killAt, storePointsOf, watchTools } from '../support/points.ts';
import { isLong, reportFigures, spread } from '../support/rounds.ts';
import { directoryToTearDown, startServer, type Server } from '../support/server.ts';
import { recorded, settledComplaints } from '../support/standing.ts';

const all = [...changes, ...ruleChanges];
/** A point takes about a second, on a machine that is busy with other things too. */
const TIMEOUT_MS = isLong ? 3_600_000 : 120_000;

describe('netnsd is killed in the middle of a change, and started again', () => {
  it('leaves nothing half at any step of a tool', { timeout: TIMEOUT_MS }, async () => {
    const tools = watchTools();
    const world = await World.make();
    let count = 0;
    for (const { of, before, change } of all) {
      await world.rebuild(before, change);
      const points = await tools.pointsOf(async () => world.change());
      expect(points.length).toBeGreaterThan(0);
      await world.rebuild(before, change);
      const chosen = spread(points, 1);
      for (const [at, point] of chosen.entries()) {
        tools.stopAt(point);
        let isOver = false;
        const answer = world.change().finally(() => (isOver = true));
        const stopped = await tools.stopped(() => isOver);
        await world.kill();
        await answer;
        // Sometimes the tool goes on with what it was given while nobody is there, sometimes until netnsd is.
        if (stopped !== null && at % 2 === 1) await goOn(stopped);
        tools.disarm();
        await world.check(`${of}: ${JSON.stringify(point)} of ${points.length}`);
      }
      count += chosen.length;
    }
    report('each step of a tool', count);
  });

  it('leaves nothing half at any write of the store', { timeout: TIMEOUT_MS }, async () => {
    const world = await World.make();
    let count = 0;
    for (const { of, before, change } of all) {
      await world.rebuild(before, change);
      const points = await storePointsOf(world.pid, async () => world.change());
      expect(points.length).toBeGreaterThan(1);
      await world.rebuild(before, change);
      const chosen = spread(points, 1);
      for (const point of chosen) {
        await killAt(world.pid, point);
        expect(await world.change()).toBeNull();
        await world.kill();
        await world.check(`${of}: ${JSON.stringify(point)} of ${points.length}`);
      }
      count += chosen.length;
    }
    report('each write of the journal and the store', count);
  });
});

function report(where: string, count: number): void {
  reportFigures(
    `dying anywhere converges: ${where}`,
    `${count} points of ${all.length} changes`,
    'each time all as before, or all made',
  );
}

async function goOn(pid: number): Promise<void> {
  try {
    process.kill(pid, 'SIGCONT');
  } catch {
    // Its tracer has ended with netnsd, and it with that.
  }
  await sleep(20);
}

/** A netnsd with something before a change, which is there again after each check. */
class World {
  #server: Server;
  #before: readonly Request[] = [];
  #change: Request = ['delete', ''];
  #kernel: Record<string, unknown> = {};
  #store: unknown = null;

  private constructor(server: Server) {
    this.#server = server;
  }

  static async make(): Promise<World> {
    return new World(await start(directoryToTearDown()));
  }

  get pid(): number {
    return this.#server.pid;
  }

  async change(): Promise<number | null> {
    return this.#send(this.#change);
  }

  async kill(): Promise<void> {
    await this.#server.end('SIGKILL');
  }

  /** Has all as it is to be before the change. */
  async rebuild(before: readonly Request[], change: Request): Promise<void> {
    this.#before = before;
    this.#change = change;
    for (const path of (await recorded(this.#server.socketPath)).keys())
      await ask(this.#server.socketPath, 'DELETE', `${path}?cascade=true`);
    for (const request of this.#before) expect(await this.#send(request)).toBe(201);
    this.#kernel = await kernelState();
    this.#store = await this.#stored();
  }

  /** Starts netnsd again: now nothing is done, or all. */
  async check(where: string): Promise<void> {
    this.#server = await start(this.#server.stateDir);
    const { socketPath } = this.#server;
    const complaints = await settledComplaints(socketPath);
    const store = await this.#stored();
    const isUndone = JSON.stringify(store) === JSON.stringify(this.#store);
    const differences = isUndone ? await this.#differences() : [];
    expect({ where, isUndone, complaints, differences }).toEqual({
      where,
      isUndone,
      complaints: [],
      differences: [],
    });
    if (isUndone) return;
    expect(await this.#isMade()).toBe(true);
    await this.rebuild(this.#before, this.#change);
  }

  /** A namespace that is made anew is another one, and a rule that is put back stands at the end of its chain. */
  async #differences(): Promise<string[]> {
    const isNamed = this.#change[0] === 'delete' && this.#change[1].startsWith('/namespaces/');
    return (await leftBehind(this.#kernel)).filter(
      (line) => !/the order differs$/.test(line) && !(isNamed && /^[-+] \/run\/netns: /.test(line)),
    );
  }

  /** Not what was observed: that is told by the kernel. */
  async #stored(): Promise<unknown> {
    const resources = await recorded(this.#server.socketPath);
    return [...resources].map(([path, { status: _status, ...rest }]) => [path, rest]);
  }

  async #isMade(): Promise<boolean> {
    const [method, path, body] = this.#change;
    const bare = path.replace(/\?.*/, '');
    if (method === 'delete') return (await ask(this.#server.socketPath, 'GET', bare))?.status === 404;
    const name = method === 'post' ? `/${(body as { name: string }).name}` : '';
    const found = await ask(this.#server.socketPath, 'GET', `${bare}${name}`);
    expect(found?.body).toMatchObject(withoutNulls(body));
    return true;
  }

  async #send([method, path, body]: Request): Promise<number | null> {
    return (await ask(this.#server.socketPath, method.toUpperCase(), path, body))?.status ?? null;
  }
}

/** In a merge patch null takes away, RFC 7396. */
function withoutNulls(body: object | undefined): object {
  return Object.fromEntries(
    Object.entries(body ?? {}).flatMap(([name, each]: [string, unknown]) =>
      each === null
        ? []
        : [[name, typeof each === 'object' && !Array.isArray(each) ? withoutNulls(each as object) : each]],
    ),
  );
}

/** Without repairs, so that what is right is so by what is done at the start alone. */
async function start(stateDir: string): Promise<Server> {
  return startServer(['--reconcile', 'off'], { stateDir });
}
