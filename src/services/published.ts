import type { ResourceRepository, Stored } from '../db/resources.ts';
import { listeningSockets, processOfSocket, type Listening } from '../kernel/listening.ts';
import { isLoopback, localnetOf } from '../plan/publish.ts';
import { familyOf, type Family } from '../schemas/address.ts';
import { HOST } from '../schemas/common.ts';
import { AUTO_PORT, parsePorts } from '../schemas/format.ts';
import { natFamily, type DnatIntent, type NatAssigned } from '../schemas/nat.ts';
import { addressOf, numberOf } from '../schemas/range.ts';
import type { Draft } from './draft.ts';
import { Problem, taken } from './problem.ts';

/** Kubernetes' range for such ports: the kernel takes those from 32768 on for what goes out (ip_local_port_range). */
const AUTO_PORTS = { first: 30_000, last: 32_767 };

/** How published ports that can meet in one packet stand in needs. */
export function publishedTie(intent: DnatIntent): string {
  return portTie(intent.protocol, natFamily(intent));
}

function portTie(protocol: DnatIntent['protocol'], family: Family): string {
  return `published ${protocol} port, IPv${family}`;
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
  checkReachable(intent, assigned);
  if (before !== null && isAsBefore(intent, before)) {
    checkFollowing(intent, before.assigned, assigned);
    return;
  }
  const { port } = intent;
  // Of those that are chosen, what is free is taken.
  if (port === AUTO_PORT) return;
  const other = otherWith(intent, port, draft);
  if (other !== null)
    throw taken(`the published ${intent.protocol} port ${port}`, { kind: 'nat', name: other });
  if (intent.namespace !== HOST) return;
  const socket = socketWith(intent, assigned, port);
  if (socket !== null) throw held(socket, '/port');
}

/**
 * The same for a rule that follows what has changed elsewhere: it may be published at 127.0.0.1 as well now, where a socket
 * listens; or nowhere any more.
 */
export function checkFollowing(intent: DnatIntent, before: NatAssigned, after: NatAssigned): void {
  if (localnetOf(intent, before) !== null) checkReachable(intent, after);
  const port = portOf(intent, after);
  if (intent.namespace !== HOST || port === null) return;
  const socket = socketsIn(intent, port).find(
    (each) => isMet(intent, after, each) && !isMet(intent, before, each),
  );
  if (socket === undefined) return;
  const { slug, message } = held(socket, `nat/${intent.name}, which would be published at 127.0.0.1 too`);
  throw new Problem(slug, message, { references: [{ kind: 'nat', name: intent.name }] });
}

/** Throws if a port that is published at 127.0.0.1 alone can't be reached there. */
function checkReachable(intent: DnatIntent, assigned: NatAssigned): void {
  const { name, address, namespace } = intent;
  if (!isAtLoopbackAlone(intent) || localnetOf(intent, assigned) !== null) return;
  throw new Problem(
    'unprocessable',
    `nat/${name}, /address: only what is on a network of a bridge or link of netnsd's in ${namespace} can be reached from ${String(address)}, by whichever interface; make that first, without a point in its interface name, and leave /inInterface out`,
    { references: [{ kind: 'nat', name }] },
  );
}

/** The rule of `host` that would get what is sent to a listener of TCP; null if there is none. */
export function ruleInFrontOf(
  { host, port }: { host: string; port: number },
  resources: Pick<ResourceRepository, 'needing' | 'get'>,
): string | null {
  const hosts = host === 'localhost' ? ['127.0.0.1', '::1'] : [host];
  const names = ([4, 6] as const).flatMap((family) =>
    resources.needing({ namespace: HOST, what: portTie('tcp', family) }).map(({ name }) => name),
  );
  const isInFront = (name: string): boolean => {
    const { intent, assigned = {} } = resources.get('nat', name) ?? {};
    const text = intent?.type === 'dnat' ? portOf(intent, assigned) : null;
    if (intent?.type !== 'dnat' || text === null) return false;
    const { first, last } = parsePorts(text);
    // A flag may have it in other words than the rule.
    const at = hosts.map((each) => ({ address: addressOf(familyOf(each), numberOf(each)) }));
    return port >= first && port <= last && at.some((each) => isMet(intent, assigned, each));
  };
  return names.find(isInFront) ?? null;
}

/** Whether a rule is nowhere but at 127.0.0.1. */
export function isAtLoopbackAlone({ address }: DnatIntent): boolean {
  return address !== null && isLoopback(address);
}

/** A port that is free now, or the one that the rule has already. */
export function choosePort(intent: DnatIntent, before: Stored<'nat'> | null, draft: Draft): string {
  const kept =
    before?.intent.type === 'dnat' && before.intent.port === AUTO_PORT ? before.assigned.port : null;
  const others = othersOf(intent, draft);
  const sockets = intent.namespace === HOST ? listeningSockets(intent.protocol) : [];
  const isTaken = (port: number): boolean =>
    sockets.some((socket) => socket.port === port) || others.some((other) => meets(intent, `${port}`, other));
  if (typeof kept === 'string' && (isAsBefore(intent, before) || !isTaken(Number(kept)))) return kept;
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

function socketsIn(intent: DnatIntent, port: string): Listening[] {
  const { first, last } = parsePorts(port);
  return listeningSockets(intent.protocol).filter((socket) => socket.port >= first && socket.port <= last);
}

/** A socket that would get nothing any more; netnsd's own counts wherever it is bound. */
function socketWith(intent: DnatIntent, assigned: NatAssigned, port: string): Listening | null {
  return socketsIn(intent, port).find((socket) => isMet(intent, assigned, socket) || isOwn(socket)) ?? null;
}

function isMet(intent: DnatIntent, assigned: NatAssigned, { address }: Pick<Listening, 'address'>): boolean {
  const family = natFamily(intent);
  if (address === '::') return true;
  if ((family === 6) !== address.includes(':')) return false;
  if (address === '0.0.0.0') return true;
  if (intent.address !== null) return address === intent.address;
  if (isLoopback(address)) return address === '127.0.0.1' && localnetOf(intent, assigned) !== null;
  return address !== '::1';
}

function isOwn({ inode }: Listening): boolean {
  return processOfSocket(inode)?.pid === process.pid;
}

function held({ protocol, address, port, inode }: Listening, subject: string): Problem {
  const holder = processOfSocket(inode);
  const at = `${protocol} port ${port} of ${address.includes(':') ? `[${address}]` : address}`;
  if (holder?.pid === process.pid)
    return new Problem('unprocessable', `${subject}: netnsd's own API listens at ${at}; choose another`);
  const by = holder === null ? 'a socket of this machine' : `${holder.name} (process ${holder.pid})`;
  return new Problem(
    'foreign-object',
    `${subject}: ${by} listens at ${at}, and would get nothing any more; choose another port or address, or end it first`,
  );
}
