import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import pLimit from 'p-limit';
import { pino } from 'pino';
import { onTestFinished } from 'vitest';
import { createStore, type Store } from '../../src/db/store.ts';
import { createProcesses, type Processes } from '../../src/kernel/processes.ts';
import { createValidation } from '../../src/plugins/validation.ts';
import { refText, type Kind } from '../../src/schemas/common.ts';
import { sharedSchemas } from '../../src/schemas/index.ts';
import { putSchemas } from '../../src/schemas/put.ts';
import { Engine } from '../../src/services/engine.ts';
import type { SpecOf } from '../../src/services/kind.ts';
import { ResourceService } from '../../src/services/resources.ts';
import { Watch } from '../../src/services/watch.ts';
import { ipJson } from './shell.ts';

/** The services of netnsd without HTTP, and a watch that tells what it suspects instead of having it mended. */
export interface Watched {
  store: Store;
  watch: Watch;
  /** Those of the watch. */
  processes: Processes;
  create: <K extends Kind>(kind: K, spec: SpecOf<K>) => Promise<void>;
  patch: (kind: Kind, name: string, patch: object) => Promise<void>;
  remove: (kind: Kind, name: string) => Promise<void>;
  /** What was suspected since it was last asked for, each as `KIND/NAME`; `everything` among them. */
  suspects: () => string[];
  /** Gives that as soon as there is any, or nothing after the given time. */
  nextSuspects: (withinMs?: number) => Promise<string[]>;
  /** Waits until all that was done is judged, and every namespace is listened to. */
  settle: () => Promise<void>;
}

const conditions = { ifMatch: null, mustBeNew: false };
const caller = { actor: 'test', requestId: 'test' };

/** Starts them for one test. What the test leaves recorded is deleted, and the watch stopped, when it is over. */
export async function startWatched(): Promise<Watched> {
  const directory = mkdtempSync(join(tmpdir(), 'netnsd-test-'));
  const store = createStore(join(directory, 'netnsd.db'));
  const log = pino({ level: process.env['NETNSD_TEST_LOG'] ?? 'silent' });
  const ownProcesses = createProcesses({ timeoutMs: 30_000 });
  const engine = new Engine({ store, processes: ownProcesses, log, changeTimeoutMs: 30_000 });
  const { check } = createValidation(sharedSchemas);
  const resources = new ResourceService({
    store,
    engine,
    processes: ownProcesses,
    log,
    lookLimit: pLimit(8),
    mend: async () => {
      throw new Error('nothing is mended here');
    },
    validate: (kind, body) => {
      check(putSchemas[kind], body);
      return body as never;
    },
  });
  const processes = createProcesses({ timeoutMs: 30_000 });
  const suspected = new Set<string>();
  const watch = new Watch({
    store,
    processes,
    log,
    isBusy: () => engine.isBusy,
    isChanging: (ref) => engine.isChanging(ref),
    onSuspects: ({ refs, everything }) => {
      for (const ref of refs) suspected.add(refText(ref));
      if (everything) suspected.add('everything');
    },
  });
  const names = (kind: Kind): string[] =>
    store.resources
      .list(kind, { after: null, limit: -1, labels: [], references: [] })
      .map(({ name }) => name);
  const suspects = (): string[] => {
    const found = [...suspected].toSorted();
    suspected.clear();
    return found;
  };
  const remove = async (kind: Kind, name: string): Promise<void> => {
    await resources.make(resources.removal({ kind, name }, true, conditions, caller));
    watch.update();
  };
  onTestFinished(async () => {
    for (const kind of ['nat', 'link', 'bridge', 'namespace'] as const)
      for (const name of names(kind)) await remove(kind, name);
    await engine.stop();
    await watch.stop();
    store.close();
    rmSync(directory, { recursive: true, force: true });
  });
  return {
    store,
    watch,
    processes,
    create: async (kind, spec) => {
      await resources.make(resources.creation(kind, spec, conditions, caller));
      watch.update();
    },
    patch: async (kind, name, patch) => {
      await resources.make(resources.patching(kind, name, patch, conditions, caller));
      watch.update();
    },
    remove,
    suspects,
    nextSuspects: async (withinMs = 2_000) => {
      const end = performance.now() + withinMs;
      while (suspected.size === 0 && performance.now() < end) await pause(10);
      return suspects();
    },
    settle: async () => {
      const bound = new Set(names('namespace'));
      const end = performance.now() + 30_000;
      for (;;) {
        const listed = await ipJson('netns', 'list');
        const waiting = listed.filter(({ name, id }) => bound.has(String(name)) && id === undefined);
        if (waiting.length === 0 && watch.state().firewallEvents) break;
        if (performance.now() > end) throw new Error('the watch does not listen everywhere');
        await pause(20);
      }
      await pause(300);
    },
  };
}

async function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
