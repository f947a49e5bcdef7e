import type { Logger } from 'pino';
import type { Store } from '../db/store.ts';
import { ROUTE_PROTOCOL } from '../kernel/marks.ts';
import type { KernelEvent, RouteEvent } from '../kernel/monitor-text.ts';
import type { Monitor } from '../kernel/monitor.ts';
import { NameWatch } from '../kernel/name-watch.ts';
import type { Processes } from '../kernel/processes.ts';
import { monitorKernel } from '../kernel/watch.ts';
import { HOST, type Ref } from '../schemas/common.ts';
import { FirewallWatch } from './firewall-watch.ts';
import { routeTie } from './interface.ts';
import { NamespaceIds } from './namespace-ids.ts';
import { firewallTie } from './nat-ties.ts';
import { devicesAtStart, type DeviceAtStart } from './intended.ts';
import { Reported, type Suspect } from './reported.ts';
import { Suspicion } from './suspicion.ts';
import { WatchWindow, type Seen } from './watch-window.ts';

export interface Suspects {
  refs: Ref[];
  /** Events were missed: anything may have changed. */
  everything: boolean;
}

interface WatchOptions {
  store: Store;
  /** Not those whose number tells what a change costs. */
  processes: Processes;
  log: Logger;
  onSuspects: (suspects: Suspects) => void;
  /** Whether a change is being made: what it does is judged when it is recorded. */
  isBusy: () => boolean;
  /** Whether the resource is of that change, or of one so lately made that not all that it did may have been told. */
  isChanging: (ref: Ref) => boolean;
}

export interface WatchState {
  events: 'watching' | 'restarting' | 'off';
  firewallEvents: boolean;
}

/** Events are judged when there were none for so long, */
const QUIET_MS = 100;
/** or after so long, */
const LONGEST_WAIT_MS = 400;
/** or, while a change is being made, after so long. */
const LONGEST_BUSY_MS = 2_000;

/** Everything is suspected so often at most: under a flood events are missed again and again. */
const EVERYTHING_PAUSE_MS = 5_000;

/**
 * Listens to the kernel, and says which resources to look at. What agrees with the intent, as all that netnsd does
 * itself, causes nothing.
 */
export class Watch {
  readonly #options: WatchOptions;
  readonly #window = new WatchWindow();
  readonly #reported = new Reported();
  readonly #ids: NamespaceIds;
  readonly #names: NameWatch;
  readonly #firewalls: FirewallWatch;
  readonly #monitor: Monitor;
  #atStart: ReadonlyMap<string, DeviceAtStart> = new Map();
  #state: 'off' | 'starting' | 'on' | 'stopped' = 'off';
  #timer: NodeJS.Timeout | null = null;
  #firstAt = 0;
  #lastAt = 0;
  #everythingAt = Number.NEGATIVE_INFINITY;
  #judging: Promise<void> = Promise.resolve();
  #updating: NodeJS.Timeout | null = null;

