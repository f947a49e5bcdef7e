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
  /**
   * Names of namespaces that have come, have gone, or may stand for another namespace. `true`: while netnsd changed
   * nothing.
   */
  names: Map<string, boolean>;
  /** By the name of the namespace. */
  firewalls: Map<string, Map<string, FirewallEvent>>;
  /** Something was missed. */
  everything: boolean;
}

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
    const { spaces, names, firewalls, everything } = this.#seen;
    return !everything && spaces.size === 0 && names.size === 0 && firewalls.size === 0;
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
    const space = this.#space(event.nsid);
    switch (event.type) {
      case 'link':
        this.#noteLink(space, event);
        break;
      case 'address': {
        const before = space.addresses.get(event.address)?.lostBy ?? null;
        space.addresses.set(event.address, { latest: event, lostBy: event.deleted ? event.index : before });
        break;
      }
      case 'route': {
        const { to, metric, table } = event.route;
        space.routes.set(`${event.family} ${to} ${metric} ${table}`, event);
        break;
      }
      case 'netconf':
        this.#noteNetconf(space, event);
        break;
    }
  }

  noteFirewall(namespace: string, event: FirewallEvent): void {
    this.#count();
    const events = this.#seen.firewalls.get(namespace) ?? new Map<string, FirewallEvent>();
    const { type, family, table } = event;
    const object = event.type === 'table' ? '' : event.type === 'chain' ? event.chain : event.comment;
    events.set(`${type} ${family} ${table} ${object} ${event.type === 'rule' ? event.chain : ''}`, event);
    this.#seen.firewalls.set(namespace, events);
  }

  noteName(name: string, isByOthers: boolean): void {
    this.#count();
    const { names } = this.#seen;
    names.set(name, isByOthers || names.get(name) === true);
  }

  noteLost(): void {
    this.#seen.everything = true;
  }

  /** The namespace is gone, and the id may stand for another one from now on. */
  forget(nsid: number): void {
    this.#seen.spaces.delete(nsid);
    this.#known.delete(nsid);
  }

  /** Puts a device back that can't be judged yet; what was told of it since stands. */
  keep(link: SeenLink): void {
    const { links } = this.#space(link.latest.nsid);
    if (!links.has(link.latest.index)) links.set(link.latest.index, link);
  }

  /** What a device is called that was told of; null if it was not. */
  readonly nameOf = (nsid: Nsid, index: number): string | null =>
    this.#known.get(nsid)?.get(index)?.name ?? null;

  #noteNetconf({ netconfs }: SeenSpace, event: NetconfEvent): void {
    const key = `${event.family} ${event.what}`;
    const before = netconfs.get(key);
    const told = Object.keys(event.fields);
    netconfs.set(key, {
      latest: { ...event, fields: { ...before?.latest.fields, ...event.fields } },
      written: new Set([...(before?.written ?? []), ...(told.length === 1 ? told : [])]),
      indexes: [...new Set([...(before?.indexes ?? []), ...this.#heard.indexesOf(event.what)])],
    });
  }

  #noteLink({ links }: SeenSpace, event: LinkEvent): void {
    const devices = this.#known.get(event.nsid) ?? new Map<number, Known>();
    const { nsid, index, name, up, isPort } = event;
    const known = devices.get(index);
    const before = links.get(index);
    links.set(index, {
      latest: event,
      wasUp: before === undefined ? (known?.up ?? null) : before.wasUp,
      wentDown: before?.wentDown === true || !up,
      leftMaster: before?.leftMaster === true || (known?.isPort === true && !isPort),
    });
    if (event.deleted) {
      devices.delete(index);
      this.#heard.forget(index);
    } else {
      devices.set(index, { name, up, isPort });
      this.#heard.note(index, name);
    }
    this.#known.set(nsid, devices);
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

function nothing(): Seen {
  return { spaces: new Map(), names: new Map(), firewalls: new Map(), everything: false };
}

function sizeOf({ spaces, names, firewalls }: Seen): number {
  const inSpaces = [...spaces.values()].map(
    ({ links, addresses, routes, netconfs }) => links.size + addresses.size + routes.size + netconfs.size,
  );
  const inFirewalls = [...firewalls.values()].map(({ size }) => size);
  return [...inSpaces, ...inFirewalls].reduce((sum, size) => sum + size, names.size);
}
