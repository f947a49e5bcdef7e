import type { ResourceRepository, Stored } from '../db/resources.ts';
import { CHAIN_PREFIX } from '../kernel/firewall.ts';
import type { FirewallEvent, RuleEvent } from '../kernel/firewall-monitor-text.ts';
import { DEVICE_GROUP, ROUTE_PROTOCOL } from '../kernel/marks.ts';
import type { LinkEvent, NetconfEvent, RouteEvent } from '../kernel/monitor-text.ts';
import { boundInode, liveInode } from '../kernel/namespace.ts';
import { BRIDGE_CHAINS } from '../plan/bridge-chains.ts';
import { CHAINS } from '../plan/firewall.ts';
import { resolvedBridge, resolvedLink } from '../plan/ipam.ts';
import { routeKeyIn } from '../schemas/route.ts';
import { rulesOfNat } from '../plan/nat.ts';
import type { Family } from '../schemas/address.ts';
import { HOST, refText, type Ref } from '../schemas/common.ts';
import type { InterfaceIntent } from '../schemas/interface.ts';
import { forwardingKey } from '../schemas/nat.ts';
import { isSameValue } from '../schemas/sysctl.ts';
import { rulesIn } from './bridge-firewall.ts';
import { chainMarksIn } from './chain-marks.ts';
import { addressTie, interfaceTie, routeTie } from './interface.ts';
import { firewallTie } from './nat-names.ts';
import type { SeenAddress, SeenLink, SeenSpace } from './watch-window.ts';

/** An interface of a resource, as it is to be, and by which index it was last seen. */
interface Intended extends InterfaceIntent {
  interface: string;
  namespace: string;
  /** The bridge that it is a port of, by its resource name. */
  bridge: string | null;
  assignedMac: string;
  stp: boolean | null;
  ageingSeconds: number | null;
  index: number | null;
}

interface Options {
  resources: ResourceRepository;
  /** Devices that were up when the watch began, as `NAMESPACE INDEX`. */
  upAtStart: ReadonlySet<string>;
}

/**
 * Compares what the kernel tells with what is asked for, and collects the resources of which the two do not agree.
 * To suspect in vain costs a look; not to suspect leaves drift until the next sweep.
 */
export class Suspicion {
  readonly #options: Options;
  readonly #resources: ResourceRepository;
  readonly #suspects = new Map<string, Ref>();
  /** Devices with the mark of netnsd and a name that nothing has. */
  readonly #strangers: { namespace: string; link: SeenLink }[] = [];

  constructor(options: Options) {
    this.#options = options;
    this.#resources = options.resources;
  }

