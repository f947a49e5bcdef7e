import assert from 'node:assert/strict';
import { ask } from './ask.ts';
import type { Request } from './changes.ts';
import { kernelState, leftBehind } from './kernel-state.ts';
import { hasFields } from './load.ts';
import { directoryToTearDown, startServer, type Server } from './server.ts';
import { recorded, settledComplaints } from './standing.ts';

/** A netnsd with something before a change, which is there again after each check. */
export class World {
  #server: Server;
  readonly #args: readonly string[];
  #before: readonly Request[] = [];
  #change: Request = ['delete', ''];
  #kernel: Record<string, unknown> = {};
  #store: unknown = null;

  private constructor(server: Server, args: readonly string[]) {
    this.#server = server;
    this.#args = args;
  }

  static async make(args: readonly string[] = []): Promise<World> {
    return new World(await start(directoryToTearDown(), args), args);
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
    for (const path of (await recorded(this.#server.socketPath)).keys()) {
      const answer = await ask(this.#server.socketPath, 'DELETE', `${path}?cascade=true`);
      assert.match(String(answer?.status), /^(204|404)$/, `${path}: ${JSON.stringify(answer?.body)}`);
    }
    for (const request of this.#before) assert.equal(await this.#send(request), 201);
    this.#kernel = await kernelState();
    this.#store = await this.#stored();
  }

  /** Starts netnsd again: now nothing is done, or all. */
  async restart(where: string): Promise<void> {
    this.#server = await start(this.#server.stateDir, this.#args);
    await this.check(where);
  }

  /** Nothing is to be done, or all; with `isUndone` only the one. Then all is as before the change again. */
  async check(where: string, isToBeUndone?: boolean): Promise<void> {
    const { socketPath } = this.#server;
    const complaints = await settledComplaints(socketPath);
    const store = await this.#stored();
    const isUndone = JSON.stringify(store) === JSON.stringify(this.#store);
    const differences = isUndone ? await this.#differences() : [];
    assert.deepEqual(
      { where, isUndone, complaints, differences },
      { where, isUndone: isToBeUndone ?? isUndone, complaints: [], differences: [] },
    );
    if (isUndone) return;
    assert.ok(await this.#isMade(), `${where}: it is made by half`);
    await this.rebuild(this.#before, this.#change);
  }

  /** A namespace that is made anew is another one, and a rule that is put back stands at the end of its chain. */
  async #differences(): Promise<readonly string[]> {
    const isNamed = this.#change[0] === 'delete' && this.#change[1].startsWith('/namespaces/');
    return leftBehind(
      this.#kernel,
      (line) => !line.endsWith('the order differs') && !(isNamed && /^[-+] \/run\/netns: /.test(line)),
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
    return hasFields(found?.body, withoutNulls(body));
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
        : [[name, typeof each === 'object' && !Array.isArray(each) ? withoutNulls(each) : each]],
    ),
  );
}

/** Without repairs, so that what is right is so by what is done at the start alone. */
async function start(stateDir: string, args: readonly string[]): Promise<Server> {
  return startServer(['--reconcile', 'off', ...args], { stateDir });
}
