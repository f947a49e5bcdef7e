import type { ResourceRepository } from '../db/resources.ts';
import type { FirewallEvent, RuleEvent } from '../kernel/firewall-monitor-text.ts';
import { DEVICE_GROUP, ROUTE_PROTOCOL } from '../kernel/marks.ts';
import type { LinkEvent, Nsid, RouteEvent } from '../kernel/monitor-text.ts';
import { boundInode, liveInode } from '../kernel/namespace.ts';
import { routeKeyIn } from '../schemas/route.ts';
import { rulesOfNat } from '../plan/nat.ts';
import type { Family } from '../schemas/address.ts';
import { HOST, refText, type Ref } from '../schemas/common.ts';
import { isSameValue } from '../schemas/sysctl.ts';
import { rulesIn } from './bridge-firewall.ts';
import { chainMarksIn, isOddChain } from './chain-marks.ts';
import { addressTie, interfaceTie, routeTie } from './interface.ts';
import {
  hasAddress,
  intendedOfBridge,
  intendedOfLink,
  isAsIntended,
  type DeviceAtStart,
  type Intended,
} from './intended.ts';
import { firewallTie } from './nat-ties.ts';
import type { Suspect } from './reported.ts';
import { isWhole, partsOfSysctl, sameness } from './told-sysctls.ts';
import type {
  LostRules,
  SeenAddress,
  SeenLink,
  SeenName,
  SeenNetconf,
  SeenSpace,
  Told,
} from './watch-window.ts';

interface Options {
  resources: ResourceRepository;
  /** Those of netnsd when the watch began, as `NAMESPACE INDEX`. */
  atStart: ReadonlyMap<string, DeviceAtStart>;
  /** What a device is called that was told of since. */
  nameOf: (nsid: Nsid, index: number) => string | null;
}

/**
 * Compares what the kernel tells with what is asked for, and collects the resources of which the two do not agree.
 * To suspect in vain costs a look; not to suspect leaves drift until the next sweep.
 */
export class Suspicion {
  readonly #options: Options;
  readonly #resources: ResourceRepository;
  readonly #suspects = new Map<string, Suspect>();
  /** What is being weighed. */
  #told: Told | null = null;
  /** Devices with the mark of netnsd and a name that nothing has. */
  readonly #strangers: { namespace: string; link: SeenLink }[] = [];

  constructor(options: Options) {
    this.#options = options;
    this.#resources = options.resources;
  }

