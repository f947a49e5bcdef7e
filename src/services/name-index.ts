import { isDeepStrictEqual } from 'node:util';
import type { ResourceRepository } from '../db/resources.ts';
import {
  hostsText,
  namedEnds,
  namedNetwork,
  resolvConfText,
  type NamedEnd,
  type NamedNetwork,
} from '../plan/names.ts';
import type { Ref } from '../schemas/common.ts';
import type { NameFile } from '../schemas/names.ts';
import { interfaceTie } from './interface.ts';
import { bridgeUnder } from './on-bridge.ts';

/** What the files of a namespace are to have; null where there is to be none. */
type NameTexts = Record<NameFile, string | null>;

/**
 * Who is on which network, as it is recorded. It is kept in memory: with a thousand links on a bridge, to read them all
 * again for each change would take longer than the change.
 */
export class NameIndex {
  readonly #resources: ResourceRepository;
  readonly #ends = new Map<string, NamedEnd[]>();
  /** Names of links, by bridge and by namespace. */
  readonly #byBridge = new Map<string, Set<string>>();
  readonly #byNamespace = new Map<string, Set<string>>();
  readonly #networks = new Map<string, NamedNetwork | null>();
  /** By the names of networks: most namespaces are on the same ones, and have the same text. */
  readonly #texts = new Map<string, NameTexts>();

  constructor(resources: ResourceRepository) {
    this.#resources = resources;
    for (const { name } of resources.refs('link')) this.#setEnds(name, this.#recordedEnds(name));
  }

  /** Takes a change of the store in. Gives the namespaces whose files it is about, and whose else may not be right. */
  update(refs: readonly Ref[]): { own: Set<string>; others: Set<string> } {
    const own = new Set<string>();
    const bridges = new Set<string>();
    for (const { kind, name } of this.#withMacvlans(refs)) {
      if (kind === 'namespace') own.add(name);
      if (kind === 'bridge') bridges.add(name);
      if (kind !== 'link') continue;
      const before = this.#ends.get(name) ?? [];
      const after = this.#recordedEnds(name);
      for (const { namespace } of [...before, ...after]) own.add(namespace);
      if (isDeepStrictEqual(before, after)) continue;
      this.#setEnds(name, after);
      for (const { bridge } of [...before, ...after]) bridges.add(bridge);
    }
    const others = new Set([...bridges].filter((bridge) => this.#refresh(bridge)).flatMap(this.#on));
    return { own, others };
  }

  /** The texts for a namespace; of one that is on no network, such as name nobody else. */
  textsOf(namespace: string): NameTexts & { isOnNetwork: boolean } {
    const networks = this.#networksOf(namespace);
    const key = networks.map(({ bridge }) => bridge).join(' ');
    const known = this.#texts.get(key);
    const texts = known ?? { hosts: hostsText(networks), resolvConf: resolvConfText(networks) };
    if (known === undefined) this.#texts.set(key, texts);
    return { ...texts, isOnNetwork: networks.length > 0 };
  }

  /** Whether the network of a bridge is another one than it was. */
  #refresh(bridge: string): boolean {
    const before = this.#networks.get(bridge) ?? null;
    this.#networks.delete(bridge);
    const isOther = !isDeepStrictEqual(before, this.#network(bridge));
    if (isOther) this.#texts.clear();
    return isOther;
  }

  #networksOf(namespace: string): NamedNetwork[] {
    const links = [...(this.#byNamespace.get(namespace) ?? [])];
    const ends = links.flatMap((link) => this.#ends.get(link) ?? []);
    const bridges = ends.flatMap((end) => (end.namespace === namespace ? [end.bridge] : []));
    return [...new Set(bridges)].toSorted().flatMap((bridge) => this.#network(bridge) ?? []);
  }

  #network(bridge: string): NamedNetwork | null {
    const known = this.#networks.get(bridge);
    if (known !== undefined) return known;
    const stored = this.#resources.get('bridge', bridge);
    const links = [...(this.#byBridge.get(bridge) ?? [])];
    const ends = links.flatMap((link) => this.#ends.get(link) ?? []).filter((end) => end.bridge === bridge);
    if (stored === null) return null;
    const network = namedNetwork(stored, ends);
    this.#networks.set(bridge, network);
    return network;
  }

  readonly #on = (bridge: string): string[] =>
    [...(this.#byBridge.get(bridge) ?? [])].flatMap((link) =>
      (this.#ends.get(link) ?? []).map(({ namespace }) => namespace),
    );

  #recordedEnds(name: string): NamedEnd[] {
    const stored = this.#resources.get('link', name);
    if (stored === null) return [];
    return namedEnds(
      stored,
      bridgeUnder(stored.intent, (tie) => this.#resources.claimant(tie)),
    );
  }

  /** A bridge may come to be under macvlans that were there before it. */
  #withMacvlans(refs: readonly Ref[]): Ref[] {
    return refs.flatMap((ref) => {
      const bridge = ref.kind === 'bridge' ? this.#resources.get('bridge', ref.name)?.intent : undefined;
      if (bridge === undefined) return [ref];
      const { namespace, interface: device } = bridge;
      return [ref, ...this.#resources.needing({ namespace, what: interfaceTie(device) })];
    });
  }

  #setEnds(link: string, ends: NamedEnd[]): void {
    for (const { bridge, namespace } of this.#ends.get(link) ?? []) {
      removeFrom(this.#byBridge, bridge, link);
      removeFrom(this.#byNamespace, namespace, link);
    }
    this.#ends.delete(link);
    if (ends.length === 0) return;
    this.#ends.set(link, ends);
    for (const { bridge, namespace } of ends) {
      addTo(this.#byBridge, bridge, link);
      addTo(this.#byNamespace, namespace, link);
    }
  }
}

function addTo(sets: Map<string, Set<string>>, key: string, value: string): void {
  const set = sets.get(key) ?? new Set();
  sets.set(key, set.add(value));
}

function removeFrom(sets: Map<string, Set<string>>, key: string, value: string): void {
  const set = sets.get(key);
  set?.delete(value);
  if (set?.size === 0) sets.delete(key);
}
