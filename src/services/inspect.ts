import pLimit, { type LimitFunction } from 'p-limit';
import { CommandFailed } from '../kernel/errors.ts';
import {
  parseInterfaceTable,
  parseNeighbors,
  parseRoutes,
  readableInode,
  readsOfInterfaces,
  readsOfNeighbors,
  readsOfRoutes,
} from '../kernel/inspect.ts';
import { ping } from '../kernel/ping.ts';
import type { Processes } from '../kernel/processes.ts';
import { listProcesses } from '../kernel/process-list.ts';
import type { Answer, Read } from '../kernel/sessions.ts';
import { readSockets } from '../kernel/sockets.ts';
import {
  DEFAULT_PING_COUNT,
  DEFAULT_PING_TIMEOUT_MS,
  type Neighbor,
  type NamespaceProcess,
  type PingAnswer,
  type PingRequest,
  type RouteEntry,
  type Socket,
} from '../schemas/inspect.ts';
import type { Interface } from '../schemas/interface.ts';
import { lookAt } from './look.ts';
import { Problem, problemOfCommand } from './problem.ts';

interface Deps {
  processes: Processes;
  /** Bounds how many reads look at the kernel side by side. */
  lookLimit: LimitFunction;
}

/** A ping may wait for seconds: pings have a bound of their own, so that no read has to wait for one. */
const PINGS_AT_ONCE = 16;

/**
 * What the kernel has in a namespace now: in the daemon's own (`host`), or in any that is bound in /run/netns.
 * Every method throws a problem if there is no such namespace, or if a tool fails.
 */
export class InspectService {
  readonly #deps: Deps;
  readonly #pingLimit = pLimit(PINGS_AT_ONCE);

  constructor(deps: Deps) {
    this.#deps = deps;
  }

  async interfaces(namespace: string): Promise<Interface[]> {
    return parseInterfaceTable(await this.#look(namespace, readsOfInterfaces(namespace)));
  }

  async routes(namespace: string): Promise<RouteEntry[]> {
    return parseRoutes(await this.#look(namespace, readsOfRoutes(namespace)));
  }

  async neighbors(namespace: string): Promise<Neighbor[]> {
    return parseNeighbors(await this.#look(namespace, readsOfNeighbors(namespace)));
  }

  async sockets(namespace: string): Promise<Socket[]> {
    const { processes, lookLimit } = this.#deps;
    return this.#inside(namespace, lookLimit, async (inode) => readSockets(processes, namespace, inode));
  }

  async processes(namespace: string): Promise<NamespaceProcess[]> {
    return this.#inside(namespace, this.#deps.lookLimit, listProcesses);
  }

  async ping(namespace: string, request: PingRequest): Promise<PingAnswer> {
    const { to, count = DEFAULT_PING_COUNT, timeoutMs = DEFAULT_PING_TIMEOUT_MS } = request;
    return this.#inside(namespace, this.#pingLimit, async () =>
      ping(this.#deps.processes, namespace, { to, count, timeoutMs }),
    );
  }

  async #look(namespace: string, reads: readonly Read[]): Promise<Answer> {
    const { processes, lookLimit } = this.#deps;
    const [answer] = await this.#inside(namespace, lookLimit, async () => lookAt(processes, reads));
    if (answer === undefined || answer === null) throw notEntered(namespace);
    return answer;
  }

  /** Does something with a namespace, given its inode, when its turn has come. */
  async #inside<T>(namespace: string, limit: LimitFunction, act: (inode: number) => Promise<T>): Promise<T> {
    return limit(async () => {
      const inode = readableInode(namespace);
      if (inode === null) throw noNamespace(namespace);
      try {
        return await act(inode);
      } catch (error) {
        throw error instanceof CommandFailed ? problemOfLook(error, namespace) : error;
      }
    });
  }
}

function noNamespace(namespace: string): Problem {
  return new Problem(
    'not-found',
    `there is no namespace ${JSON.stringify(namespace)} in /run/netns; GET /namespaces?all=true lists those there are`,
  );
}

/** It went away while it was looked at; or what is bound there is a namespace of another kind. */
function notEntered(namespace: string): Problem {
  if (readableInode(namespace) === null) return noNamespace(namespace);
  return new Problem(
    'kernel-error',
    `/run/netns/${namespace} is there, and could not be entered as a network namespace`,
  );
}

/** A look changes nothing, so there was nothing to undo. */
function problemOfLook(failure: CommandFailed, namespace: string): Problem {
  const { command, exitCode, stderr } = failure;
  const options = { cause: failure };
  switch (failure.failure.cause) {
    case 'assumption':
      return notEntered(namespace);
    case 'timeout':
      return new Problem(
        'timeout',
        `${command} did not end in time, and was ended`,
        { command, exitCode, stderr },
        options,
      );
    case 'refusal':
      return problemOfCommand(failure);
  }
}
