import type { EndOptions, ObservedOptions } from '../schemas/end.ts';
import type { KernelState } from './state.ts';

/** What a device has of those options that a candidate speaks of; the others are not netnsd's to say. */
export function observedOptions(
  key: string,
  found: ObservedOptions,
  candidates: readonly KernelState[],
): { options?: EndOptions } {
  const asked = candidates.flatMap(({ devices }) => devices.get(key)?.options ?? []);
  if (asked.length === 0) return {};
  const isAsked = (field: keyof EndOptions): boolean => asked.some((options) => options[field] !== undefined);
  return {
    options: {
      ...(isAsked('txQueueLength') ? { txQueueLength: found.txQueueLength } : {}),
      ...(isAsked('isolatedPort') && found.isolatedPort ? { isolatedPort: true } : {}),
      ...(isAsked('hairpin') && found.hairpin ? { hairpin: true } : {}),
    },
  };
}