  constructor(options: WatchOptions) {
    this.#options = options;
    const { store, processes, log } = options;
    this.#ids = new NamespaceIds(processes, (name) => store.resources.get('namespace', name) !== null);
    this.#names = new NameWatch(
      (name) => this.#noteName(name),
      () => this.#guard(() => this.#recordedNames().forEach((name) => this.#noteName(name))),
    );
    this.#firewalls = new FirewallWatch({
      processes,
      namespaces: () => this.#namespacesWithRules(),
      onEvent: (namespace, event) => {
        this.#window.noteFirewall(namespace, event);
        this.#arm();
      },
      onLost: (namespace) => {
        this.#window.noteLostRules(namespace);
        this.#arm();
      },
      onEnd: (namespace, why) => log.warn({ namespace, why }, 'the firewall is not listened to for a moment'),
    });
    this.#monitor = monitorKernel(processes, {
      onEvent: (event) => this.#guard(() => this.#noteEvent(event)),
      onLost: () => {
        this.#window.noteLost();
        this.#arm();
      },
      onEnd: (why) => log.warn({ why }, 'the kernel is not listened to for a moment'),
    });
  }

  /** Resolves when it listens: what changes from then on is seen. */
  async start(): Promise<void> {
    if (this.#state !== 'off') return;
    this.#state = 'starting';
    const { store } = this.#options;
    this.#atStart = devicesAtStart(store.resources);
    this.#names.start();
    await Promise.all([this.#monitor.start(), this.#firewalls.start()]);
    await this.#ids.ensure(this.#recordedNames());
    if (this.#isStopped()) return;
    this.#state = 'on';
    if (!this.#window.isEmpty) this.#arm();
  }

  /** Resolves when nothing of it runs any more. */
  async stop(): Promise<void> {
    this.#state = 'stopped';
    if (this.#timer !== null) clearTimeout(this.#timer);
    if (this.#updating !== null) clearTimeout(this.#updating);
    this.#names.stop();
    await Promise.all([this.#monitor.stop(), this.#firewalls.stop(), this.#judging]);
  }

  /** To be called after changes: rules may stand in other namespaces than before. Cheap. */
  update(): void {
    if (this.#isStopped() || this.#updating !== null) return;
    this.#updating = setTimeout(() => {
      this.#updating = null;
      this.#firewalls.update().catch((error: unknown) => {
        this.#options.log.error({ err: error }, 'which namespaces have rules could not be told');
      });
    }, QUIET_MS).unref();
  }

  state(): WatchState {
    if (this.#state === 'off' || this.#isStopped()) return { events: 'off', firewallEvents: false };
    return {
      events: this.#monitor.isListening ? 'watching' : 'restarting',
      firewallEvents: this.#firewalls.isListening,
    };
  }

  /** An event comes when it likes: that the store can't be read just then is nobody's failure. */
  #guard(note: () => void): void {
    try {
      note();
    } catch (error) {
      this.#options.log.error({ err: error }, 'what the kernel told could not be noted; all is suspected');
      this.#window.noteLost();
      this.#arm();
    }
  }

  #noteEvent(event: KernelEvent): void {
    if (event.type === 'nsid') {
      this.#noteNsid(event.nsid, event.deleted, event.name);
      return;
    }
    if (event.type === 'route' && !this.#concerns(event)) return;
    this.#window.note(event);
    this.#arm();
  }

  #noteNsid(nsid: number, deleted: boolean, name: string | null): void {
    // What was told of a namespace that is gone is nothing to the next one with that id.
    this.#window.forget(nsid);
    const gone = this.#ids.taken(nsid);
    if (!deleted) this.#ids.given(nsid, name);
    else if (gone !== null) this.#noteName(gone);
  }

  /** A router may change thousands of routes a second; those that are not ours are not collected. */
  #concerns({ deleted, protocol, nsid, route, family }: RouteEvent): boolean {
    if (protocol === ROUTE_PROTOCOL) return true;
    if (deleted) return false;
    const namespace = nsid === null ? HOST : this.#ids.nameOf(nsid);
    if (namespace === null) return false;
    return this.#options.store.resources.claimant({ namespace, what: routeTie(route, family) }) !== null;
  }

  #noteName(name: string): void {
    this.#ids.namesChanged();
    this.#firewalls.nameChanged(name);
    this.#window.noteName(name, !this.#options.isBusy());
    this.update();
    this.#arm();
  }

  #recordedNames(): string[] {
    const names = this.#options.store.resources.refs('namespace').map(({ name }) => name);
    return names.filter((name) => name !== HOST);
  }

  #namespacesWithRules(): string[] {
    const { resources } = this.#options.store;
    const names = ([4, 6] as const).flatMap((family) => resources.namespacesNeeding(firewallTie(family)));
    return [...new Set(names)];
  }

  #arm(): void {
    this.#lastAt = performance.now();
    if (this.#timer !== null || this.#state !== 'on') return;
    this.#firstAt = this.#lastAt;
    this.#timer = setTimeout(() => this.#due(), QUIET_MS).unref();
  }

  #due(): void {
    const now = performance.now();
    const isReady = this.#options.isBusy()
      ? now - this.#firstAt >= LONGEST_BUSY_MS
      : now - this.#lastAt >= QUIET_MS || now - this.#firstAt >= LONGEST_WAIT_MS;
    if (!isReady) {
      this.#timer = setTimeout(() => this.#due(), QUIET_MS / 2).unref();
      return;
    }
    this.#judging = this.#judging
      .then(async () => this.#judge())
      .finally(() => {
        this.#timer = null;
        if (!this.#window.isEmpty) this.#arm();
      });
  }

  async #judge(): Promise<void> {
    try {
      const suspects = await this.#suspectsOf(this.#window.take());
      if (this.#isStopped() || (suspects.refs.length === 0 && !suspects.everything)) return;
      this.#options.onSuspects(suspects);
    } catch (error) {
      this.#options.log.error({ err: error }, 'what the kernel told could not be judged; all is suspected');
      this.#window.noteLost();
    }
  }

  async #suspectsOf(seen: Seen): Promise<Suspects> {
    await this.#identify(seen);
    const { resources } = this.#options.store;
    const { nameOf } = this.#window;
    const suspicion = new Suspicion({ resources, atStart: this.#atStart, nameOf });
    for (const [nsid, space] of seen.spaces) {
      const namespace = nsid === null ? HOST : this.#ids.nameOf(nsid);
      if (namespace !== null) suspicion.inNamespace(namespace, space);
    }
    for (const name of seen.names.values()) suspicion.name(name);
    for (const [namespace, events] of seen.firewalls) suspicion.inFirewall(namespace, events.values());
    for (const lost of seen.lostRules.values()) suspicion.allRules(lost);
    // A device may be of the change that is being made: whether it is will be recorded soon.
    if (this.#options.isBusy())
      for (const link of suspicion.strangers) this.#window.keep({ type: 'link', what: link });
    else suspicion.suspectStrangers();
    return {
      refs: this.#reportable(suspicion.suspects),
      everything: this.#mayReportEverything(seen.everything),
    };
  }

  /** Those that can be judged. A change is seen half-way, too: what was told of what it changes is judged later. */
  #reportable(suspects: readonly Suspect[]): Ref[] {
    const { store, isChanging } = this.#options;
    return suspects.flatMap((suspect) => {
      const { ref } = suspect;
      const because = this.#reported.newOf(suspect);
      if (because.length === 0 || store.resources.get(ref.kind, ref.name) === null) return [];
      const isReady = !isChanging(ref);
      if (isReady) this.#reported.note(ref, because);
      else for (const told of because) this.#window.keep(told);
      return isReady ? [ref] : [];
    });
  }

  /** Asks the kernel which namespaces ids stand for, if there is one that is not known; once for all. */
  async #identify({ spaces, names }: Seen): Promise<void> {
    const { resources } = this.#options.store;
    const recorded = [...names.values()].filter(({ name }) => resources.get('namespace', name) !== null);
    // The change that is being made may be about to give it its id.
    if (this.#options.isBusy()) for (const what of recorded) this.#window.keep({ type: 'name', what });
    else if (recorded.length > 0) await this.#ids.ensure(recorded.map(({ name }) => name));
    const unknown = [...spaces.keys()].filter((nsid) => nsid !== null && this.#ids.isUnknown(nsid));
    if (unknown.length > 0) await this.#ids.refresh(unknown.filter((nsid) => nsid !== null));
  }

  #mayReportEverything(isSuspected: boolean): boolean {
    if (!isSuspected) return false;
    const now = performance.now();
    if (now - this.#everythingAt < EVERYTHING_PAUSE_MS) {
      this.#window.noteLost();
      return false;
    }
    this.#everythingAt = now;
    return true;
  }

  #isStopped(): boolean {
    return this.#state === 'stopped';
  }
}
