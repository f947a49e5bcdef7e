import type { FirewallEvent } from '../kernel/firewall-monitor-text.ts';
import type { Monitor } from '../kernel/monitor.ts';
import { boundInode, inodeOfProcess } from '../kernel/namespace.ts';
import type { Processes } from '../kernel/processes.ts';
import { monitorFirewall, tellsFirewallEvents } from '../kernel/watch.ts';
import { HOST } from '../schemas/common.ts';

interface FirewallWatchOptions {
  processes: Processes;
  /** The namespaces that have rules. */
  namespaces: () => string[];
  onEvent: (namespace: string, event: FirewallEvent) => void;
  /** Events of the namespace were missed, or may have been before it was listened to. */
  onLost: (namespace: string) => void;
  onEnd: (namespace: string, why: string) => void;
}

/** Beside the daemon's own; the rules of others are seen by the sweep alone. */
const MOST_NAMESPACES = 32;

/** Listens in each namespace that has rules: the events of rules do not leave their namespace. */
export class FirewallWatch {
  readonly #options: FirewallWatchOptions;
  readonly #monitors = new Map<string, { inode: number; monitor: Monitor }>();
  readonly #stopping = new Set<Promise<void>>();
  #isPossible = false;
  /** From then on nothing looks at all rules by itself. */
  #isStarted = false;
  #stopped = false;

  constructor(options: FirewallWatchOptions) {
    this.#options = options;
  }

  /** Whether changes of all rules that can be heard of are heard of. */
  get isListening(): boolean {
    return this.#isPossible && [...this.#monitors.values()].every(({ monitor }) => monitor.isListening);
  }

  async start(): Promise<void> {
    this.#isPossible = await tellsFirewallEvents(this.#options.processes);
    await this.update();
    this.#isStarted = true;
  }

  /** Follows which namespaces have rules. */
  async update(): Promise<void> {
    if (!this.#isPossible || this.#stopped) return;
    const all = this.#options.namespaces();
    const others = all.filter((name) => name !== HOST).slice(0, MOST_NAMESPACES);
    const wanted = new Set([...(all.includes(HOST) ? [HOST] : []), ...others]);
    for (const name of this.#monitors.keys()) if (!wanted.has(name)) this.#end(name);
    await Promise.all([...wanted].map(async (name) => this.#listenIn(name)));
  }

  /** Lets go of the namespace at once if it does not bear the name any more: as long as one listens, it stays. */
  nameChanged(name: string): void {
    if (name !== HOST && this.#monitors.get(name)?.inode !== inodeOf(name)) this.#end(name);
  }

  async stop(): Promise<void> {
    this.#stopped = true;
    for (const name of this.#monitors.keys()) this.#end(name);
    await Promise.all(this.#stopping);
  }

  async #listenIn(namespace: string): Promise<void> {
    const { processes, onEvent, onLost, onEnd } = this.#options;
    this.nameChanged(namespace);
    const inode = inodeOf(namespace);
    if (inode === null || this.#monitors.has(namespace)) return;
    const monitor = monitorFirewall(processes, namespace, {
      onEvent: (event) => onEvent(namespace, event),
      onLost: () => onLost(namespace),
      onEnd: (why) => onEnd(namespace, why),
    });
    this.#monitors.set(namespace, { inode, monitor });
    await monitor.start();
    // Rules may have been changed since they were made.
    if (this.#isStarted) onLost(namespace);
  }

  #end(namespace: string): void {
    const stopping = this.#monitors.get(namespace)?.monitor.stop();
    this.#monitors.delete(namespace);
    if (stopping === undefined) return;
    const tracked = stopping.finally(() => this.#stopping.delete(tracked));
    this.#stopping.add(tracked);
  }
}

function inodeOf(namespace: string): number | null {
  return namespace === HOST ? inodeOfProcess('self') : boundInode(namespace);
}
