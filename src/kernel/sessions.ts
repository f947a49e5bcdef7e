import { HOST } from '../schemas/common.ts';
import { IpSession, type Prelude } from './ip-session.ts';
import type { Processes } from './processes.ts';
import type { Invocation } from './schedule.ts';
import { readHostSysctls } from './sysctl.ts';

/** Something to be read inside one namespace once the plan is done. */
export interface Read {
  namespace: string;
  /** `show` lines for `ip -batch`. */
  lines: string[];
  /**
   * Sysctls as they were **before** the plan changed any, since the process that reads them becomes the `ip` of that
   * namespace; in the daemon's own, where no process is needed, as they are with the plan done.
   */
  sysctls: string[];
}

export interface Answer {
  /** One array a line of the read. */
  shown: unknown[][];
  sysctls: Record<string, string>;
}

/**
 * Is told what stands in sysctls of a namespace that are about to be written, and can still throw; `isBound` if this run
 * has bound the name, so that it is not the namespace that bore it before.
 */
export type BeforeWriting = (
  namespace: string,
  values: Readonly<Record<string, string>>,
  isBound: boolean,
) => void;

/** The `ip` processes of one run, one a namespace, started when first needed and kept until the end. */
export class Sessions {
  readonly #open = new Map<string, IpSession>();
  /** What stood in sysctls before this run wrote any, by namespace: those to be read, and all that it writes. */
  readonly readings = new Map<string, Record<string, string>>();
  /** What stands in those that it has written, read after it wrote them, by namespace. */
  readonly written = new Map<string, Record<string, string>>();
  readonly #processes: Processes;
  readonly #sysctlsToRead: Map<string, string[]>;
  readonly #bound = new Set<string>();
  readonly #beforeWriting: BeforeWriting;

  constructor(processes: Processes, reads: readonly Read[], beforeWriting: BeforeWriting) {
    this.#processes = processes;
    this.#beforeWriting = beforeWriting;
    this.#sysctlsToRead = new Map();
    for (const { namespace, sysctls } of reads)
      this.#sysctlsToRead.set(namespace, [...(this.#sysctlsToRead.get(namespace) ?? []), ...sysctls]);
  }

  async of(namespace: string): Promise<IpSession> {
    return this.#open.get(namespace) ?? this.#start(namespace, []);
  }

  /** Does the prelude in a new process; one that is open already has become `ip` and can't. */
  async startWith(namespace: string, prelude: Prelude[]): Promise<void> {
    await this.#closeOne(namespace);
    await (await this.#start(namespace, prelude)).change([]);
  }

  async answer({ namespace, lines, sysctls }: Read): Promise<Answer> {
    const session = await this.of(namespace);
    const shown = await session.show(lines);
    const readings =
      namespace === HOST ? await readHostSysctls(sysctls) : (this.readings.get(namespace) ?? {});
    return { shown, sysctls: Object.fromEntries(sysctls.map((key) => [key, readings[key] ?? ''])) };
  }

  /** Tells what stands in sysctls of interfaces of the daemon's own namespace, which may have come with this run. */
  async noteHostSysctls(keys: readonly string[]): Promise<void> {
    const known = this.readings.get(HOST) ?? {};
    const unknown = keys.filter((key) => known[key] === undefined);
    if (unknown.length === 0) return;
    const values = await readHostSysctls(unknown);
    this.readings.set(HOST, { ...known, ...values });
    this.#beforeWriting(HOST, values, false);
  }

  /** Reads what has become of sysctls of the daemon's own namespace that this run has written. */
  async readBackHostSysctls(keys: readonly string[]): Promise<void> {
    if (keys.length > 0) this.written.set(HOST, await readHostSysctls(keys));
  }

  /**
   * `ip` remembers the index of a name, and a process inside a namespace keeps it alive: a process does not
   * outlast what another one takes from its namespace.
   */
  async closeThoseBehindWhichThisChanges(stage: readonly Invocation[]): Promise<void> {
    const stale = stage.flatMap(({ steps }) =>
      steps.flatMap(({ step }) => {
        if (step.step === 'namespace.delete' || step.step === 'namespace.add') {
          // What was read there says nothing of what bears the name from then on.
          this.readings.delete(step.namespace);
          this.written.delete(step.namespace);
          if (step.step === 'namespace.add') this.#bound.add(step.namespace);
          return [step.namespace];
        }
        if (step.step === 'device.move') return [step.to.namespace];
        if (
          step.step === 'device.delete' &&
          step.peer !== null &&
          step.peer.namespace !== step.device.namespace
        )
          return [step.peer.namespace];
        return [];
      }),
    );
    await Promise.all(stale.map((namespace) => this.#closeOne(namespace)));
  }

  async close(): Promise<void> {
    await Promise.all([...this.#open.keys()].map((namespace) => this.#closeOne(namespace)));
  }

  async #start(namespace: string, prelude: Prelude[]): Promise<IpSession> {
    const known = this.readings.get(namespace) ?? {};
    const written = prelude.flatMap((operation) => ('key' in operation ? [operation.key] : []));
    const wanted = namespace === HOST ? [] : [...(this.#sysctlsToRead.get(namespace) ?? []), ...written];
    const keys = [...new Set(wanted)].filter((key) => known[key] === undefined);
    const isToWait = keys.length > 0 && prelude.length > 0;
    // What was written by a process before this one may be another by what this one writes: there are two names for
    // some things, and `all` is for all.
    const before = Object.keys(this.written.get(namespace) ?? {});
    const back = prelude.length === 0 ? [] : [...new Set([...before, ...written])];
    const session = new IpSession(this.#processes, namespace, [
      ...keys.map(reading),
      ...(isToWait ? [{ do: 'wait' } as const] : []),
      ...prelude,
      ...back.map(reading),
    ]);
    this.#open.set(namespace, session);
    const read = await readingsOf(session, keys);
    this.readings.set(namespace, { ...known, ...read });
    if (isToWait) {
      this.#beforeWriting(namespace, read, this.#bound.has(namespace));
      session.proceed();
    }
    if (back.length > 0) this.written.set(namespace, await readingsOf(session, back));
    return session;
  }

  async #closeOne(namespace: string): Promise<void> {
    const session = this.#open.get(namespace);
    this.#open.delete(namespace);
    await session?.close();
  }
}

function reading(key: string): Prelude {
  return { do: 'read', key };
}

async function readingsOf(session: IpSession, keys: readonly string[]): Promise<Record<string, string>> {
  const values = await session.readings(keys.length);
  return Object.fromEntries(keys.map((key, at) => [key, values[at] ?? '']));
}
