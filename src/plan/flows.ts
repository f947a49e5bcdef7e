import { firewallKey, type Firewall, type KernelState, type Rule } from '../kernel/state.ts';
import type { Step, StepOf } from '../kernel/step.ts';
import { refText } from '../schemas/common.ts';
import { CHAINS } from './firewall.ts';
import type { NamespaceSteps } from './namespace.ts';

/**
 * What conntrack is to forget. A flow is translated by the rules that its first packet met, for as long as it goes on:
 * a UDP sender that never pauses would stay with the old target for good, or never reach a port that was published while
 * it was sending. TCP connections are left to end by themselves.
 *
 * On its way out a flow is forgotten when the rule that translates its source becomes another one. One that began before
 * there was any keeps its own source until it pauses.
 */
export function planFlows(
  have: KernelState,
  want: KernelState,
  { gone, fresh }: Pick<NamespaceSteps, 'gone' | 'fresh'>,
): Step[] {
  const steps = new Map<string, Forgetting>();
  const from = new Map<string, ForgettingFrom>();
  const keys = new Set([...have.firewalls.keys(), ...want.firewalls.keys()]);
  for (const key of keys) {
    const had = have.firewalls.get(key);
    const wanted = want.firewalls.get(key);
    const firewall = wanted ?? had;
    // With a namespace go its flows.
    if (firewall === undefined || gone.has(firewall.namespace) || fresh.has(firewall.namespace)) continue;
    const [goes, comes] = [rulesIn(had, wanted), rulesIn(wanted, had)];
    for (const rule of [...goes, ...comes]) {
      const step = stepOf(firewall, rule);
      if (step !== null) steps.set(JSON.stringify({ ...step, serves: null }), step);
    }
    for (const step of outgoing(firewall, goes, comes)) from.set(`${key} ${step.network}`, step);
  }
  const all = [...steps.values()];
  return [...all.filter((step) => !all.some((other) => isWithin(step, other))), ...from.values()];
}

type Forgetting = StepOf<'flows.delete'>;
type ForgettingFrom = StepOf<'flows.deleteFrom'>;

/** What is forgotten for one address is forgotten with what is for any. */
function isWithin(step: Forgetting, other: Forgetting): boolean {
  const isWider = step.address !== null && other.address === null;
  const { namespace, family, ports } = step;
  return (
    isWider &&
    firewallKey(namespace, family) === firewallKey(other.namespace, other.family) &&
    ports.first >= other.ports.first &&
    ports.last <= other.ports.last
  );
}

/** The rules of the one that the other has not. */
function rulesIn(one: Firewall | undefined, other: Firewall | undefined): Rule[] {
  return [...(one?.rules ?? [])].flatMap(([key, rule]) => (other?.rules.has(key) === true ? [] : [rule]));
}

const PUBLISHED =
  /^(?:-d (?<address>[0-9a-f.:]+)\/\d+ )?.*-p udp -m udp --dport (?<first>\d+)(?::(?<last>\d+))? .*DNAT --to-destination /;

function stepOf({ namespace, family }: Firewall, { chain, spec, serves }: Rule): Forgetting | null {
  if (chain !== CHAINS.dnat && chain !== CHAINS.local) return null;
  const { address = null, first, last = first } = PUBLISHED.exec(spec)?.groups ?? {};
  if (first === undefined) return null;
  return {
    step: 'flows.delete',
    serves,
    namespace,
    family,
    address,
    ports: { first: Number(first), last: Number(last) },
  };
}

/** What is published is translated there as well, for who is on its own network: that is not on its way out. */
const OUTGOING = /^-s (?<network>\S+) (?!.*--ctstate DNAT).*(?:MASQUERADE|SNAT --to-source )/;

/** Of the rules that go and come, those that translate sources for a resource that had such rules and has others now. */
function outgoing(
  { namespace, family }: Firewall,
  goes: readonly Rule[],
  comes: readonly Rule[],
): ForgettingFrom[] {
  const [old, fresh] = [goes, comes].map((rules) =>
    rules.flatMap((rule) => {
      const network = rule.chain === CHAINS.snat ? OUTGOING.exec(rule.spec)?.groups?.['network'] : undefined;
      return network === undefined ? [] : [{ network, serves: rule.serves }];
    }),
  );
  const [before, after] = [old, fresh].map((each) => new Set(each?.map(({ serves }) => refText(serves))));
  return [...(old ?? []), ...(fresh ?? [])]
    .filter(({ serves }) => before?.has(refText(serves)) === true && after?.has(refText(serves)) === true)
    .map(({ network, serves }) => ({ step: 'flows.deleteFrom', serves, namespace, family, network }));
}
