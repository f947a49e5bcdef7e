import type { Device, KernelState } from '../kernel/state.ts';
import type { Step } from '../kernel/step.ts';
import { refText, type Difference, type Ref } from '../schemas/common.ts';
import {
  DEFAULT_TX_QUEUE_LENGTH,
  sysctlOfInterface,
  type DeviceOptions,
  type EndOptions,
  type ObservedOptions,
} from '../schemas/end.ts';
import {
  namedEnds,
  policedKbit,
  shapingOf,
  type EndName,
  type LinkIntent,
  type ObservedLink,
  type Shaping,
} from '../schemas/link.ts';
import type { Placed } from '../schemas/resource.ts';
import { isSameValue } from '../schemas/sysctl.ts';
import { asPort } from './bridge-firewall.ts';
import { resourceIn, sysctlsOfNamespace, type Intent } from './intent.ts';
import { compileInterface } from './interface.ts';

/** The key of the device at one end of a link. */
export function endKey(link: Ref, end: EndName): string {
  return `${refText(link)} ${end}`;
}

/** Adds what an end of a link of any type is to have to the state: its device and its sysctls. */
export function compileEnd(
  state: KernelState,
  link: Placed<'link'>,
  end: EndName,
  own: Pick<Device, 'mac' | 'kind'>,
  context: Intent,
): void {
  const { kind, name } = link;
  const intent = end === 'peer' && link.intent.type === 'veth' ? link.intent.peer : link.intent;
  const key = endKey(link, end);
  const bridge = intent.bridge === null ? null : resourceIn(context, 'bridge', intent.bridge).intent;
  const device = {
    ...compileInterface({ ...own, key, serves: { kind, name }, master: bridge?.interface ?? null }, intent),
    ...compileOptions(
      asPort(intent, bridge, context.reflecting?.get(key)),
      shapingOf(link.intent, end),
      policedKbit(link.intent),
    ),
  };
  state.devices.set(device.key, device);
  compileSysctls(state, device, intent, context);
}

/** The options of an end, as its device is to have them; a field of its own only if there are any. */
function compileOptions(
  intent: EndOptions,
  shaping: Shaping | null,
  ingressKbit: number | null,
): { options?: DeviceOptions } {
  const { txQueueLength, isolatedPort, hairpin, offload } = intent;
  const options: DeviceOptions = {
    ...(txQueueLength === undefined ? {} : { txQueueLength }),
    ...(isolatedPort === undefined ? {} : { isolatedPort }),
    ...(hairpin === undefined ? {} : { hairpin }),
    ...(shaping === null ? {} : { rate: { egressKbit: shaping.egressKbit } }),
    ...(ingressKbit === null ? {} : { policing: { ingressKbit } }),
    ...(offload === undefined ? {} : { offload }),
  };
  return Object.keys(options).length === 0 ? {} : { options };
}

/** Adds the sysctls of an interface, which is that device, to the state. */
export function compileSysctls(
  state: KernelState,
  { key: device, serves, namespace, name }: Device,
  { sysctls = {} }: EndOptions,
  context: Intent,
): void {
  const ofNamespace = sysctlsOfNamespace(namespace, context);
  for (const [field, value] of Object.entries(sysctls)) {
    const key = sysctlOfInterface(name, field);
    // Who says it there means it; else it would have been refused, or is netnsd's own idea.
    if (ofNamespace[key] !== undefined) continue;
    const id = `${namespace} ${key}`;
    const before = context.sysctlsBefore.get(id) ?? null;
    state.sysctls.set(id, { serves, namespace, key, value, before, owner: { device, name } });
  }
}

/** The steps that change the options of a device that bears its new name already; it becomes a port after. */
export function queueChanges(have: Device, want: Device): Step[] {
  const txQueueLength = want.options?.txQueueLength ?? DEFAULT_TX_QUEUE_LENGTH;
  if ((have.options?.txQueueLength ?? DEFAULT_TX_QUEUE_LENGTH) === txQueueLength) return [];
  const { serves, namespace, name } = want;
  return [{ step: 'device.queue', serves, device: { namespace, name }, txQueueLength }];
}

/** The same for what it is as a port of its bridge. */
export function portChanges(have: Device, want: Device): Step[] {
  if (want.master === null) return [];
  // With its bridge a port loses its flags; but a bridge that was renamed is the same.
  const mayStay = have.master === want.master;
  const changed = (field: 'isolatedPort' | 'hairpin'): boolean | undefined => {
    const [had, wanted] = [have.options?.[field] === true, want.options?.[field] === true];
    return (mayStay ? had !== wanted : had || wanted) ? wanted : undefined;
  };
  const [isolated, hairpin] = [changed('isolatedPort'), changed('hairpin')];
  if (isolated === undefined && hairpin === undefined) return [];
  const { serves, namespace, name } = want;
  const flags = {
    ...(isolated === undefined ? {} : { isolated }),
    ...(hairpin === undefined ? {} : { hairpin }),
  };
  return [{ step: 'port.set', serves, device: { namespace, name }, ...flags }];
}

