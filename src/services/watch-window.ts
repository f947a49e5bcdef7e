import type { FirewallEvent } from '../kernel/firewall-monitor-text.ts';
import type {
  AddressEvent,
  KernelEvent,
  LinkEvent,
  NetconfEvent,
  Nsid,
  NsidEvent,
  RouteEvent,
} from '../kernel/monitor-text.ts';
import { isLinkLocal, parsePrefix } from '../schemas/address.ts';
import { HeardNames } from './heard-names.ts';

/** A device, by the latest event of it. */
export interface SeenLink {
  latest: LinkEvent;
  /** Whether it was up before all of these events; null if that was never told. */
  wasUp: boolean | null;
  /** Whether it was down at some time. */
  wentDown: boolean;
  /** Whether it was a port, and was none at some time. */
  leftMaster: boolean;
}

export interface SeenAddress {
  latest: AddressEvent;
  /** The index of the device that has lost it at some time. */
  lostBy: number | null;
}

/** Sysctls of an interface, or of `all` or `default`. */
export interface SeenNetconf {
  /** With all fields that were told. */
  latest: NetconfEvent;
  /** Those that somebody has written: each is told alone. Of a device that comes, all are told at once. */
  written: Set<string>;
  /** Of the devices that it may be about. */
  indexes: number[];
}

/** A name of namespaces that has come, has gone, or may stand for another namespace. */
export interface SeenName {
  name: string;
  /** Whether netnsd changed nothing meanwhile. */
  isByOthers: boolean;
}

/** Of the rules of a namespace something was missed. */
export interface LostRules {
  namespace: string;
}

/** What was told of one namespace: of each object the latest only. */
export interface SeenSpace {
  /** By index. */
  links: Map<number, SeenLink>;
  addresses: Map<string, SeenAddress>;
  routes: Map<string, RouteEvent>;
  netconfs: Map<string, SeenNetconf>;
}

/** What was told since it was last asked for. */
export interface Seen {
  spaces: Map<Nsid, SeenSpace>;
  names: Map<string, SeenName>;
  /** By the name of the namespace. */
  firewalls: Map<string, Map<string, FirewallEvent>>;
  lostRules: Map<string, LostRules>;
  /** Something was missed. */
  everything: boolean;
}

/** One object of those, with what is needed to put it back: `what` stays the same one until more is told of it. */
export type Told =
  | { type: 'link'; what: SeenLink }
  | { type: 'address'; what: SeenAddress }
  | { type: 'route'; what: RouteEvent }
  | { type: 'netconf'; what: SeenNetconf }
  | { type: 'name'; what: SeenName }
  | { type: 'firewall'; namespace: string; what: FirewallEvent }
  | { type: 'lost rules'; what: LostRules };

type Known = Pick<LinkEvent, 'name' | 'up' | 'isPort'>;

/** So many objects are kept; if more change at once, looking at everything is cheaper. */
const MOST_OBJECTS = 50_000;

/** Collects events, and forgets all but the latest of each object. */
export class WatchWindow {
  /** Outlives the window: each device as last told of. */
  readonly #known = new Map<Nsid, Map<number, Known>>();
  readonly #heard = new HeardNames();
  #seen: Seen = nothing();
  #objects = 0;

  get isEmpty(): boolean {
    return !this.#seen.everything && sizeOf(this.#seen) === 0;
  }

  /** Gives what was collected, and begins anew. */
  take(): Seen {
    const seen = this.#seen;
    this.#seen = nothing();
    this.#objects = 0;
    return seen;
  }

  note(event: Exclude<KernelEvent, NsidEvent>): void {
    this.#count();
    switch (event.type) {
      case 'link':
        this.#noteLink(event);
        break;
      case 'address':
        this.#address({ latest: event, lostBy: event.deleted ? event.index : null }, LATER);
        break;
      case 'route':
        this.#route(event, LATER);
        break;
      case 'netconf':
        this.#noteNetconf(event);
        break;
    }
  }

  noteFirewall(namespace: string, event: FirewallEvent): void {
    this.#count();
    this.#firewall(namespace, event, LATER);
  }

  noteLostRules(namespace: string): void {
    this.#seen.lostRules.set(namespace, { namespace });
  }

  noteName(name: string, isByOthers: boolean): void {
    this.#count();
    this.#name({ name, isByOthers }, LATER);
  }

  noteLost(): void {
    this.#seen.everything = true;
  }

  /** The namespace is gone, and the id may stand for another one from now on. */
  forget(nsid: number): void {
    this.#seen.spaces.delete(nsid);
    this.#known.delete(nsid);
  }

