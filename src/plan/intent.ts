import { HOST, refText, type Kind, type Ref } from '../schemas/common.ts';
import type { AnyPlaced, Placed } from '../schemas/resource.ts';

/** The part of what is asked for that a plan is about, and what it has to know of the rest. */
export interface Intent {
  /** The resources in question, and all that they refer to. */
  resources: ReadonlyMap<string, AnyPlaced>;
  /** Firewalls, by `firewallKey`, that other nat rules than these have rules in. */
  otherFirewalls: ReadonlySet<string>;
  /**
   * Where other resources than these publish ports at 127.0.0.1: `NAMESPACE`, and `NAMESPACE INTERFACE` for each
   * interface; none where it is left out.
   */
  otherLocalnets?: ReadonlySet<string>;
  /** Namespaces in which other bridges than these have a firewall; none where left out. */
  otherBridgeFirewalls?: ReadonlySet<string>;
  /** Where, by `firewallKey`, other bridges than these need forwarding; nowhere where left out. */
  otherForwarding?: ReadonlySet<string>;
  /** The ports behind which something is published, by `endKey`, and whether they are to be in hairpin mode for that. */
  reflecting?: ReadonlyMap<string, boolean>;
  /** What stood in a sysctl before netnsd first wrote it, by `NAMESPACE KEY`. */
  sysctlsBefore: ReadonlyMap<string, string>;
}

/** The resource of that kind and name, which whatever refers to it brings along. */
export function resourceIn<K extends Kind>(intent: Intent, kind: K, name: string): Placed<K> {
  const found = intent.resources.get(refText({ kind, name }));
  if (found === undefined || !isOfKind(found, kind)) throw new Error(`the plan lacks ${kind}/${name}`);
  return found;
}

function isOfKind<K extends Kind>(resource: AnyPlaced, kind: K): resource is AnyPlaced & Placed<K> {
  return resource.kind === kind;
}

/** What the namespace itself says of its sysctls. */
export function sysctlsOfNamespace(name: string, { resources }: Intent): Record<string, string> {
  const found = resources.get(refText(namespaceRef(name)));
  return found !== undefined && isOfKind(found, 'namespace') ? found.intent.sysctls : {};
}

/** The resource that stands for a namespace in references; the daemon's own is one as well. */
export function namespaceRef(name: string): Ref {
  return { kind: 'namespace', name };
}

export function isHost(namespace: string): boolean {
  return namespace === HOST;
}
