import type { Stored } from '../db/resources.ts';
import { listeningSockets, processOfSocket, type Listening } from '../kernel/listening.ts';
import { isLoopback, localnetOf } from '../plan/publish.ts';
import { HOST } from '../schemas/common.ts';
import { AUTO_PORT, parsePorts } from '../schemas/format.ts';
import { natFamily, type DnatIntent, type NatAssigned } from '../schemas/nat.ts';
import type { Draft } from './draft.ts';
import { Problem, taken } from './problem.ts';

/** Kubernetes' range for such ports: the kernel takes those from 32768 on for what goes out (ip_local_port_range). */
const AUTO_PORTS = { first: 30_000, last: 32_767 };

/** How published ports that can meet in one packet stand in needs. */
export function publishedTie(intent: DnatIntent): string {
  return `published ${intent.protocol} port, IPv${natFamily(intent)}`;
}

/** The port that a rule publishes; null if it is still to be chosen. */
function portOf(intent: DnatIntent, assigned: NatAssigned): string | null {
  return intent.port === AUTO_PORT ? (assigned.port ?? null) : intent.port;
}

/** Throws if something else has the published port: another rule, or a socket. */
export function checkPublished(
  intent: DnatIntent,
  assigned: NatAssigned,
  draft: Draft,
  before: Stored<'nat'> | null,
): void {
  const port = portOf(intent, assigned);
  if (port === null) return;
  const other = otherWith(intent, port, draft);
  if (other !== null)
    throw taken(`the published ${intent.protocol} port ${port}`, { kind: 'nat', name: other });
  if (intent.namespace !== HOST || isAsBefore(intent, before)) return;
  const socket = socketWith(intent, assigned, port);
  if (socket !== null) throw held(socket);
}

/** A port that is free now, or the one that the rule has already. */
export function choosePort(intent: DnatIntent, before: Stored<'nat'> | null, draft: Draft): string {
  const kept =
    before?.intent.type === 'dnat' && before.intent.port === AUTO_PORT ? before.assigned.port : null;
  if (typeof kept === 'string') return kept;
  const others = othersOf(intent, draft);
  const sockets = intent.namespace === HOST ? socketsFor(intent) : [];
  const isTaken = (port: number): boolean =>
    sockets.some((socket) => socket.port === port) || others.some((other) => meets(intent, `${port}`, other));
  for (let port = AUTO_PORTS.first; port <= AUTO_PORTS.last; port++) if (!isTaken(port)) return String(port);
  throw new Problem(
    'limit-reached',
    `/port: none of ${AUTO_PORTS.first} to ${AUTO_PORTS.last} is free for ${intent.protocol}; name a port, or delete rules that are not needed`,
  );
}

type Other = Stored<'nat'> & { intent: DnatIntent };

function othersOf(intent: DnatIntent, draft: Draft): Other[] {
  return draft.needing({ namespace: intent.namespace, what: publishedTie(intent) }).flatMap(({ name }) => {
    const stored = name === intent.name ? null : draft.get('nat', name);
    return stored !== null && isDnat(stored) ? [stored] : [];
  });
}

function isDnat(stored: Stored<'nat'>): stored is Other {
  return stored.intent.type === 'dnat';
}

/** Of two rules for one packet the first would win, and which that is would be left to chance. */
function otherWith(intent: DnatIntent, port: string, draft: Draft): string | null {
  return othersOf(intent, draft).find((other) => meets(intent, port, other))?.name ?? null;
}

function meets(intent: DnatIntent, port: string, { intent: other, assigned }: Other): boolean {
  const otherPort = portOf(other, assigned);
  if (otherPort === null) return false;
  const [ports, others] = [parsePorts(port), parsePorts(otherPort)];
  const isEither = (one: string | null, two: string | null): boolean =>
    one === null || two === null || one === two;
  return (
    ports.first <= others.last &&
    others.first <= ports.last &&
    isEither(intent.address, other.address) &&
    isEither(intent.inInterface, other.inInterface)
  );
}

/** A rule that is there keeps its port, whoever may have come to listen there since. */
function isAsBefore(intent: DnatIntent, before: Stored<'nat'> | null): boolean {
  const was = before?.intent;
  if (was?.type !== 'dnat') return false;
  const fields = ['namespace', 'protocol', 'port', 'address', 'inInterface'] as const;
  return fields.every((field) => was[field] === intent[field]) && natFamily(was) === natFamily(intent);
}

function socketsFor({ protocol }: DnatIntent): Listening[] {
  return protocol === 'sctp' ? [] : listeningSockets(protocol);
}

/** A socket that would get nothing any more; netnsd's own counts wherever it is bound. */
function socketWith(intent: DnatIntent, assigned: NatAssigned, port: string): Listening | null {
  const { first, last } = parsePorts(port);
  const inRange = socketsFor(intent).filter((socket) => socket.port >= first && socket.port <= last);
  return inRange.find((socket) => isMet(intent, assigned, socket) || isOwn(socket)) ?? null;
}

function isMet(intent: DnatIntent, assigned: NatAssigned, { address }: Listening): boolean {
  const family = natFamily(intent);
  if (address === '::') return true;
  if ((family === 6) !== address.includes(':')) return false;
  if (address === '0.0.0.0') return true;
  if (intent.address !== null) return address === canonicalText(intent.address);
  if (isLoopback(address)) return address === '127.0.0.1' && localnetOf(intent, assigned) !== null;
  return address !== '0:0:0:0:0:0:0:1';
}

/** As `listeningSockets` writes it. */
function canonicalText(address: string): string {
  if (!address.includes(':')) return address;
  const [head = '', tail = ''] = address.split('::');
  const [left, right] = [head, tail].map((part) => (part === '' ? [] : part.split(':')));
  const zeros = Array.from({ length: 8 - (left?.length ?? 0) - (right?.length ?? 0) }, () => '0');
  return address.includes('::') ? [...(left ?? []), ...zeros, ...(right ?? [])].join(':') : address;
}

function isOwn({ inode }: Listening): boolean {
  return processOfSocket(inode)?.pid === process.pid;
}

function held({ protocol, address, port, inode }: Listening): Problem {
  const holder = processOfSocket(inode);
  const at = `${protocol} port ${port} of ${address.includes(':') ? `[${address}]` : address}`;
  if (holder?.pid === process.pid)
    return new Problem('unprocessable', `/port: netnsd's own API listens at ${at}; choose another`);
  const by = holder === null ? 'a socket of this machine' : `${holder.name} (process ${holder.pid})`;
  return new Problem(
    'foreign-object',
    `/port: ${by} listens at ${at}, and would get nothing any more; choose another port or address, or end it first`,
  );
}
