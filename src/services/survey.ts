import { setTimeout as sleep } from 'node:timers/promises';
import type { LimitFunction } from 'p-limit';
import type { ResourceRepository } from '../db/resources.ts';
import { CommandFailed } from '../kernel/errors.ts';
import { readableInode } from '../kernel/inspect.ts';
import { parseOccupied, readOfOccupied } from '../kernel/occupied.ts';
import type { Processes } from '../kernel/processes.ts';
import type { Ref } from '../schemas/common.ts';
import type { Occupied } from '../schemas/ipam.ts';
import { lookAt } from './look.ts';
import { mergePatch } from './merge-patch.ts';
import { Problem, problemOfCommand } from './problem.ts';
import { namespacesToSurvey } from './subnets.ts';

interface Looking {
  processes: Processes;
  lookLimit: LimitFunction;
  timeLeftMs: number;
}

/**
 * What has addresses in the namespaces: one process each; or why it can't be read. Of one that is not there, nothing;
 * null if there is none to look at.
 */
export async function survey(
  namespaces: readonly string[],
  { processes, lookLimit, timeLeftMs }: Looking,
): Promise<Occupied[] | Error | null> {
  if (namespaces.length === 0) return null;
  const there = namespaces.filter((namespace) => readableInode(namespace) !== null);
  try {
    const inTime = processes.within(timeLeftMs);
    // Reads that hang may be before it: the lane does not wait for them.
    const answers = await notLongerThan(
      timeLeftMs,
      lookLimit(async () => lookAt(inTime, there.map(readOfOccupied))),
    );
    return answers.flatMap((answer, at) => (answer === null ? [] : parseOccupied(there[at] ?? '', answer)));
  } catch (error) {
    if (error instanceof CommandFailed) return problemOfCommand(error);
    return error instanceof Error ? error : new Error(String(error));
  }
}

async function notLongerThan<T>(timeMs: number, looking: Promise<T>): Promise<T> {
  const isDone = new AbortController();
  const end = sleep(Math.max(timeMs, 0), null, { signal: isDone.signal }).then(() => {
    throw new Problem('timeout', 'the kernel could not be looked at in time; nothing was changed, try again');
  });
  try {
    return await Promise.race([looking, end]);
  } finally {
    isDone.abort();
  }
}

/**
 * Which namespaces have to be looked at before a resource is changed.
 *
 * @param spec it as a whole as it is to be, unless there is a patch
 */
export function namespacesOfChange(
  { kind, name }: Ref,
  spec: object,
  patch: unknown,
  resources: ResourceRepository,
): string[] {
  if (kind !== 'bridge') return [];
  const recorded = resources.get(kind, name)?.intent;
  if (patch === undefined) return namespacesToSurvey(spec, recorded);
  const merged = recorded === undefined ? null : mergePatch(recorded, patch);
  return typeof merged === 'object' && merged !== null ? namespacesToSurvey(merged, recorded) : [];
}
