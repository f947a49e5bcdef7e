import { HOST } from '../schemas/common.ts';
import type { Neighbor, RouteEntry } from '../schemas/inspect.ts';
import type { Interface } from '../schemas/interface.ts';
import type { JsonObject } from '../schemas/json-object.ts';
import { commandInside } from './command-line.ts';
import { CommandFailed, type FailureCause } from './errors.ts';
import { parseInterfaces, publicInterface, tableOf } from './interface.ts';
import { ProtocolNames, SCOPES, UNICAST, routeTypeName, scopeName } from './iproute-names.ts';
import { asObject, numberOrNull, text } from './json-fields.ts';
import { boundInode, inodeOfProcess } from './namespace.ts';
import type { Ended, Processes } from './processes.ts';
import type { Answer, Read } from './sessions.ts';

/** NAME_MAX of limits.h: no file has a longer name, in bytes. */
const LONGEST_NAME = 255;

/** The inode of a namespace that can be looked at, which is `host` or bound in /run/netns; null if there is none. */
export function readableInode(namespace: string): number | null {
  if (namespace === HOST) return inodeOfProcess('self');
  return Buffer.byteLength(namespace) > LONGEST_NAME ? null : boundInode(namespace);
}

export function readsOfInterfaces(namespace: string): Read[] {
  return [{ namespace, lines: ['address show'], sysctls: [] }];
}

export function parseInterfaceTable({ shown }: Answer): Interface[] {
  return parseInterfaces(shown[0] ?? []).map(publicInterface);
}

/**
 * One line a family: `root` lets through all that is inside a network, and only of its family. A default route does
 * not tell its own (`ip` prints `default` for both).
 */
export function readsOfRoutes(namespace: string): Read[] {
  const lines = ['route show table all root 0.0.0.0/0', 'route show table all root ::/0'];
  return [{ namespace, lines, sysctls: [] }];
}

export function parseRoutes({ shown }: Answer): RouteEntry[] {
  const protocols = new ProtocolNames();
  return (['inet', 'inet6'] as const).flatMap((family, at) =>
    objectsOf(shown[at] ?? []).map((object) => parseRoute(object, family, protocols)),
  );
}

export function readsOfNeighbors(namespace: string): Read[] {
  return [{ namespace, lines: ['neighbour show'], sysctls: [] }];
}

export function parseNeighbors({ shown }: Answer): Neighbor[] {
  return objectsOf(shown[0] ?? []).flatMap((object) => {
    const address = text(object['dst']);
    const dev = text(object['dev']);
    if (address === null || dev === null) return [];
    const states = Array.isArray(object['state']) ? object['state'].map(String) : [];
    const state = states.join(' ').toLowerCase();
    // A flag is printed as a key without a value.
    return [{ address, interface: dev, mac: text(object['lladdr']), state, router: 'router' in object }];
  });
}

/**
 * Runs a tool in a namespace. An exit code is no error here: what it means, the caller knows.
 *
 * @throws CommandFailed if the tool could not be run there, or was ended by its deadline
 */
export async function runInside(
  processes: Processes,
  namespace: string,
  words: readonly [tool: string, ...args: string[]],
  timeoutMs?: number,
): Promise<Ended & { command: string }> {
  const [file, args] = commandInside(namespace, words);
  const ended = await processes.run(file, args, timeoutMs === undefined ? {} : { timeoutMs });
  const command = [file, ...args].join(' ');
  const cause = causeOf(ended);
  if (cause !== null) throw new CommandFailed(command, ended.exitCode, ended.stderr, cause);
  return { ...ended, command };
}

/** Why a tool never ran; nsenter(1) says so on stderr, with exit codes that tools have as well. */
function causeOf({ timedOut, stderr }: Ended): FailureCause | null {
  if (timedOut) return { cause: 'timeout' };
  if (/^nsenter: (?:cannot open|reassociate to namespace)/m.test(stderr)) return { cause: 'assumption' };
  if (/^nsenter: failed to execute|spawn \S+ ENOENT/m.test(stderr))
    return { cause: 'refusal', refusal: 'kernel-unsupported' };
  return null;
}

function parseRoute(object: JsonObject, family: RouteEntry['family'], protocols: ProtocolNames): RouteEntry {
  const nexthops = Array.isArray(object['nexthops']) ? objectsOf(object['nexthops']) : [];
  return {
    to: destinationOf(text(object['dst']) ?? 'default', family),
    via: gatewayOf(object),
    dev: text(object['dev']),
    metric: numberOrNull(object['metric']),
    src: text(object['prefsrc']),
    table: tableOf(object['table']),
    protocol: protocols.nameOf(text(object['protocol']) ?? '0'),
    scope: scopeName(text(object['scope']) ?? SCOPES.global),
    type: routeTypeName(text(object['type']) ?? UNICAST),
    family,
    nexthops: nexthops.map((nexthop) => ({
      via: gatewayOf(nexthop),
      dev: text(nexthop['dev']) ?? '',
      weight: numberOrNull(nexthop['weight']) ?? 1,
    })),
  };
}

/** RFC 5549: an IPv4 route may have an IPv6 gateway, which `ip` prints as `via`. */
function gatewayOf(object: JsonObject): string | null {
  return text(object['gateway']) ?? text(asObject(object['via'])?.['host']);
}

/** `ip` leaves out the length of a route to a single host. */
function destinationOf(dst: string, family: RouteEntry['family']): string {
  if (dst === 'default' || dst.includes('/')) return dst;
  return `${dst}/${family === 'inet' ? 32 : 128}`;
}

/** The objects among what `ip -j` printed; it prints `{}` for what a filter hid. */
function objectsOf(values: readonly unknown[]): JsonObject[] {
  return values.flatMap((value) => {
    const object = asObject(value);
    return object === null || Object.keys(object).length === 0 ? [] : [object];
  });
}
