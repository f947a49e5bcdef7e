import type { DeviceOptions, ObservedOptions } from '../schemas/end.ts';
import type { Device, KernelState } from './state.ts';
import type { Extras, ExtrasRequest } from './tools.ts';

/** What a device has of those options that a candidate speaks of; the others are not netnsd's to say. */
export function observedOptions(
  { key, kind }: Device,
  found: ObservedOptions,
  candidates: readonly KernelState[],
): { options?: DeviceOptions } {
  const asked = candidates.flatMap(({ devices }) => {
    const candidate = devices.get(key);
    return candidate?.kind.type === kind.type ? (candidate.options ?? []) : [];
  });
  if (asked.length === 0) return {};
  const isAsked = (field: keyof DeviceOptions): boolean =>
    asked.some((options) => options[field] !== undefined);
  return {
    options: {
      ...(isAsked('txQueueLength') ? { txQueueLength: found.txQueueLength } : {}),
      ...(isAsked('isolatedPort') && found.isolatedPort ? { isolatedPort: true } : {}),
      ...(isAsked('hairpin') && found.hairpin ? { hairpin: true } : {}),
      ...(isAsked('rate') && found.egressKbit !== null ? { rate: { egressKbit: found.egressKbit } } : {}),
      ...(isAsked('policing') && found.policing !== null ? { policing: found.policing } : {}),
      ...(isAsked('offload') && found.checksum !== null ? { offload: { checksum: found.checksum } } : {}),
    },
  };
}

/** The options that `ip` tells of a device, and beside them what the other tools told. */
export function withExtras(
  name: string,
  options: ObservedOptions,
  extras: Extras | undefined,
): ObservedOptions {
  if (extras === undefined) return options;
  return {
    ...options,
    egressKbit: extras.egressKbit.get(name) ?? null,
    policing: extras.policing.get(name) ?? null,
    checksum: extras.checksum.get(name) ?? null,
  };
}

/** What has to be asked of the other tools in each namespace; those of which nothing has are left out. */
export function extrasOf(
  ends: readonly {
    namespace: string;
    isShaped: boolean;
    isPoliced: boolean;
    offload: DeviceOptions['offload'];
  }[],
): Map<string, ExtrasRequest> {
  const requests = new Map<string, ExtrasRequest>();
  for (const { namespace, isShaped, isPoliced, offload: checked } of ends) {
    const { rate = false, policing = false, offload = false } = requests.get(namespace) ?? {};
    const request = {
      rate: rate || isShaped,
      policing: policing || isPoliced,
      offload: offload || checked !== undefined,
    };
    if (request.rate || request.policing || request.offload) requests.set(namespace, request);
  }
  return requests;
}
