import type { Route } from '../schemas/interface.ts';
import { familyOfRoute } from '../schemas/route.ts';
import { POLICE_PREF, ROUTE_PROTOCOL } from './marks.ts';
import type { DeviceRef, VxlanOptions } from './state.ts';

/** At each tick of its timer a kernel with HZ=100 lets out what may go within 10 ms: no less may be kept for it. */
const TICKS_A_SECOND = 100;
const ETHERNET_HEADER_BYTES = 18;

/**
 * tc-tbf(8): the bucket (`burst`, bytes) holds what goes within a tick at that rate, and at least two packets; a longer one
 * (GSO) is cut up by the kernel. What would wait longer than `latency` is dropped.
 */
export function shaperTokens(egressKbit: number, mtu: number): (string | number)[] {
  const bytesPerTick = Math.ceil((egressKbit * 1000) / 8 / TICKS_A_SECOND);
  const burst = Math.max(bytesPerTick, 2 * (mtu + ETHERNET_HEADER_BYTES));
  return ['rate', `${egressKbit}kbit`, 'burst', burst, 'latency', '50ms'];
}

/**
 * tc-police(8), for all packets (tc-matchall(8)). Nothing can wait, so what comes at once passes as far as the bucket goes
 * (`burst`, bytes). A quarter of a second's worth is what TCP needs to get the whole rate; with a tenth, and a short way, it gets
 * half. It is at least what TCP or a guest hands over as one packet (GSO, 64 KiB and headers): one that is larger than the
 * bucket never passes. The same goes for `mtu`, which would be 2 KiB unless it is said. The handle is the rate itself: `tc`
 * rounds what it prints of large ones.
 */
export function policeTokens(ingressKbit: number): (string | number)[] {
  const bytesPerSecond = (ingressKbit * 1000) / 8;
  const burst = Math.min(
    Math.max(Math.ceil(bytesPerSecond / BURSTS_A_SECOND), LARGEST_PACKET_BYTES),
    Math.floor(bytesPerSecond * LONGEST_BURST_SECONDS),
  );
  const filter = [
    'protocol',
    'all',
    'pref',
    POLICE_PREF,
    'handle',
    `0x${ingressKbit.toString(16)}`,
    'matchall',
  ];
  const police = ['rate', `${ingressKbit}kbit`, 'burst', burst, 'mtu', LARGEST_PACKET_BYTES];
  return [...filter, 'action', 'police', ...police, 'conform-exceed', 'drop'];
}

const BURSTS_A_SECOND = 4;

/** GSO_LEGACY_MAX_SIZE, and as much for the headers of its segments: they count as well where the kernel knows them. */
const LARGEST_PACKET_BYTES = 2 * 65_536;

/** The kernel counts a bucket in 64 ns that it takes to fill, in 32 bits: 274 s (PSCHED_SHIFT). */
const LONGEST_BURST_SECONDS = 270;

/** An option that is on, off, or left alone. */
export function onOff(option: string, value: boolean | undefined): string[] {
  return value === undefined ? [] : [option, value ? 'on' : 'off'];
}

/** What a bridge is by itself. */
export function bridgeOptions({
  stp,
  ageingSeconds,
}: {
  stp: boolean;
  ageingSeconds: number;
}): (string | number)[] {
  // ip-link(8) takes `ageing_time` in hundredths of a second.
  return ['stp_state', stp ? 1 : 0, 'ageing_time', ageingSeconds * 100];
}

/** The kernel's own default port is another one than IANA's (ip-link(8), `dstport`). */
export function vxlanOptions({ id, remote, group, port, by }: VxlanOptions): (string | number)[] {
  return [
    'id',
    id,
    ...(remote === null ? [] : ['remote', remote]),
    ...(group === null ? [] : ['group', group]),
    'dstport',
    port,
    ...(by === null ? [] : ['dev', by]),
  ];
}

/** A route by that device, as ip-route(8) takes it. */
export function routeTokens(
  device: DeviceRef,
  route: Route,
  protocol: string = ROUTE_PROTOCOL,
): (string | number)[] {
  // `default` is of the family that the gateway or the source has, and of IPv4 where nothing tells.
  const isDefault6 = route.to === 'default' && familyOfRoute(route) === 6;
  return [
    isDefault6 ? '::/0' : route.to,
    ...(route.via === null ? [] : ['via', route.via]),
    'dev',
    device.name,
    ...(route.metric === null ? [] : ['metric', route.metric]),
    ...(route.src === null ? [] : ['src', route.src]),
    'table',
    route.table,
    'proto',
    protocol,
  ];
}
