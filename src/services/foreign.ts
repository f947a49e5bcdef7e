import type { LimitFunction } from 'p-limit';
import type { Static } from 'typebox';
import type { Store } from '../db/store.ts';
import { CommandFailed } from '../kernel/errors.ts';
import { parseInterfaceTable, readableInode, readsOfInterfaces } from '../kernel/inspect.ts';
import { observedInterface, parseInterfaces, type KernelInterface } from '../kernel/interface.ts';
import { namespacePath } from '../kernel/marks.ts';
import { boundNames } from '../kernel/namespace.ts';
import type { Processes } from '../kernel/processes.ts';
import type { Read } from '../kernel/sessions.ts';
import type { ForeignBridge } from '../schemas/bridge.ts';
import { HOST } from '../schemas/common.ts';
import type { Interface } from '../schemas/interface.ts';
import type { ForeignNamespace } from '../schemas/namespace.ts';
import { interfaceTie } from './interface.ts';
import { lookAt } from './look.ts';
import { Problem, problemOfCommand } from './problem.ts';

interface Deps {
  store: Store;
  processes: Processes;
  /** Bounds how many reads look at the kernel side by side. */
  lookLimit: LimitFunction;
}

/** What the kernel has and netnsd has not made: it can be read, never changed. */
export class ForeignService {
  readonly #deps: Deps;

  constructor(deps: Deps) {
    this.#deps = deps;
  }

  /** The namespaces that are bound in /run/netns and not recorded, in order of name: one process each. */
  async namespaces(): Promise<Static<typeof ForeignNamespace>[]> {
    const names = (await boundNames()).filter((name) => !this.#isRecorded(name));
    const found = await Promise.all(names.map(async (name) => this.#lookAtNamespace(name)));
    return found.filter((namespace) => namespace !== null);
  }

  /** One of them, or the daemon's own (`host`); null if there is none of that name. */
  async namespace(name: string): Promise<Static<typeof ForeignNamespace> | null> {
    return name !== HOST && this.#isRecorded(name) ? null : this.#lookAtNamespace(name);
  }

  /**
   * The bridges of a namespace whose interface is no resource's, in order of name: one process. None if there is no
   * such namespace.
   *
   * @throws Problem if they can't be read
   */
  async bridges(namespace: string = HOST): Promise<Static<typeof ForeignBridge>[]> {
    if (readableInode(namespace) === null) return [];
    const [answer] = await this.#look([{ namespace, lines: [...SHOW_BRIDGES_AND_PORTS], sysctls: [] }]);
    const [addresses = [], slaves = []] = answer?.shown ?? [];
    const ports = Map.groupBy(parseInterfaces(slaves), ({ bridge }) => bridge);
    return parseInterfaces(addresses)
      .filter(
        ({ name }) => this.#deps.store.resources.claimant({ namespace, what: interfaceTie(name) }) === null,
      )
      .toSorted((a, b) => (a.name < b.name ? -1 : 1))
      .map((bridge) =>
        foreignBridge(
          namespace,
          bridge,
          (ports.get(bridge.name) ?? []).map(({ name }) => name),
        ),
      );
  }

  #isRecorded(name: string): boolean {
    return this.#deps.store.resources.get('namespace', name) !== null;
  }

  /** One that can't be looked into is listed all the same: it is there. One that goes away meanwhile is not. */
  async #lookAtNamespace(name: string): Promise<Static<typeof ForeignNamespace> | null> {
    const inode = readableInode(name);
    if (inode === null) return null;
    const listed = (message: string | null, interfaces: Interface[]): Static<typeof ForeignNamespace> => {
      return {
        name,
        managed: false,
        status: { state: 'ready', message, inode, path: namespacePath(name), interfaces },
      };
    };
    try {
      const [answer] = await this.#look(readsOfInterfaces(name));
      if (answer !== undefined && answer !== null) return listed(null, parseInterfaceTable(answer));
      return readableInode(name) === null ? null : listed('it can’t be entered', []);
    } catch (error) {
      if (error instanceof Problem) return listed(error.message, []);
      throw error;
    }
  }

  async #look(reads: readonly Read[]): ReturnType<typeof lookAt> {
    try {
      return await this.#deps.lookLimit(async () => lookAt(this.#deps.processes, reads));
    } catch (error) {
      throw error instanceof CommandFailed ? problemOfCommand(error) : error;
    }
  }
}

const SHOW_BRIDGES_AND_PORTS = ['address show type bridge', 'address show type bridge_slave'] as const;

function foreignBridge(
  namespace: string,
  bridge: KernelInterface,
  ports: string[],
): Static<typeof ForeignBridge> {
  const { name, bridgeId, stp } = bridge;
  return {
    name,
    interface: name,
    namespace,
    managed: false,
    status: {
      state: 'ready',
      message: null,
      ...observedInterface(bridge),
      bridgeId,
      stp,
      ports: ports.toSorted(),
    },
  };
}