  /** Puts back what can't be judged yet: it comes before all that was told of the same object since. */
  keep(told: Told): void {
    switch (told.type) {
      case 'link':
        this.#link(told.what, EARLIER);
        break;
      case 'address':
        this.#address(told.what, EARLIER);
        break;
      case 'route':
        this.#route(told.what, EARLIER);
        break;
      case 'netconf':
        this.#netconf(told.what, EARLIER);
        break;
      case 'name':
        this.#name(told.what, EARLIER);
        break;
      case 'firewall':
        this.#firewall(told.namespace, told.what, EARLIER);
        break;
      case 'lost rules':
        put(this.#seen.lostRules, told.what.namespace, told.what, EARLIER, (_, later) => later);
        break;
    }
  }

  /** What a device is called that was told of; null if it was not. */
  readonly nameOf = (nsid: Nsid, index: number): string | null =>
    this.#known.get(nsid)?.get(index)?.name ?? null;

  #noteNetconf(event: NetconfEvent): void {
    const told = Object.keys(event.fields);
    const written = new Set(told.length === 1 ? told : []);
    this.#netconf({ latest: event, written, indexes: this.#heard.indexesOf(event.what) }, LATER);
  }

  #noteLink(event: LinkEvent): void {
    const devices = this.#known.get(event.nsid) ?? new Map<number, Known>();
    const { nsid, index, name, up, isPort } = event;
    const known = devices.get(index);
    const leftMaster = known?.isPort === true && !isPort;
    this.#link({ latest: event, wasUp: known?.up ?? null, wentDown: !up, leftMaster }, LATER);
    if (event.deleted) {
      devices.delete(index);
      this.#heard.forget(index);
    } else {
      devices.set(index, { name, up, isPort });
      this.#heard.note(index, name);
    }
    this.#known.set(nsid, devices);
  }

  #link(link: SeenLink, when: When): void {
    put(this.#space(link.latest.nsid).links, link.latest.index, link, when, (earlier, later) => ({
      latest: later.latest,
      wasUp: earlier.wasUp,
      wentDown: earlier.wentDown || later.wentDown,
      leftMaster: earlier.leftMaster || later.leftMaster,
    }));
  }

  #address(address: SeenAddress, when: When): void {
    const { nsid, index, address: text } = address.latest;
    // A link-local one is another on each device.
    const key = isLinkLocal(parsePrefix(text).address) ? `${text}%${index}` : text;
    put(this.#space(nsid).addresses, key, address, when, (earlier, later) => ({
      latest: later.latest,
      lostBy: later.lostBy ?? earlier.lostBy,
    }));
  }

  #route(event: RouteEvent, when: When): void {
    const { to, metric, table } = event.route;
    const { routes } = this.#space(event.nsid);
    put(routes, `${event.family} ${to} ${metric} ${table}`, event, when, (_, later) => later);
  }

  #netconf(netconf: SeenNetconf, when: When): void {
    const { nsid, family, what } = netconf.latest;
    put(this.#space(nsid).netconfs, `${family} ${what}`, netconf, when, (earlier, later) => ({
      latest: { ...later.latest, fields: { ...earlier.latest.fields, ...later.latest.fields } },
      written: new Set([...earlier.written, ...later.written]),
      indexes: [...new Set([...earlier.indexes, ...later.indexes])],
    }));
  }

  #name(seen: SeenName, when: When): void {
    put(this.#seen.names, seen.name, seen, when, (earlier, later) => ({
      name: later.name,
      isByOthers: earlier.isByOthers || later.isByOthers,
    }));
  }

  #firewall(namespace: string, event: FirewallEvent, when: When): void {
    const events = this.#seen.firewalls.get(namespace) ?? new Map<string, FirewallEvent>();
    const { type, family, table } = event;
    const object = event.type === 'table' ? '' : event.type === 'chain' ? event.chain : event.comment;
    const key = `${type} ${family} ${table} ${object} ${event.type === 'rule' ? event.chain : ''}`;
    put(events, key, event, when, (_, later) => later);
    this.#seen.firewalls.set(namespace, events);
  }

  #space(nsid: Nsid): SeenSpace {
    const space = this.#seen.spaces.get(nsid) ?? {
      links: new Map(),
      addresses: new Map(),
      routes: new Map(),
      netconfs: new Map(),
    };
    this.#seen.spaces.set(nsid, space);
    return space;
  }

  #count(): void {
    this.#objects += 1;
    if (this.#objects % MOST_OBJECTS !== 0 || sizeOf(this.#seen) < MOST_OBJECTS) return;
    this.#seen = { ...nothing(), everything: true };
  }
}

/** Whether something comes after or before what is there of the same object. */
type When = typeof LATER | typeof EARLIER;
const LATER = 'later';
const EARLIER = 'earlier';

function put<K, V>(into: Map<K, V>, key: K, value: V, when: When, join: (earlier: V, later: V) => V): void {
  const there = into.get(key);
  if (there === undefined || there === value) into.set(key, value);
  else into.set(key, when === LATER ? join(there, value) : join(value, there));
}

function nothing(): Seen {
  return {
    spaces: new Map(),
    names: new Map(),
    firewalls: new Map(),
    lostRules: new Map(),
    everything: false,
  };
}

function sizeOf({ spaces, names, firewalls, lostRules }: Seen): number {
  const inSpaces = [...spaces.values()].map(
    ({ links, addresses, routes, netconfs }) => links.size + addresses.size + routes.size + netconfs.size,
  );
  const inFirewalls = [...firewalls.values()].map(({ size }) => size);
  return [...inSpaces, ...inFirewalls].reduce((sum, size) => sum + size, names.size + lostRules.size);
}