  get suspects(): Ref[] {
    return [...this.#suspects.values()];
  }

  /** What happened to devices, addresses, routes and sysctls of a namespace. */
  inNamespace(namespace: string, { links, addresses, routes, netconfs }: SeenSpace): void {
    for (const link of links.values()) {
      this.#link(namespace, link);
      if (!link.latest.deleted) this.#suspectThoseOn(namespace, link.latest.name);
    }
    for (const address of addresses.values()) this.#address(namespace, address);
    for (const route of routes.values()) this.#route(namespace, route);
    for (const netconf of netconfs.values()) this.#netconf(namespace, netconf);
  }

  /** Devices of ours by names that nothing has: they were renamed, or are of a change that is not recorded yet. */
  get strangers(): readonly SeenLink[] {
    return this.#strangers.map(({ link }) => link);
  }

  /** To suspect those whom such devices were. */
  suspectStrangers(): void {
    for (const { namespace, link } of this.#strangers)
      for (const ref of this.#resources.referrers({ kind: 'namespace', name: namespace })) {
        const indexes = this.#intended(ref)
          .filter((end) => end.namespace === namespace)
          .map(({ index }) => index);
        if (indexes.includes(link.latest.index) || indexes.includes(null)) this.#add(ref);
      }
  }

  /**
   * A name in /run/netns has come or gone, or a namespace has. If others did it, what has the name now need not be
   * the same namespace even if it has the same inode: the numbers are used again at once.
   */
  name(name: string, isByOthers: boolean): void {
    const stored = name === HOST ? null : this.#resources.get('namespace', name);
    if (stored === null || (!isByOthers && boundInode(name) === liveInode(stored.assigned))) return;
    const ref: Ref = { kind: 'namespace', name };
    this.#add(ref);
    for (const referrer of this.#resources.referrers(ref)) this.#add(referrer);
  }

  /** What happened to rules of a namespace. */
  inFirewall(namespace: string, events: Iterable<FirewallEvent>): void {
    for (const event of events) {
      const rules = this.#rulesOf(namespace, event.family);
      if (rules.length === 0) continue;
      if (event.type === 'rule') this.#rule(namespace, event, rules);
      else if (event.type === 'table' || isOddChain(event)) for (const ref of rules) this.#add(ref);
    }
  }

  /** All rules of a namespace. */
  allRules(namespace: string): void {
    for (const family of [4, 6] as const) for (const ref of this.#rulesOf(namespace, family)) this.#add(ref);
  }

  #link(namespace: string, link: SeenLink): void {
    const { latest } = link;
    const ref = this.#claimant(namespace, interfaceTie(latest.name));
    if (ref === null) {
      if (latest.name === 'lo') this.#loopback(namespace, latest);
      else if (!latest.deleted && latest.group === DEVICE_GROUP) this.#strangers.push({ namespace, link });
      return;
    }
    const end = this.#intended(ref).find(
      (candidate) => candidate.namespace === namespace && candidate.interface === latest.name,
    );
    if (end === undefined) return;
    if (latest.deleted) {
      // If another one has the name since, it has events of its own.
      if (end.index === null || end.index === latest.index) this.#add(ref);
      return;
    }
    const { wasUp, wentDown, leftMaster } = link;
    const stayedUp = !wentDown || !(wasUp ?? this.#options.upAtStart.has(`${namespace} ${latest.index}`));
    // The kernel does not tell of the routes that go with a device that goes down.
    const hasItsRoutes = stayedUp || end.routes.length === 0;
    if (!isAsIntended(end, latest) || !hasItsRoutes || !this.#isWhereIntended(end, latest, leftMaster))
      this.#add(ref);
  }

  /** What could not be made for want of an interface may be made now. */
  #suspectThoseOn(namespace: string, name: string): void {
    for (const ref of this.#resources.needing({ namespace, what: interfaceTie(name) }))
      if (ref.kind === 'link' && this.#resources.get('link', ref.name)?.failure !== null) this.#add(ref);
  }

  #isWhereIntended({ bridge }: Intended, { isPort, bridgeMac }: LinkEvent, leftMaster: boolean): boolean {
    if (bridge === null || !isPort) return (bridge !== null) === isPort;
    const intended = this.#resources.get('bridge', bridge);
    // With STP another bridge may be designated, and of a port that is not in use none is told.
    if (bridgeMac === null || intended === null || intended.intent.stp) return !leftMaster;
    return bridgeMac === intended.assigned.mac;
  }

  #loopback(namespace: string, { up }: LinkEvent): void {
    const stored = namespace === HOST ? null : this.#resources.get('namespace', namespace);
    if (stored !== null && stored.intent.pid === null && !up) this.#add(stored);
  }

  #address(namespace: string, { latest, lostBy }: SeenAddress): void {
    const ref = this.#claimant(namespace, addressTie(latest.address));
    const end = ref === null ? undefined : this.#intended(ref).find(hasAddress(namespace, latest.address));
    if (ref === null || end === undefined) return;
    const isElsewhere = end.index !== null && end.index !== latest.index;
    // Nor of the routes that have the address as their source, and go with it.
    const mayLackRoutes = lostBy !== null && lostBy === end.index && end.routes.length > 0;
    if (latest.deleted || isElsewhere || mayLackRoutes) this.#add(ref);
  }

  #route(namespace: string, { deleted, family, protocol, route }: RouteEvent): void {
    if (deleted && protocol !== ROUTE_PROTOCOL) return;
    const tie = routeTie(route, family);
    const ref = this.#claimant(namespace, tie);
    if (ref === null) return;
    const intended = this.#intended(ref)
      .filter((end) => end.namespace === namespace && end.up)
      .flatMap(({ routes }) => routes)
      .find((candidate) => routeTie(candidate) === tie);
    if (intended === undefined) return;
    const isSame = protocol === ROUTE_PROTOCOL && routeKeyIn(family, route) === routeKeyIn(family, intended);
    if (deleted || !isSame) this.#add(ref);
  }

  #netconf(namespace: string, { family, what, fields }: NetconfEvent): void {
    if (what === 'all' && fields['forwarding'] === '0')
      for (const ref of this.#rulesOf(namespace, family)) this.#add(ref);
    const stored = namespace === HOST ? null : this.#resources.get('namespace', namespace);
    if (stored === null) return;
    for (const [key, value] of Object.entries(stored.intent.sysctls)) {
      const { device, field } = partsOfSysctl(family, key);
      // Of a device in another namespace the name is not to be had.
      const isSame = isWhole(device) || isWhole(what) ? device === what : true;
      const told = fields[field];
      if (isSame && told !== undefined && !isSameValue(told, value)) this.#add(stored);
    }
  }

  #rule(namespace: string, { owner, comment, deleted, family }: RuleEvent, rules: readonly Ref[]): void {
    if (owner === null) {
      if (deleted && chainMarksIn({ namespace, family }, rules, this.#resources).includes(comment))
        for (const ref of rules) this.#add(ref);
      return;
    }
    const nat = owner.kind === 'nat' ? this.#resources.get('nat', owner.name) : null;
    const bridge = owner.kind === 'bridge' ? this.#resources.get('bridge', owner.name) : null;
    if ((nat ?? bridge)?.intent.namespace !== namespace) return;
    const intended = [
      ...(nat === null ? [] : rulesOfNat(nat.intent, nat.assigned)),
      ...(bridge === null ? [] : rulesIn(bridge, family, this.#resources)),
    ];
    if (intended.some((rule) => rule.comment === comment) === deleted) this.#add(owner);
  }

  #rulesOf(namespace: string, family: Family): Ref[] {
    return this.#resources.needing({ namespace, what: firewallTie(family) });
  }

  #claimant(namespace: string, what: string): Ref | null {
    return this.#resources.claimant({ namespace, what });
  }

  #intended({ kind, name }: Ref): Intended[] {
    if (kind === 'bridge') return intendedOfBridge(this.#resources.get(kind, name));
    return kind === 'link' ? intendedOfLink(this.#resources.get(kind, name)) : [];
  }

  #add({ kind, name }: Ref): void {
    this.#suspects.set(refText({ kind, name }), { kind, name });
  }
}

/** But for what it is a port of. */
function isAsIntended(end: Intended, event: LinkEvent): boolean {
  return (
    event.group === DEVICE_GROUP &&
    (end.index === null || end.index === event.index) &&
    event.up === end.up &&
    event.mtu === end.mtu &&
    (event.mac === end.assignedMac || end.assignedMac === '') &&
    (end.stp === null || event.stp === end.stp) &&
    (end.ageingSeconds === null || event.ageingSeconds === end.ageingSeconds)
  );
}

function intendedOfBridge(stored: Stored<'bridge'> | null): Intended[] {
  if (stored === null) return [];
  const { assigned, observed } = stored;
  const intent = resolvedBridge(stored.intent, assigned);
  return [{ ...intent, bridge: null, assignedMac: assigned.mac, index: observed?.index ?? null }];
}

function intendedOfLink(stored: Stored<'link'> | null): Intended[] {
  if (stored === null) return [];
  const { assigned, observed } = stored;
  const intent = resolvedLink(stored.intent, assigned);
  const noBridge = { stp: null, ageingSeconds: null };
  const own = { ...intent, ...noBridge, assignedMac: assigned.mac, index: observed?.index ?? null };
  if (intent.type !== 'veth') return [own];
  const { peerMac: assignedMac = '' } = assigned;
  const index = observed !== null && 'peer' in observed ? observed.peer.index : null;
  return [own, { ...intent.peer, ...noBridge, assignedMac, index }];
}

function hasAddress(namespace: string, address: string): (end: Intended) => boolean {
  return (end) => end.namespace === namespace && end.addresses.includes(address);
}

/** Of a sysctl that the kernel tells of; empty for any other. */
function partsOfSysctl(family: Family, key: string): { device: string; field: string } {
  // Two names for one thing (ip-sysctl of the kernel).
  const name = key === forwardingKey(4) ? 'net.ipv4.conf.all.forwarding' : key;
  const [, device = '', field = ''] =
    new RegExp(`^net\\.ipv${family}\\.conf\\.(.+)\\.([^.]+)$`).exec(name) ?? [];
  return { device, field };
}

/** `all` and `default` are no devices. */
function isWhole(what: string): boolean {
  return what === 'all' || what === 'default';
}

/** One of ours has gone. Or one of ours may bear another name: of that the kernel tells the new one alone. */
function isOddChain({ chain, deleted }: { chain: string; deleted: boolean }): boolean {
  const ours: readonly string[] = [...Object.values(CHAINS), ...Object.values(BRIDGE_CHAINS)];
  return deleted ? chain.startsWith(CHAIN_PREFIX) && ours.includes(chain) : !ours.includes(chain);
}

/** Devices that are to be up, as `NAMESPACE INDEX`: what was told of none yet is taken to have been up. */
export function devicesUp(resources: ResourceRepository): Set<string> {
  const everything = { after: null, limit: -1, labels: [], references: [] };
  const ends = [
    ...resources.list('bridge', everything).flatMap(intendedOfBridge),
    ...resources.list('link', everything).flatMap(intendedOfLink),
  ];
  return new Set(
    ends.flatMap(({ up, namespace, index }) => (up && index !== null ? [`${namespace} ${index}`] : [])),
  );
}
