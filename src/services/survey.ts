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
import { problemOfCommand } from './problem.ts';
import { namespacesToSurvey } from './subnets.ts';

/** What has addresses in the namespaces: one process each; or why it can't be read. Of one that is not there, nothing. */
export async function survey(
  namespaces: readonly string[],
  { processes, lookLimit }: { processes: Processes; lookLimit: LimitFunction },
): Promise<Occupied[] | Error> {
  const there = namespaces.filter((namespace) => readableInode(namespace) !== null);
  try {
    const answers = await lookLimit(async () => lookAt(processes, there.map(readOfOccupied)));
    return answers.flatMap((answer, at) => (answer === null ? [] : parseOccupied(there[at] ?? '', answer)));
  } catch (error) {
    if (error instanceof CommandFailed) return problemOfCommand(error);
    return error instanceof Error ? error : new Error(String(error));
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