/** The same for what has processes of its own: its rates, and what it leaves to others to work out. */
export function toolChanges(have: Device, want: Device): Step[] {
  return [...rateChanges(have, want), ...policingChanges(have, want), ...offloadChanges(have, want)];
}

function rateChanges(have: Device, want: Device): Step[] {
  const { serves, namespace, name, mtu } = want;
  const device = { namespace, name };
  const [had, wanted] = [have.options?.rate, want.options?.rate];
  if (wanted === undefined) return had === undefined ? [] : [{ step: 'rate.delete', serves, device }];
  const { egressKbit } = wanted;
  if (had?.egressKbit === egressKbit && have.mtu === mtu) return [];
  return [{ step: 'rate.set', serves, device, egressKbit, mtu, isNew: had === undefined }];
}

/**
 * The kernel can't change a filter of this kind (mall_change in net/sched/cls_matchall.c), so it goes and another one comes: in
 * one batch, so that it is only for a moment that nothing is dropped. The place for filters stays meanwhile: with it, what
 * waits to be sent would go as well (dev_deactivate in net/sched/sch_generic.c).
 */
function policingChanges(have: Device, want: Device): Step[] {
  const { serves, namespace, name } = want;
  const at = { serves, device: { namespace, name } };
  const [had, wanted] = [have.options?.policing, want.options?.policing?.ingressKbit ?? null];
  if (wanted === null && had === undefined) return [];
  // What others have put there stays, and then so does the place.
  if (wanted === null) return [{ step: had?.isShared === true ? 'police.delete' : 'ingress.delete', ...at }];
  if (had?.ingressKbit === wanted) return [];
  const added: Step = { step: 'police.add', ...at, ingressKbit: wanted };
  if (had === undefined) return [{ step: 'ingress.add', ...at }, added];
  return had.ingressKbit === null ? [added] : [{ step: 'police.delete', ...at }, added];
}

function offloadChanges(have: Device, want: Device): Step[] {
  const checksum = want.options?.offload?.checksum ?? true;
  if ((have.options?.offload?.checksum ?? true) === checksum) return [];
  const { serves, namespace, name } = want;
  return [{ step: 'offload.set', serves, device: { namespace, name }, checksum }];
}

/** What a device has still when it has moved to another namespace: the kernel takes its queueing disciplines away. */
export function optionsAfterMove({
  rate: _rate,
  policing: _policing,
  ...rest
}: DeviceOptions = {}): DeviceOptions {
  return rest;
}

/** Where the kernel differs from the options that were asked for; `at` is where the fields of the end are. */
export function differencesOfOptions(
  at: string,
  intent: EndOptions,
  observed: ObservedOptions | null | undefined,
): Difference[] {
  // What is not there at all is told already.
  if (observed === null || observed === undefined) return [];
  const differences: Difference[] = [];
  const compare = (field: string, intended: unknown, found: unknown): void => {
    if (intended !== undefined && intended !== found)
      differences.push({ path: `${at}/${field}`, intended, observed: found });
  };
  compare('txQueueLength', intent.txQueueLength, observed.txQueueLength);
  compare('isolatedPort', intent.isolatedPort, observed.isolatedPort);
  compare('hairpin', intent.hairpin, observed.hairpin);
  compare('offload/checksum', intent.offload?.checksum, observed.checksum);
  for (const [key, value] of Object.entries(intent.sysctls ?? {})) {
    const found = observed.sysctls[key] ?? '';
    if (!isSameValue(found, value))
      differences.push({
        path: `${at}/sysctls/${key}`,
        intended: value,
        observed: found === '' ? null : found,
      });
  }
  return differences;
}

/** The same for the rates of its ends, each told of where it was asked for. */
export function differencesOfRates(link: LinkIntent, observed: ObservedLink): Difference[] {
  return [...differencesOfShaping(link, observed), ...differencesOfPolicing(link, observed)];
}

function differencesOfPolicing(link: LinkIntent, { options }: ObservedLink): Difference[] {
  const intended = policedKbit(link);
  if (intended === null || options === null || options === undefined) return [];
  const found = options.policing?.ingressKbit ?? null;
  return found === intended ? [] : [{ path: '/rate/ingressKbit', intended, observed: found }];
}

function differencesOfShaping(link: LinkIntent, observed: ObservedLink): Difference[] {
  return namedEnds(link).flatMap(({ name }) => {
    const shaping = shapingOf(link, name);
    const { options } = name === 'peer' && 'peer' in observed ? observed.peer : observed;
    if (shaping === null || options === null || options === undefined) return [];
    const { egressKbit: intended, field: path } = shaping;
    return options.egressKbit === intended ? [] : [{ path, intended, observed: options.egressKbit }];
  });
}
