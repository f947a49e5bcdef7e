import type { Store } from '../db/store.ts';
import type { Processes } from '../kernel/processes.ts';
import { holderOf } from '../kernel/sockets.ts';
import { SystemReader } from '../kernel/system.ts';
import { CommandFailed } from '../kernel/errors.ts';
import { PORTS_PER_BRIDGE } from '../schemas/bridge.ts';
import type { System } from '../schemas/inspect.ts';
import type { ListenAddress } from '../schemas/listen.ts';
import type { ReconcileReport } from './reconcile.ts';
import type { WatchState } from './watch.ts';

interface Deps {
  store: Store;
  processes: Processes;
  /** Of netnsd. */
  version: string;
  /** How reconciling goes. */
  report: () => ReconcileReport & WatchState;
  /** What else is to be told a person. */
  warnings?: () => string[];
}

const UNRECORDED_NAMED = 3;

/** The machine, the daemon, and whether the one can work on the other. */
export class SystemService {
  readonly #deps: Deps;
  readonly #reader: SystemReader;

  constructor(deps: Deps) {
    this.#deps = deps;
    this.#reader = new SystemReader(deps.processes);
  }

  /** @throws StoreError */
  async system(): Promise<System> {
    const { store, version } = this.#deps;
    const machine = await this.#reader.read(PORTS_PER_BRIDGE);
    const recorded = {
      namespaces: store.resources.count('namespace'),
      links: store.resources.count('link'),
      bridges: store.resources.count('bridge'),
      nat: store.resources.count('nat'),
    };
    return {
      version,
      ...machine,
      use: { ...machine.use, recorded },
      reconcile: this.#reconciling(),
      warnings: [...machine.warnings, ...this.#warnings(), ...(this.#deps.warnings?.() ?? [])],
    };
  }

  #reconciling(): System['reconcile'] {
    const { mode, intervalMs, lastSweep, hasSettled, events, firewallEvents } = this.#deps.report();
    const shown = { mode, intervalSeconds: intervalMs / 1000, settled: hasSettled, events, firewallEvents };
    if (lastSweep === null) return { ...shown, lastSweep: null };
    const { startedAt, durationMs, processes, resources, drifted } = lastSweep;
    return {
      ...shown,
      lastSweep: { startedAt, durationMs, processes, resources, drifted: drifted.length },
    };
  }

  #warnings(): string[] {
    const unrecorded = this.#deps.report().lastSweep?.unrecorded ?? [];
    if (unrecorded.length === 0) return [];
    const names = unrecorded
      .slice(0, UNRECORDED_NAMED)
      .map(({ namespace, name }) => `${name} (${namespace})`);
    const rest =
      unrecorded.length > UNRECORDED_NAMED ? ` and ${unrecorded.length - UNRECORDED_NAMED} more` : '';
    return [
      `what bears netnsd's marks and is not recorded is left alone: ${names.join(', ')}${rest}; GET /drift lists all of it, and \`netnsd teardown --unrecorded\` removes what of it is in the daemon's own namespace`,
    ];
  }

  /** Whether changes can succeed: the store answers, tools and capabilities are there, /run/netns can be written. */
  async readiness(): Promise<{ ready: boolean; reason: string | null }> {
    const { hasSettled } = this.#deps.report();
    const restoring = hasSettled
      ? []
      : ['what is recorded is still being put in order; GET /drift lists what is not'];
    const obstacles = [...this.#storeObstacles(), ...(await this.#reader.obstacles()), ...restoring];
    return { ready: obstacles.length === 0, reason: obstacles.length === 0 ? null : obstacles.join('; ') };
  }

  /** Who listens at an address, as `name (process 123)`; null if nobody does, or it can't be told. */
  async holderOf(address: ListenAddress): Promise<string | null> {
    try {
      return await holderOf(this.#deps.processes, address);
    } catch (error) {
      // It only makes a message more helpful, and the message is to come without it too.
      if (error instanceof CommandFailed) return null;
      throw error;
    }
  }

  #storeObstacles(): string[] {
    try {
      this.#deps.store.check();
      return [];
    } catch (error) {
      return [error instanceof Error ? error.message : String(error)];
    }
  }
}
