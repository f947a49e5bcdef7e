import { ask } from './ask.ts';
import type { Resource } from './standing.ts';

/** What resources are expected to have, by path; what is not in it is expected not to be there. */
type Expected = ReadonlyMap<string, object>;

interface Move {
  method: 'PUT' | 'PATCH' | 'DELETE';
  path: string;
  body?: object;
  /** What is there when it is done, by path; null for what is gone. */
  effect: Map<string, object | null>;
}

/**
 * A client that makes, changes and deletes a few resources of its own, one request after another, and remembers what
 * was acknowledged.
 */
export class Client {
  readonly #number: number;
  #expected: Expected = new Map();
  /** Was asked for, and no answer came. */
  #unanswered: Move | null = null;
  /** Answers that should not have been. */
  readonly refused: string[] = [];

  constructor(number: number) {
    this.#number = number;
  }

  /** Goes on until the connection breaks, or `onAnswer` says that it is enough. */
  async work(socketPath: string, onAnswer: () => boolean): Promise<void> {
    for (;;) {
      const move = this.#next();
      const { method, path, body } = move;
      this.#unanswered = move;
      const answer = await ask(socketPath, method, path, body);
      if (answer === null) return;
      this.#unanswered = null;
      if (answer.status < 300) this.#expected = after(this.#expected, move);
      else this.refused.push(`${method} ${path}: ${answer.status} ${JSON.stringify(answer.body)}`);
      if (!onAnswer()) return;
    }
  }

  /**
   * Compares what is recorded with what was acknowledged. What was not answered may have been done or not, but not
   * by half; it is settled by this.
   */
  complaints(resources: ReadonlyMap<string, Resource>): string[] {
    const without = misfits(this.#expected, this.#own(resources));
    const move = this.#unanswered;
    this.#unanswered = null;
    if (without.length === 0 || move === null) return without;
    const done = after(this.#expected, move);
    const withIt = misfits(done, this.#own(resources));
    if (withIt.length > 0)
      return [...without, ...withIt.map((line) => `with ${move.method} ${move.path}: ${line}`)];
    this.#expected = done;
    return [];
  }

  #own(resources: ReadonlyMap<string, Resource>): Map<string, Resource> {
    return new Map([...resources].filter(([path]) => path.endsWith(`-${this.#number}`)));
  }

  #next(): Move {
    const paths = this.#paths();
    const missing = Object.values(paths).find((path) => !this.#expected.has(path));
    // Mostly there is everything; a third of the time something goes.
    if (missing !== undefined && Math.random() < 0.6) return this.#make(missing);
    const present = [...this.#expected.keys()];
    const path = present[Math.floor(Math.random() * present.length)];
    if (path === undefined) return this.#make(paths.namespace);
    return Math.random() < 0.4 ? this.#remove(path) : this.#make(path);
  }

  #paths() {
    const n = this.#number;
    return {
      namespace: `/namespaces/n-${n}`,
      bridge: `/bridges/b-${n}`,
      link: `/links/l-${n}`,
      inner: `/links/m-${n}`,
      rule: `/nat/r-${n}`,
    };
  }

  /** Makes it, or changes it to something else; the first of what it needs if that is not there. */
  #make(path: string): Move {
    const paths = this.#paths();
    const n = this.#number;
    const any = Math.floor(Math.random() * 200);
    const put = (at: string, body: object): Move => ({
      method: 'PUT',
      path: at,
      body,
      effect: new Map([[at, body]]),
    });
    const needed = [paths.namespace, paths.bridge].find((each) => !this.#expected.has(each));
    const isNamespace = path === paths.namespace || (path !== paths.bridge && needed === paths.namespace);
    if (isNamespace) return put(paths.namespace, { sysctls: { 'net.ipv4.ip_default_ttl': String(any + 1) } });
    if (path === paths.bridge || needed !== undefined)
      return put(paths.bridge, { addresses: [`10.${n}.0.${any + 1}/24`], mtu: 1400 + any });
    const peer = { namespace: `n-${n}`, interface: 'eth0', addresses: [`10.${n}.1.${any + 1}/24`] };
    switch (path) {
      case paths.link:
        return put(path, { type: 'veth', bridge: `b-${n}`, mtu: 1300 + any, peer });
      case paths.inner:
        return put(path, {
          type: 'veth',
          interface: `m${n}`,
          peer: { ...peer, interface: 'eth1', addresses: [] },
        });
      default: {
        const namespace = n % 2 === 0 ? 'host' : `n-${n}`;
        const forward = any % 2 === 0 ? 'any' : 'established';
        return put(paths.rule, {
          type: 'masquerade',
          namespace,
          source: `10.${n}.${any}.0/24`,
          inInterface: 'x0',
          forward,
        });
      }
    }
  }

  #remove(path: string): Move {
    const { namespace, bridge, link, inner, rule } = this.#paths();
    const also =
      path === namespace
        ? [link, inner, ...(this.#number % 2 === 0 ? [] : [rule])]
        : path === bridge
          ? [link]
          : [];
    const effect = new Map([path, ...also].map((each) => [each, null]));
    return { method: 'DELETE', path: `${path}?cascade=true`, effect };
  }
}

function after(expected: Expected, { effect }: Move): Expected {
  const next = new Map(expected);
  for (const [path, fields] of effect)
    if (fields === null) next.delete(path);
    else next.set(path, fields);
  return next;
}

function misfits(expected: Expected, found: ReadonlyMap<string, Resource>): string[] {
  return [
    ...[...found.keys()].filter((path) => !expected.has(path)).map((path) => `${path} should not be there`),
    ...[...expected].flatMap(([path, fields]) => {
      const resource = found.get(path);
      if (resource === undefined) return [`${path} is lost`];
      return hasFields(resource, fields)
        ? []
        : [`${path} is not as acknowledged: ${JSON.stringify([fields, resource])}`];
    }),
  ];
}

/** Whether all that is asked for is so; lists are as long as asked for. */
export function hasFields(found: unknown, wanted: unknown): boolean {
  if (typeof wanted !== 'object' || wanted === null) return found === wanted;
  if (typeof found !== 'object' || found === null) return false;
  if (Array.isArray(wanted) && !(Array.isArray(found) && found.length === wanted.length)) return false;
  return Object.entries(wanted).every(([name, each]) =>
    hasFields((found as Record<string, unknown>)[name], each),
  );
}