  get suspects(): Suspect[] {
    return [...this.#suspects.values()];
  }

  /** What happened to devices, addresses, routes and sysctls of a namespace. */
  inNamespace(namespace: string, { links, addresses, routes, netconfs }: SeenSpace): void {
    for (const link of links.values()) {
      this.#told = { type: 'link', what: link };
      this.#link(namespace, link);
      if (!link.latest.deleted) this.#suspectThoseOn(namespace, link.latest.name);
    }
    for (const address of addresses.values()) {
      this.#told = { type: 'address', what: address };
      this.#address(namespace, address);
    }
    for (const route of routes.values()) {
      this.#told = { type: 'route', what: route };
      this.#route(namespace, route);
    }
    for (const netconf of netconfs.values()) {
      this.#told = { type: 'netconf', what: netconf };
      this.#netconf(namespace, netconf);
    }
  }

  /** Devices of ours by names that nothing has: they were renamed, or are of a change that is not recorded yet. */
  get strangers(): readonly SeenLink[] {
    return this.#strangers.map(({ link }) => link);
  }

  /** To suspect those whom such devices were. */
  suspectStrangers(): void {
    for (const { namespace, link } of this.#strangers) {
      this.#told = { type: 'link', what: link };
      for (const ref of this.#resources.referrers({ kind: 'namespace', name: namespace })) {
        const indexes = this.#intended(ref)
          .filter((end) => end.namespace === namespace)
          .map(({ index }) => index);
        if (indexes.includes(link.latest.index) || indexes.includes(null)) this.#add(ref);
      }
    }
  }

  /**
   * A name in /run/netns has come or gone, or a namespace has. If others did it, what has the name now need not be
   * the same namespace even if it has the same inode: the numbers are used again at once.
   */
  name(seen: SeenName): void {
    const { name, isByOthers } = seen;
    const stored = name === HOST ? null : this.#resources.get('namespace', name);
    if (stored === null || (!isByOthers && boundInode(name) === liveInode(stored.assigned))) return;
    const ref: Ref = { kind: 'namespace', name };
    this.#told = { type: 'name', what: seen };
    this.#add(ref);
    for (const referrer of this.#resources.referrers(ref)) this.#add(referrer);
  }

  /** What happened to rules of a namespace. */
  inFirewall(namespace: string, events: Iterable<FirewallEvent>): void {
    for (const event of events) {
      const rules = this.#rulesOf(namespace, event.family);
      if (rules.length === 0) continue;
      this.#told = { type: 'firewall', namespace, what: event };
      if (event.type === 'rule') this.#rule(namespace, event, rules);
      else if (event.type === 'table' || isOddChain(event)) for (const ref of rules) this.#add(ref);
    }
  }

  /** All rules of a namespace: of what happened to them something was missed. */
  allRules(lost: LostRules): void {
    this.#told = { type: 'lost rules', what: lost };
    for (const family of [4, 6] as const)
      for (const ref of this.#rulesOf(lost.namespace, family)) this.#add(ref);
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
    const stayedUp = !wentDown || !(wasUp ?? this.#wasUpAtStart(namespace, latest.index));
    // The kernel does not tell of the routes that go with a device that goes down.
    const hasItsRoutes = stayedUp || end.routes.length === 0;
    if (!isAsIntended(end, latest) || !hasItsRoutes || !this.#isWhereIntended(end, latest, leftMaster))
      this.#add(ref);
  }

  #wasUpAtStart(namespace: string, index: number): boolean {
    return this.#options.atStart.get(`${namespace} ${index}`)?.up === true;
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
    const { address, nsid, index } = latest;
    const ref = this.#claimant(namespace, addressTie(address, this.#nameOf(namespace, nsid, index) ?? ''));
    const ends = ref === null ? [] : this.#intended(ref).filter(hasAddress(namespace, address));
    const end = ends.find((each) => each.index === index) ?? ends[0];
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

  #netconf(namespace: string, netconf: SeenNetconf): void {
    const { family, what, fields } = netconf.latest;
    if (what === 'all' && fields['forwarding'] === '0')
      for (const ref of this.#rulesOf(namespace, family)) this.#add(ref);
    const names = isWhole(what) ? [what] : this.#namesIn(namespace, netconf);
    const stored = namespace === HOST ? null : this.#resources.get('namespace', namespace);
    const ofNamespace = stored?.intent.sysctls ?? {};
    const isOther = Object.entries(ofNamespace).some(([key, value]) => {
      const { device, field } = partsOfSysctl(family, key);
      const told = fields[field];
      // Of a device in another namespace the name is not always to be had.
      const isSame = names.includes(device) || (names.length === 0 && !isWhole(device));
      return isSame && told !== undefined && !isSameValue(told, value);
    });
    if (isOther && stored !== null) this.#add(stored);
    if (isWhole(what)) return;
    const ends = this.#endsOf(namespace, names).map(
      ([ref, end]) => [ref, sameness(end, netconf, ofNamespace)] as const,
    );
    // It may be any of them: then what one of them is to have is taken to be its.
    if (names.length === 0 && ends.some(([, same]) => same.includes(true))) return;
    for (const [ref, same] of ends) if (same.includes(false)) this.#add(ref);
  }

  /** What a device is called; null if that was never told. */
  #nameOf(namespace: string, nsid: Nsid, index: number): string | null {
    const { atStart, nameOf } = this.#options;
    return nameOf(nsid, index) ?? atStart.get(`${namespace} ${index}`)?.name ?? null;
  }

  /** What the device is called that sysctls were told of; empty if that can't be told. */
  #namesIn(namespace: string, { latest: { nsid, what }, indexes }: SeenNetconf): string[] {
    const heard = indexes.flatMap((index) => this.#nameOf(namespace, nsid, index) ?? []);
    // Of what was not told of since the watch began, the name is that of a device here.
    return what === 'lo' || namespace === HOST ? [...heard, what] : heard;
  }

  /** The interfaces by these names; without any, all in the namespace. */
  #endsOf(namespace: string, names: readonly string[]): [Ref, Intended][] {
    const refs =
      names.length === 0
        ? this.#resources.referrers({ kind: 'namespace', name: namespace })
        : names.flatMap((name) => this.#claimant(namespace, interfaceTie(name)) ?? []);
    return refs.flatMap((ref) =>
      this.#intended(ref)
        .filter((end) => end.namespace === namespace)
        .filter((end) => names.length === 0 || names.includes(end.interface))
        .map((end): [Ref, Intended] => [ref, end]),
    );
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
    const text = refText({ kind, name });
    const suspect = this.#suspects.get(text) ?? { ref: { kind, name }, because: new Set() };
    if (this.#told !== null) suspect.because.add(this.#told);
    this.#suspects.set(text, suspect);
  }
}
