import type { EndOptions } from '../schemas/end.ts';
import { Problem } from './problem.ts';

/** What a client sends of the further fields of an end. */
interface EndOptionsSpec {
  txQueueLength?: number | null;
  isolatedPort?: boolean;
  hairpin?: boolean;
}

/** What was asked for of an end's further fields, and nothing else; `at` is where they are in the body. */
export function completeOptions(
  at: string,
  { txQueueLength = null, isolatedPort = false, hairpin = false }: EndOptionsSpec,
  bridge: string | null,
): EndOptions {
  for (const [field, isOn] of Object.entries({ isolatedPort, hairpin }))
    if (isOn && bridge === null)
      throw new Problem(
        'unprocessable',
        `${at}/${field} is of a port of a bridge, and this end is none; name its \`bridge\`, or set ${field} to false`,
      );
  return {
    ...(txQueueLength === null ? {} : { txQueueLength }),
    ...(isolatedPort ? { isolatedPort } : {}),
    ...(hairpin ? { hairpin } : {}),
  };
}
